// SPDX-License-Identifier: MIT
//! What the rules of a Plan reach, as Landlock sees it, and what is protected inside.
//!
//! Landlock adds up the rights of all rules on the way from a file to the root; so does this, for
//! the rights it gives the target and for those the supervisor uses on behalf (`brokered`).
//! Protected paths are known by their names below such a rule's directory, since most of them need
//! not exist. Names are the kernel's own, of directories that were opened: nothing in a granted
//! directory is renamed but by this supervisor, or by somebody who is not confined.
//!
//! Invariant: directories are compared by device and inode; what cannot be looked at is an error,
//! and whoever asks leaves such a call to Landlock, which withholds.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, openat, readlinkat};
use nix::sys::stat::Mode;

use super::grants::GrantsError;
use super::lookup::{Object, name_of, parent_of};
use super::names::folded;
use crate::plan::{Access, Plan, ProtectedPath};
use crate::sys::attributes::{Identity, descriptor_name, identity};
use crate::sys::resolve::{DIRECTORY, Links, open_from, open_without_links};

type Inode = (u64, u64);

fn inode(found: &Identity) -> Inode {
    (found.device, found.inode)
}

/// The rights that rules give.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::supervisor) struct Rights {
    /// Landlock gives them to the target itself.
    pub(in crate::supervisor) native: Access,
    /// The supervisor uses them on behalf.
    pub(in crate::supervisor) brokered: Access,
}

impl Rights {
    /// All of them.
    pub(in crate::supervisor) fn all(self) -> Access {
        self.native | self.brokered
    }

    fn add(&mut self, other: Self) {
        self.native |= other.native;
        self.brokered |= other.brokered;
    }
}

/// Where a name stands to what is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supervisor) enum Standing<'a> {
    /// Nowhere near.
    Free,
    /// It is a directory on the way to this.
    Leads(&'a ProtectedPath),
    /// It is this, or lies in it.
    Protected(&'a ProtectedPath),
}

/// A directory, what lies above it, and what each is called in the next.
#[derive(Debug)]
pub(in crate::supervisor) struct Above {
    /// Itself first, the root last.
    directories: Vec<Identity>,
    /// `names[n]` is the name of `directories[n]` in `directories[n + 1]`.
    names: Vec<OsString>,
}

/// Deeper than any path names.
const DEPTH_LIMIT: usize = 2048;

impl Above {
    /// Looks upward from a directory.
    ///
    /// # Errors
    /// When something above it cannot be looked at, or it has no name.
    pub(in crate::supervisor) fn of(directory: &OwnedFd) -> Result<Self, Errno> {
        let name = readlinkat(AT_FDCWD, descriptor_name(directory.as_fd()).as_c_str())?;
        let mut here = identity(directory.as_fd())?;
        let mut directories = vec![here];
        let mut current: Option<OwnedFd> = None;
        while directories.len() < DEPTH_LIMIT {
            let from = current.as_ref().unwrap_or(directory);
            let above = openat(from, c"..", DIRECTORY, Mode::empty())?;
            let there = identity(above.as_fd())?;
            // The root is its own parent.
            if there.same_as(&here) {
                break;
            }
            here = there;
            directories.push(here);
            current = Some(above);
        }
        let names: Vec<OsString> = name
            .as_bytes()
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
            .rev()
            .map(|name| OsStr::from_bytes(name).to_owned())
            .collect();
        if name.as_bytes().first() != Some(&b'/') || names.len() + 1 != directories.len() {
            return Err(Errno::ESTALE);
        }
        Ok(Self { directories, names })
    }

    /// The directory itself.
    pub(in crate::supervisor) fn itself(&self) -> Option<&Identity> {
        self.directories.first()
    }

    /// The path of a name in the directory, for people.
    pub(in crate::supervisor) fn path_of(&self, name: &OsStr) -> PathBuf {
        let mut path = PathBuf::from("/");
        path.extend(self.names.iter().rev());
        path.push(name);
        path
    }
}

/// What is protected below one directory, name by name.
#[derive(Debug, Default)]
struct Node {
    protected: Option<usize>,
    inside: HashMap<Vec<u8>, Self>,
}

impl Node {
    fn add(&mut self, below: &Path, index: usize) {
        let mut node = self;
        for name in below {
            let key = match name.is_ascii() {
                true => folded(name),
                false => name.as_bytes().to_vec(),
            };
            node = node.inside.entry(key).or_default();
        }
        node.protected.get_or_insert(index);
    }

    fn get(&self, name: &OsStr) -> Option<&Self> {
        let same = || self.inside.get(name.as_bytes());
        self.inside.get(&folded(name)).or_else(same)
    }

    /// Any of the paths below.
    fn first(&self) -> Option<usize> {
        let below = || self.inside.values().filter_map(Self::first).min();
        self.protected.or_else(below)
    }
}

/// A directory whose write rights the supervisor uses on behalf.
#[derive(Debug)]
struct Root {
    directory: OwnedFd,
    path: PathBuf,
    names: Node,
}

/// The rules of one Plan.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Reach {
    rules: HashMap<Inode, Rights>,
    roots: HashMap<Inode, Root>,
    protected: Vec<ProtectedPath>,
    handled: Access,
}

