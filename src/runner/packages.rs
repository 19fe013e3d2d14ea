// SPDX-License-Identifier: MIT
//! Where downloaded modules and packages lie, and which of those one program may read.
//!
//! All programs share one directory of downloads, which only prepare writes to; a program's private
//! DENO_DIR has links to it, and the program reads what its own graph names. The program does not see
//! the user's `.npmrc`, so packages of a scope with a registry of its own are laid out again, as hard
//! links, where they would lie without one.
//!
//! Invariant: what is granted was named by the runner's resolution of this program; nothing here can
//! be written by a program.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::cache::{self, CacheError};
use super::graph::{Graph, Package};
use super::hexadecimal;
use crate::host::{FileKind, FileStamp, Host};

/// The directories of a DENO_DIR that downloads go to.
pub const DIRECTORIES: [&str; 2] = ["npm", "remote"];

/// The directory of all downloads of a cache.
pub fn directory(cache: &Path) -> PathBuf {
    cache.join("downloads")
}

/// Makes the directories of downloads.
///
/// # Errors
/// The cache cannot be written.
pub fn prepare_directory(host: &dyn Host, cache: &Path) -> Result<PathBuf, CacheError> {
    let directory = cache::prepare_directory(host, &directory(cache))?;
    for name in DIRECTORIES {
        cache::prepare_directory(host, &directory.join(name))?;
    }
    Ok(directory)
}

/// One downloaded file or package directory a program reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// Where it was looked for.
    pub path: PathBuf,
    /// Without links.
    pub real_path: PathBuf,
    /// A file, or a package's directory.
    pub kind: FileKind,
    /// The version that was looked at.
    pub stamp: FileStamp,
}

/// Everything downloaded that a program with this graph reads, in the order of its names.
pub fn of(host: &dyn Host, graph: &Graph, downloads: &Path) -> Vec<Download> {
    let mut paths: Vec<PathBuf> = Vec::new();
    let npm = downloads.join("npm");
    let registries: Vec<PathBuf> = host
        .list_directory(&npm)
        .unwrap_or_default()
        .into_iter()
        .map(|entry| npm.join(entry.name))
        .collect();
    for package in graph.packages() {
        paths.extend(package_paths(package, &registries));
    }
    let remote = downloads.join("remote");
    for url in graph.remote_urls() {
        paths.extend(remote_path(&remote, url));
        paths.extend(
            package_manifests(url)
                .iter()
                .filter_map(|manifest| remote_path(&remote, manifest)),
        );
    }
    paths.sort();
    paths.dedup();
    paths
        .into_iter()
        .filter_map(|path| {
            let found = host.inspect(&path).ok()?;
            // Nothing the runner says leads out of the downloads.
            found.real_path.starts_with(downloads).then_some(Download {
                path,
                real_path: found.real_path,
                kind: found.kind,
                stamp: found.stamp,
            })
        })
        .collect()
}

/// A package's directory under the name a program looks for it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Below `npm`, as if there were one registry alone.
    pub name: PathBuf,
    /// Where it lies.
    pub target: PathBuf,
}

/// The links a program's packages need when some have registries of their own; none otherwise.
/// `registries` has the names of `.npmrc`, `default` is the URL of all other packages.
pub fn links(
    graph: &Graph,
    found: &[Download],
    downloads: &Path,
    registries: &[(String, String)],
    default: &str,
) -> Vec<Link> {
    let scoped = |name: &str| {
        let scope = name.split_once('/').map(|(scope, _)| scope);
        scope.is_some_and(|scope| {
            let key = format!("{scope}:registry");
            registries.iter().any(|(known, _)| *known == key)
        })
    };
    let packages = graph.packages();
    if !packages.iter().any(|package| scoped(&package.name)) {
        return Vec::new();
    }
    let npm = downloads.join("npm");
    let mut links = Vec::new();
    for package in packages {
        let end = Path::new(&package.name).join(&package.version);
        let here = |path: &Path| path.ends_with(&end) && path.starts_with(&npm);
        let Some(download) = found.iter().find(|download| here(&download.path)) else {
            continue;
        };
        let target = download.path.clone();
        if scoped(&package.name) {
            links.push(Link {
                name: registry_directory(default).join(&end),
                target: target.clone(),
            });
        }
        // A project's own `.npmrc` is read by the program's run as well.
        if let Ok(name) = target.strip_prefix(&npm) {
            let name = name.to_owned();
            links.push(Link { name, target });
        }
    }
    links
}

