// SPDX-License-Identifier: MIT
//! Links on the way to a path, in directories that programs of the same policy may write to.
//!
//! Invariant: no grant leads out of such a directory by a link in it. A program that ran before could
//! have made the link, and would choose what this one may open.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;

use crate::host::{FileKind, Host};
use crate::policy::{Origin, Policy};

use super::paths::normalize;

/// As the kernel counts (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// The directories in which a policy lets programs make names. The bare grant is not among them: whoever
/// may write everywhere needs no link.
#[derive(Debug, Default)]
pub struct Written {
    directories: Vec<Directory>,
}

#[derive(Debug)]
struct Directory {
    path: PathBuf,
    origin: Origin,
    /// Whether no program could have chosen where it is.
    fixed: bool,
}

/// A link that leads out of a directory that programs may write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planted {
    /// The link.
    pub link: PathBuf,
    /// The write grant around it.
    pub write: Origin,
    /// Where it leads.
    pub end: PathBuf,
}

impl fmt::Display for Planted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { link, write, end } = self;
        write!(
            formatter,
            "leads to `{}` through the link `{}`, which a program could have made: `{write}` lets it write there",
            end.display(),
            link.display()
        )
    }
}

impl Planted {
    /// What would allow it: to `grant` or to `name` the end itself.
    pub fn hint(&self, verb: &str) -> String {
        format!("{verb} `{}` itself if that is meant", self.end.display())
    }
}

impl Written {
    /// What the listed write grants lead to now.
    pub fn of(host: &dyn Host, policy: &Policy) -> Self {
        let mut links = Vec::new();
        let mut directories = Vec::new();
        for entry in &policy.write.allow.entries {
            let path = normalize(host.current_directory(), &entry.descriptor.path);
            let Ok(found) = host.inspect(&path) else {
                continue;
            };
            if found.kind != FileKind::Directory {
                continue;
            }
            let way = match path == found.real_path {
                true => Some(Vec::new()),
                false => follow(host, &path).ok().map(|way| way.links),
            };
            directories.push(Directory {
                path: found.real_path,
                origin: entry.origin.clone(),
                fixed: way.is_some(),
            });
            links.push(way.unwrap_or_default());
        }
        let mut written = Self { directories };
        let chosen: Vec<bool> = links
            .iter()
            .map(|way| way.iter().any(|link| written.around(link).is_some()))
            .collect();
        for (directory, chosen) in written.directories.iter_mut().zip(chosen) {
            directory.fixed &= !chosen;
        }
        written
    }

    /// Whether no link could have been made.
    pub fn is_empty(&self) -> bool {
        self.directories.is_empty()
    }

    /// The first link of a way that leads out of the directory it could have been made in.
    pub fn planted(&self, way: &Way) -> Option<Planted> {
        way.links.iter().find_map(|link| {
            let around = self.around(link)?;
            let stays = self.directories.iter().any(|directory| {
                directory.fixed
                    && link.starts_with(&directory.path)
                    && way.end.starts_with(&directory.path)
            });
            (!stays).then(|| Planted {
                link: link.clone(),
                write: around.origin.clone(),
                end: way.end.clone(),
            })
        })
    }

    /// A directory in which this link could have been made.
    fn around(&self, link: &Path) -> Option<&Directory> {
        let parent = link.parent()?;
        let mut directories = self.directories.iter();
        directories.find(|directory| parent.starts_with(&directory.path))
    }
}

/// What following a path met.
#[derive(Debug)]
pub struct Way {
    /// Each link, in a directory without links.
    links: Vec<PathBuf>,
    /// Where it ends, without links; what does not exist is kept as it is.
    pub end: PathBuf,
}

impl Way {
    /// Whether a link of the kernel's is on it, whose text need not be where it leads.
    pub fn is_magic(&self) -> bool {
        self.links.iter().any(|link| link.starts_with("/proc"))
    }
}