impl Reach {
    /// Opens the rules of a Plan; after the paths it creates were created and before the target
    /// runs.
    ///
    /// # Errors
    /// When a directory around something protected cannot be opened without links. Other rules are
    /// Landlock's, which has opened them: one that is gone since then gives nothing here, either.
    pub(in crate::supervisor) fn open(plan: &Plan) -> Result<Self, GrantsError> {
        let mut reach = Self {
            protected: plan.filesystem.protected.clone(),
            handled: plan.filesystem.handled,
            ..Self::default()
        };
        let rules = plan.filesystem.rules.iter();
        for rule in rules.filter(|rule| !rule.own_process) {
            let found = open_without_links(&rule.path)
                .and_then(|opened| Ok((identity(opened.as_fd())?, opened)));
            let (found, directory) = match found {
                Ok(found) => found,
                Err(_) if rule.brokered.is_empty() || rule.listed => continue,
                Err(source) => {
                    let path = rule.path.clone();
                    return Err(GrantsError::Open { path, source });
                }
            };
            reach.rules.entry(inode(&found)).or_default().add(Rights {
                native: rule.access,
                brokered: rule.brokered,
            });
            if rule.brokered.is_empty() {
                continue;
            }
            let mut names = Node::default();
            for (index, protected) in reach.protected.iter().enumerate() {
                if let Ok(below) = protected.path.strip_prefix(&rule.path) {
                    names.add(below, index);
                }
            }
            let root = Root {
                directory,
                path: rule.path.clone(),
                names,
            };
            reach.roots.insert(inode(&found), root);
        }
        Ok(reach)
    }

    /// Whether nothing is protected.
    pub(in crate::supervisor) fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// The rights in a directory.
    pub(in crate::supervisor) fn along(&self, above: &Above) -> Rights {
        let mut rights = Rights::default();
        for directory in &above.directories {
            rights.add(self.itself(directory));
        }
        rights
    }

    /// The rights that a rule gives on this very file or directory.
    pub(in crate::supervisor) fn itself(&self, found: &Identity) -> Rights {
        self.rules.get(&inode(found)).copied().unwrap_or_default()
    }

    /// Rights that are not handled are not denied by anything.
    pub(in crate::supervisor) fn handled(&self, wanted: Access) -> Access {
        wanted.and(self.handled)
    }

    /// Whether Landlock itself gives rights in a directory.
    ///
    /// # Errors
    /// When something above it cannot be looked at.
    pub(in crate::supervisor) fn is_native(
        &self,
        directory: &OwnedFd,
        wanted: Access,
    ) -> Result<bool, Errno> {
        let above = Above::of(directory)?;
        Ok(self.along(&above).native.contains(self.handled(wanted)))
    }