/// Makes directories of hard links below `tree`: the runner wants packages without links on the way.
/// Returns them as what the program reads.
///
/// # Errors
/// The cache cannot be written.
pub fn link(host: &dyn Host, tree: &Path, links: &[Link]) -> Result<Vec<Download>, CacheError> {
    let mut made = Vec::new();
    for Link { name, target } in links {
        let path = tree.join(name);
        let failed = |error| CacheError::on_write(&path, error);
        let same = |name: &str| {
            let inode = |path: &Path| fs::metadata(path.join(name)).map(|status| status.ino());
            inode(&path).ok() == inode(target).ok()
        };
        if !path.exists() || !same("package.json") {
            fs::create_dir_all(path.parent().unwrap_or(tree)).map_err(failed)?;
            let work = cache::temporary_beside(&path);
            let result = link_directory(target, &work).and_then(|()| {
                drop(fs::remove_dir_all(&path));
                fs::rename(&work, &path)
            });
            drop(fs::remove_dir_all(&work));
            result.map_err(failed)?;
        }
        let found = host.inspect(&path).map_err(failed)?;
        made.push(Download {
            path,
            real_path: found.real_path,
            kind: found.kind,
            stamp: found.stamp,
        });
    }
    Ok(made)
}

/// The same files under another directory; copies where there are no hard links.
fn link_directory(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            link_directory(&entry.path(), &target)?;
        } else if kind.is_file() && fs::hard_link(entry.path(), &target).is_err() {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Where Deno keeps the packages of a registry: `HOST[_PORT]/PATH`; a host that is an address has no
/// part in it (`deno_cache_dir`, `root_url_to_safe_local_dirname`).
fn registry_directory(url: &str) -> PathBuf {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let authority = authority.to_ascii_lowercase();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority.as_str(), None),
    };
    let own = if scheme == "https" { "443" } else { "80" };
    let address = host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok();
    let name = (!address).then_some(host).into_iter();
    let name: Vec<&str> = name.chain(port.filter(|port| *port != own)).collect();
    let segments = path
        .split('/')
        .filter(|part| !matches!(*part, "" | "." | ".."));
    let sanitized =
        segments.map(|part| part.replace(['\\', '<', '>', ':', '"', '|', '?', '*'], "_"));
    std::iter::once(name.join("_")).chain(sanitized).collect()
}

/// A package's directory. The list of versions beside it is not read by a run that has a lock. Deno 2.0
/// does not say where a package lies; it is looked for in every registry's directory.
fn package_paths(package: &Package, registries: &[PathBuf]) -> Vec<PathBuf> {
    match &package.path {
        Some(path) => vec![path.clone()],
        None => registries
            .iter()
            .map(|registry| registry.join(&package.name).join(&package.version))
            .collect(),
    }
}

/// Where Deno keeps what came from a URL: `SCHEME/HOST[_PORT]/SHA-256 of path and query`.
fn remote_path(remote: &Path, url: &str) -> Option<PathBuf> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let rest = rest.split('#').next().unwrap_or_default();
    let rest = if rest.starts_with('/') {
        rest.to_owned()
    } else {
        format!("/{rest}")
    };
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => format!("{host}_PORT{port}"),
        _ => authority.to_owned(),
    };
    let plain = |part: &str| !part.is_empty() && part != ".." && !part.contains('/');
    if !plain(scheme) || !plain(&host) {
        return None;
    }
    let name = hexadecimal(&Sha256::digest(rest.as_bytes()));
    Some(remote.join(scheme).join(host).join(name))
}

/// The manifests of the package a module of a JSR registry belongs to: `https://HOST/@SCOPE/NAME/…`.
/// For URLs that only look alike there are no such files.
fn package_manifests(url: &str) -> Vec<String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Vec::new();
    };
    let mut parts = rest.splitn(5, '/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(host), Some(scope), Some(name), Some(version)) if scope.starts_with('@') => vec![
            format!("{scheme}://{host}/{scope}/{name}/meta.json"),
            format!("{scheme}://{host}/{scope}/{name}/{version}_meta.json"),
        ],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_files_have_the_names_deno_gives_them() {
        let path = |url| remote_path(Path::new("/d"), url).map(|path| path.display().to_string());
        // `printf /x.ts | sha256sum`
        let name = hexadecimal(&Sha256::digest(b"/x.ts"));
        assert_eq!(
            path("https://a.test/x.ts").unwrap(),
            format!("/d/https/a.test/{name}")
        );
        assert_eq!(
            path("http://a.test:81/x.ts#part").unwrap(),
            format!("/d/http/a.test_PORT81/{name}")
        );
        assert_ne!(path("https://a.test/x.ts?v=1"), path("https://a.test/x.ts"));
        assert_eq!(path("https://../x.ts"), None);
        assert_eq!(path("file:///x.ts"), None);
    }

    #[test]
    fn registries_have_the_directories_deno_gives_them() {
        for (url, directory) in [
            ("https://a.test/", "a.test"),
            ("https://A.test:443", "a.test"),
            ("http://a.test:4873/npm/x:y/", "a.test_4873/npm/x_y"),
            ("http://127.0.0.1:81/", "81"),
            ("http://[::1]:81/../x", "81/x"),
        ] {
            assert_eq!(registry_directory(url), Path::new(directory), "{url}");
        }
    }

    #[test]
    fn modules_of_packages_have_manifests() {
        assert_eq!(
            package_manifests("https://j.test/@s/n/1.0.0/a/b.ts"),
            [
                "https://j.test/@s/n/meta.json",
                "https://j.test/@s/n/1.0.0_meta.json"
            ]
        );
        assert!(package_manifests("https://a.test/x/y/z.ts").is_empty());
    }
}
