// SPDX-License-Identifier: MIT
//! The user's grants and denials of paths as inodes, and the judgement of objects by them.
//!
//! Invariant: nothing is compared but device and inode of opened objects; for every right the
//! nearest grant or denial decides, and without one it is not granted.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;

use super::lookup::{Object, Upward, parent_of};
use super::reach::Reach;
use crate::host::FileKind;
use crate::plan::{Access, PathRule, Plan, ProtectedPath};
use crate::policy::Origin;
use crate::sys::attributes::{Identity, identity};
use crate::sys::resolve::open_without_links;

/// So many grants are kept open, which keeps their inode numbers from being used again; the others
/// are told apart by their time of birth.
const HELD: usize = 128;

/// The rights that changes to files are judged by.
pub const TO_CHANGE: Access = Access::WRITE_FILE;
/// The rights that connecting to a UNIX socket needs on its file.
pub const TO_CONNECT: Access = Access::READ_FILE.or(Access::WRITE_FILE);
/// The right that binding a UNIX socket needs on the directory.
pub const TO_BIND: Access = Access::MAKE_SOCK;

/// A grant of the Plan could not be opened as it was planned.
#[derive(Debug, thiserror::Error)]
pub enum GrantsError {
    /// Opening failed.
    #[error("cannot open the grant `{path}`: {source}", path = path.display())]
    Open {
        /// The path of the rule.
        path: PathBuf,
        /// What the kernel answered.
        source: Errno,
    },
    /// It is another kind of file than the one planned for.
    #[error("the grant `{path}` was replaced by another kind of file", path = path.display())]
    Kind {
        /// The path of the rule.
        path: PathBuf,
    },
}

impl GrantsError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Open { .. } => None,
            Self::Kind { .. } => Some("run again: the plan is made anew"),
        }
    }

    /// The kernel's number for it.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Open { source, .. } => *source,
            Self::Kind { .. } => Errno::ESTALE,
        }
    }
}

type Inode = (u64, u64);

/// What is said of one inode.
#[derive(Debug, Clone, Default)]
struct Entry {
    grant: Option<Grant>,
    denials: Vec<Denial>,
}

/// A grant; of a directory it reaches everything below.
#[derive(Debug, Clone)]
struct Grant {
    access: Access,
    directory: bool,
    born_ns: Option<i128>,
}

/// A denial, of a directory for everything below.
#[derive(Debug, Clone)]
struct Denial {
    access: Access,
    reason: String,
    origin: Origin,
}

/// The user's grants and the denials among them, by inode.
#[derive(Debug, Default)]
pub struct Grants {
    entries: HashMap<Inode, Entry>,
    /// Keeps inode numbers from being used again.
    held: Vec<OwnedFd>,
    /// What is protected inside the grants.
    reach: Rc<Reach>,
}

/// The judgement on a place.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::supervisor) enum Verdict<'a> {
    /// Grants cover it with every right that was asked for.
    Granted,
    /// A denial of one of the rights is nearer than any grant of it.
    Denied(&'a str, &'a Origin),
    /// It is protected inside the grant that covers it.
    Protected(&'a ProtectedPath),
    /// Nothing covers it with one of the rights.
    Outside,
    /// What lies above it could not be looked at.
    Unknown(Errno),
}

/// The rights of a rule that count: those for a reason the user wrote down, and a command's own
/// directories. What the runner needs for itself and what is always granted (`/dev/null`) are none.
fn counted(rule: &PathRule, wanted: Access) -> Access {
    let users = |origin: &Origin| origin.is_users() || matches!(origin, Origin::Exec { .. });
    if rule.own_process || !rule.origins.iter().any(users) {
        return Access::NONE;
    }
    (rule.access | rule.brokered).and(wanted)
}

