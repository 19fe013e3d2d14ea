// SPDX-License-Identifier: MIT
//! Where downloaded modules and packages lie, and which of those one program may read.
//!
//! All programs share one directory of downloads, which only prepare writes to; a program's private
//! DENO_DIR has links to it, and the program reads what its own graph names.
//!
//! Invariant: what is granted was named by the runner's resolution of this program; nothing here can
//! be written by a program.

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