/// Follows an absolute path name by name, as path_resolution(7) says.
///
/// # Errors
/// A name of it cannot be looked at, or there is no end to links.
pub fn follow(host: &dyn Host, path: &Path) -> io::Result<Way> {
    let mut links = Vec::new();
    let mut end = PathBuf::from("/");
    let mut pending = names(path);
    while let Some(name) = pending.pop() {
        match name {
            Name::Root => end = PathBuf::from("/"),
            Name::Parent => {
                end.pop();
            }
            Name::Plain(name) => {
                let next = end.join(name);
                match host.read_link(&next) {
                    Ok(target) => {
                        links.push(next);
                        if links.len() > MOST_LINKS {
                            return Err(Errno::ELOOP.into());
                        }
                        pending.extend(names(&target));
                    }
                    // No link, or nothing at all.
                    Err(error)
                        if matches!(
                            error.kind(),
                            io::ErrorKind::InvalidInput | io::ErrorKind::NotFound
                        ) =>
                    {
                        end = next;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(Way { links, end })
}

enum Name {
    Root,
    Parent,
    Plain(OsString),
}

/// The names of a path, the last one first.
fn names(path: &Path) -> Vec<Name> {
    let names = path
        .components()
        .rev()
        .filter_map(|component| match component {
            Component::RootDir => Some(Name::Root),
            Component::ParentDir => Some(Name::Parent),
            Component::Normal(name) => Some(Name::Plain(name.to_owned())),
            Component::CurDir | Component::Prefix(_) => None,
        });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;
    use crate::policy::flags::{PermissionFlag, parse_flags};

    fn host() -> FakeHost {
        FakeHost::new()
            .with_current_directory("/w")
            .with_directory("/w/out/sub")
            .with_directory("/etc")
            .with_directory("/srv")
            .with_link("/w/out/sub/away", "/etc")
            .with_link("/w/out/here", "/w/out/sub")
            .with_link("/w/out/sub/here", "/w/out/sub")
            .with_link("/w/out/sub/top", "/")
            .with_link("/w/out/top", "/")
            .with_link("/w/out/gone", "/etc/gone")
            .with_link("/w/mine", "/srv")
            .with_link("/srv/through", "/w/out/sub/away")
    }

    fn planted(write: &str, path: &str) -> Option<Planted> {
        let flags = [PermissionFlag {
            flag: "--allow-write",
            value: Some(write),
        }];
        let policy = parse_flags(flags).unwrap();
        let host = host();
        let way = follow(&host, Path::new(path)).unwrap();
        let found = Written::of(&host, &policy).planted(&way)?;
        assert!(way.end.starts_with("/etc"), "{path}");
        Some(found)
    }

    #[test]
    fn links_where_programs_write_lead_nowhere_else() {
        for (path, link) in [
            ("/w/out/sub/away", "/w/out/sub/away"),
            ("/w/out/sub/away/passwd", "/w/out/sub/away"),
            ("/w/out/here/away", "/w/out/here"),
            ("/w/out/gone", "/w/out/gone"),
            ("/srv/through", "/w/out/sub/away"),
            ("/w/mine/through/x", "/w/out/sub/away"),
        ] {
            let found = planted("out", path).unwrap();
            assert_eq!(found.link, Path::new(link), "{path}");
            assert_eq!(found.write.to_string(), "--allow-write=out");
        }
        // Another grant is no reason to follow it, and least of all one by the same link.
        for write in ["out,/etc", "out,/w/out/sub/away", "out,out/sub/top,out/top"] {
            assert!(planted(write, "/w/out/sub/away").is_some(), "{write}");
        }
    }

    #[test]
    fn other_links_are_the_users() {
        for path in [
            "/w/mine",
            "/w/out/here",
            "/w/out/sub",
            "/w/out/new",
            "/etc/passwd",
        ] {
            assert_eq!(planted("out", path), None, "{path}");
        }
        assert_eq!(planted("/srv", "/w/out/sub/away"), None);
        // A directory around both.
        assert_eq!(planted("/w/out,/w/out/sub", "/w/out/sub/here"), None);
    }

    #[test]
    fn circles_are_an_error() {
        let host = FakeHost::new()
            .with_directory("/w")
            .with_link("/w/a", "/w/b")
            .with_link("/w/b", "/w/a");
        assert!(follow(&host, Path::new("/w/a")).is_err());
    }
}