    /// Where a name in a directory stands, or the directory itself.
    pub(in crate::supervisor) fn standing(
        &self,
        above: &Above,
        name: Option<&OsStr>,
    ) -> Standing<'_> {
        let mut leads = None;
        for (depth, directory) in above.directories.iter().enumerate() {
            let Some(root) = self.roots.get(&inode(directory)) else {
                continue;
            };
            let down = above.names[..depth].iter().rev().map(OsString::as_os_str);
            let mut node = Some(&root.names);
            for name in down.chain(name) {
                node = node.and_then(|node| node.get(name));
                if let Some(index) = node.and_then(|node| node.protected) {
                    return Standing::Protected(&self.protected[index]);
                }
            }
            leads = leads.or_else(|| node?.first());
        }
        leads.map_or(Standing::Free, |index| {
            Standing::Leads(&self.protected[index])
        })
    }

    /// Whether rules let something without a name be made in a directory, and nothing protects it.
    pub(in crate::supervisor) fn grants_inside(
        &self,
        directory: &OwnedFd,
        wanted: Access,
    ) -> Result<bool, Errno> {
        let above = Above::of(directory)?;
        let granted = self.along(&above).all().contains(self.handled(wanted));
        let free = !matches!(self.standing(&above, None), Standing::Protected(_));
        Ok(granted && free)
    }

    /// What protects an opened object that a rule around it grants; an error is for what cannot be
    /// told.
    pub(in crate::supervisor) fn protects(
        &self,
        object: &Object,
        wanted: Access,
    ) -> Result<Option<&ProtectedPath>, Errno> {
        let (above, name) = if object.identity.kind() == libc::S_IFDIR {
            let directory = object.descriptor.try_clone().map_err(|_| Errno::EMFILE)?;
            (Above::of(&directory)?, None)
        } else {
            let name = PathBuf::from(name_of(object)?);
            let name = name.file_name().ok_or(Errno::ESTALE)?.to_owned();
            (Above::of(&parent_of(object)?)?, Some(name))
        };
        let mut rights = self.along(&above);
        rights.add(self.itself(&object.identity));
        if rights.native.contains(self.handled(wanted)) {
            return Ok(None);
        }
        Ok(match self.standing(&above, name.as_deref()) {
            Standing::Protected(protected) => Some(protected),
            Standing::Free | Standing::Leads(_) => self.protected_alias(&object.identity),
        })
    }

    /// What protects a name in a directory from being made.
    pub(in crate::supervisor) fn protects_name(
        &self,
        directory: &OwnedFd,
        name: &OsStr,
        wanted: Access,
    ) -> Result<Option<&ProtectedPath>, Errno> {
        if self.is_native(directory, wanted)? {
            return Ok(None);
        }
        let above = Above::of(directory)?;
        Ok(match self.standing(&above, Some(name)) {
            Standing::Free => None,
            Standing::Leads(protected) | Standing::Protected(protected) => Some(protected),
        })
    }

    /// The protected file that a file with several names is. What lies in protected directories is
    /// not looked through.
    pub(in crate::supervisor) fn protected_alias(
        &self,
        found: &Identity,
    ) -> Option<&ProtectedPath> {
        if found.links < 2 || found.kind() == libc::S_IFDIR {
            return None;
        }
        self.protected.iter().find(|protected| {
            self.roots.values().any(|root| {
                let below = protected.path.strip_prefix(&root.path);
                below.is_ok_and(|below| {
                    let base = root.directory.try_clone();
                    base.is_ok_and(|base| is_at(base, below, found))
                })
            })
        })
    }
}

fn is_at(base: OwnedFd, below: &Path, wanted: &Identity) -> bool {
    open_from(base, below.as_os_str().as_bytes(), Links::Refused)
        .ok()
        .and_then(|file| identity(file.as_fd()).ok())
        .is_some_and(|found| found.same_as(wanted))
}