impl Grants {
    /// Opens the grants and denials of a Plan that are about `wanted` rights; after the paths it
    /// creates were created and before the target runs.
    ///
    /// # Errors
    /// When a path cannot be opened without links, or is of another kind than planned.
    pub fn open(plan: &Plan, wanted: Access) -> Result<Self, GrantsError> {
        let mut grants = Self::default();
        for rule in &plan.filesystem.rules {
            let access = counted(rule, wanted);
            if access.is_empty() {
                continue;
            }
            let (opened, found) = match look_at(&rule.path) {
                Ok(found) => found,
                // Found by listing, and gone since: left out, as from the rules of the target.
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EACCES)
                    if rule.listed =>
                {
                    continue;
                }
                Err(source) => {
                    let path = rule.path.clone();
                    return Err(GrantsError::Open { path, source });
                }
            };
            if found.kind() != kind_bits(rule.kind) {
                if rule.listed {
                    continue;
                }
                let path = rule.path.clone();
                return Err(GrantsError::Kind { path });
            }
            let held = !rule.listed && grants.held.len() < HELD;
            if held {
                grants.held.push(opened);
            }
            let directory = rule.kind == FileKind::Directory;
            grants.grant(&found, access, directory, held);
        }
        for denied in &plan.filesystem.denied {
            let access = denied.access.and(wanted);
            if access.intersects(Access::WRITE) {
                grants.deny(
                    &denied.path,
                    access,
                    "a rule denies writing to it",
                    &denied.origin,
                )?;
            } else if access.intersects(Access::READ) {
                grants.deny(
                    &denied.path,
                    access,
                    "a rule denies reading it",
                    &denied.origin,
                )?;
            }
        }
        let program = Origin::Runner {
            reason: "the program that is run".into(),
        };
        grants.deny(
            &plan.program.path,
            Access::WRITE,
            "it is the program that is run",
            &program,
        )?;
        Ok(grants)
    }

    /// With what is protected inside.
    #[must_use]
    pub(in crate::supervisor) fn around(self, reach: Rc<Reach>) -> Self {
        Self { reach, ..self }
    }

    /// Adds a grant. One that is kept open needs no time of birth.
    pub(in crate::supervisor) fn grant(
        &mut self,
        found: &Identity,
        access: Access,
        directory: bool,
        held: bool,
    ) {
        let born_ns = if held { None } else { found.born_ns };
        let entry = self.entry(found);
        let before = entry
            .grant
            .as_ref()
            .filter(|grant| grant.born_ns == born_ns)
            .map_or(Access::NONE, |grant| grant.access);
        entry.grant = Some(Grant {
            access: access | before,
            directory,
            born_ns,
        });
    }

    fn entry(&mut self, found: &Identity) -> &mut Entry {
        self.entries.entry((found.device, found.inode)).or_default()
    }

    fn deny(
        &mut self,
        path: &Path,
        access: Access,
        reason: &str,
        origin: &Origin,
    ) -> Result<(), GrantsError> {
        match look_at(path) {
            Ok((_, found)) => {
                self.deny_inode(&found, access, reason, origin);
                Ok(())
            }
            // Nothing is there to be changed, and no grant reaches what may come.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(()),
            Err(source) => Err(GrantsError::Open {
                path: path.to_path_buf(),
                source,
            }),
        }
    }

    /// Adds a denial; it wins over a grant of the same inode.
    pub(in crate::supervisor) fn deny_inode(
        &mut self,
        found: &Identity,
        access: Access,
        reason: &str,
        origin: &Origin,
    ) {
        self.entry(found).denials.push(Denial {
            access,
            reason: reason.to_owned(),
            origin: origin.clone(),
        });
    }

    /// Judges an opened object by itself and by what lies above it.
    pub(in crate::supervisor) fn judge_object(
        &self,
        object: &Object,
        wanted: Access,
    ) -> Verdict<'_> {
        let verdict = match parent_of(object) {
            Ok(parent) => self.judge(&object.identity, Upward::from(parent), wanted),
            // Without a place the object itself may still be a grant.
            Err(errno) => self.judge(&object.identity, [Err(errno)], wanted),
        };
        if verdict != Verdict::Granted || self.reach.is_empty() {
            return verdict;
        }
        match self.reach.protects(object, wanted) {
            Ok(None) => Verdict::Granted,
            Ok(Some(protected)) => Verdict::Protected(protected),
            Err(errno) => Verdict::Unknown(errno),
        }
    }

    /// Judges an object by itself and by the directories above it, nearest first. Rights are
    /// granted one by one, as Landlock does.
    pub(in crate::supervisor) fn judge(
        &self,
        object: &Identity,
        above: impl IntoIterator<Item = Result<Identity, Errno>>,
        wanted: Access,
    ) -> Verdict<'_> {
        let mut missing = wanted;
        if let Some(verdict) = self.at(object, true, &mut missing) {
            return verdict;
        }
        for directory in above {
            match directory {
                Ok(directory) => {
                    if let Some(verdict) = self.at(&directory, false, &mut missing) {
                        return verdict;
                    }
                }
                Err(errno) => return Verdict::Unknown(errno),
            }
        }
        Verdict::Outside
    }

    /// The denial of a right to an object itself, by whatever name it was reached.
    pub(in crate::supervisor) fn denial_of(
        &self,
        object: &Identity,
        access: Access,
    ) -> Option<(&str, &Origin)> {
        let entry = self.entries.get(&(object.device, object.inode))?;
        entry.denial(access)
    }

    /// What is said of one inode on the way up; takes away from `missing` what it grants.
    fn at(&self, found: &Identity, itself: bool, missing: &mut Access) -> Option<Verdict<'_>> {
        let entry = self.entries.get(&(found.device, found.inode))?;
        if let Some((reason, origin)) = entry.denial(*missing) {
            return Some(Verdict::Denied(reason, origin));
        }
        let grant = entry.grant.as_ref()?;
        let same = grant.born_ns.is_none() || found.born_ns == grant.born_ns;
        if same && (itself || grant.directory) {
            *missing = missing.without(grant.access);
        }
        missing.is_empty().then_some(Verdict::Granted)
    }
}

impl Entry {
    fn denial(&self, access: Access) -> Option<(&str, &Origin)> {
        let denial = self
            .denials
            .iter()
            .find(|denial| denial.access.intersects(access))?;
        Some((&denial.reason, &denial.origin))
    }
}

/// A path opened without links, and what it is.
fn look_at(path: &Path) -> Result<(OwnedFd, Identity), Errno> {
    let opened = open_without_links(path)?;
    let found = identity(opened.as_fd())?;
    Ok((opened, found))
}

fn kind_bits(kind: FileKind) -> u32 {
    match kind {
        FileKind::File => libc::S_IFREG,
        FileKind::Directory => libc::S_IFDIR,
        FileKind::Symlink => libc::S_IFLNK,
        FileKind::CharacterDevice => libc::S_IFCHR,
        FileKind::BlockDevice => libc::S_IFBLK,
        FileKind::Socket => libc::S_IFSOCK,
        FileKind::Pipe => libc::S_IFIFO,
    }
}
