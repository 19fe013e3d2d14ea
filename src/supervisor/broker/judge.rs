// SPDX-License-Identifier: MIT
//! What becomes of a writing call: left to Landlock, denied, or performed on behalf.
//!
//! Invariant: a call is performed only when every right it needs is the target's by some rule and
//! nothing protected is touched; whatever is not known is left to Landlock, which gives no write
//! right around protected paths.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;

use super::decode::At;
use crate::plan::{Access, ProtectedPath};
use crate::supervisor::attributes::Caller;
use crate::supervisor::paths::lookup::{self, Located, Object, name_of, parent_of};
use crate::supervisor::paths::reach::{Above, Reach, Rights, Standing};
use crate::sys::attributes::{Identity, identity};
use crate::sys::resolve::Links;

/// The kernel's own limit of a path with its NUL.
pub(super) const PATH_MAX: usize = 4096;

/// The rights with which something is made.
pub(super) fn making(kind: u32) -> Access {
    match kind {
        libc::S_IFDIR => Access::MAKE_DIR,
        libc::S_IFLNK => Access::MAKE_SYM,
        libc::S_IFIFO => Access::MAKE_FIFO,
        libc::S_IFSOCK => Access::MAKE_SOCK,
        libc::S_IFCHR => Access::MAKE_CHAR,
        libc::S_IFBLK => Access::MAKE_BLOCK,
        _ => Access::MAKE_REG,
    }
}

/// The right with which something is removed.
pub(super) fn removing(kind: u32) -> Access {
    match kind {
        libc::S_IFDIR => Access::REMOVE_DIR,
        _ => Access::REMOVE_FILE,
    }
}

/// Why a call is not performed.
#[derive(Debug)]
pub(super) enum Stop {
    /// The kernel and Landlock answer it.
    Native,
    /// It ends with this.
    Failed(Errno),
    /// Something protected would be changed.
    Denied(Box<Denial>),
}

/// What is protected, and what was to be changed.
#[derive(Debug)]
pub(super) struct Denial {
    pub(super) path: PathBuf,
    pub(super) protected: ProtectedPath,
    /// Whether the path only leads to it.
    pub(super) leads: bool,
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Failed(errno)
    }
}

/// Where a call works: a name in a directory, and what is there.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) directory: OwnedFd,
    pub(super) name: OsString,
    pub(super) found: Option<Found>,
    /// Whether slashes follow the name.
    slash: bool,
    above: Above,
}

/// What a name leads to.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) descriptor: OwnedFd,
    pub(super) identity: Identity,
}

impl Found {
    pub(super) fn new(descriptor: OwnedFd) -> Result<Self, Errno> {
        Ok(Self {
            identity: identity(descriptor.as_fd())?,
            descriptor,
        })
    }

    pub(super) fn kind(&self) -> u32 {
        self.identity.kind()
    }
}

/// What a path of the caller names, before it is judged.
#[derive(Debug)]
pub(super) enum Named {
    /// A name in a directory.
    Place(Place),
    /// A directory by `.`, `..` or `/`.
    Directory(Found),
    /// An open file of the caller.
    Descriptor(Object),
}

/// Looks a path of the caller up.
///
/// # Errors
/// [`Stop::Native`]: the kernel finds the same, or says better what is wrong.
pub(super) fn find(at: At, links: Links, caller: &dyn Caller) -> Result<Named, Stop> {
    let path = caller
        .read_string(at.pointer, PATH_MAX)
        .map_err(|_| Stop::Native)?;
    let bytes = path.to_bytes();
    if bytes.is_empty() {
        return Err(Stop::Native);
    }
    let slash = bytes.ends_with(b"/");
    let located = lookup::locate(bytes, at.directory, links, caller).map_err(|_| Stop::Native)?;
    let walked = match located {
        Located::Descriptor(object) => return Ok(Named::Descriptor(object)),
        Located::Walked(walked) => walked,
    };
    let native = |_| Stop::Native;
    let found = walked.found.map(Found::new).transpose().map_err(native)?;
    match (walked.entry, found) {
        (Some((directory, name)), found) => {
            let above = Above::of(&directory).map_err(native)?;
            Ok(Named::Place(Place {
                directory,
                name,
                found,
                slash,
                above,
            }))
        }
        (None, Some(found)) => Ok(Named::Directory(found)),
        (None, None) => Err(Stop::Native),
    }
}

/// Looks up a path that has to name an entry of a directory.
///
/// # Errors
/// As [`find`]; [`Stop::Native`] for everything else.
pub(super) fn find_place(at: At, caller: &dyn Caller) -> Result<Place, Stop> {
    match find(at, Links::LastMeant, caller)? {
        Named::Place(place) => Ok(place),
        Named::Directory(_) | Named::Descriptor(_) => Err(Stop::Native),
    }
}

/// Where an open file of the caller lies.
///
/// # Errors
/// [`Stop::Native`] when that cannot be found out.
pub(super) fn place_of(object: Object) -> Result<Place, Stop> {
    let native = |_| Stop::Native;
    let directory = parent_of(&object).map_err(native)?;
    let name = PathBuf::from(name_of(&object).map_err(native)?);
    let name = name.file_name().ok_or(Stop::Native)?.to_owned();
    let above = Above::of(&directory).map_err(native)?;
    Ok(Place {
        directory,
        name,
        found: Some(Found {
            descriptor: object.descriptor,
            identity: object.identity,
        }),
        slash: false,
        above,
    })
}

/// Who does what a place is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Landlock lets the target do it itself.
    Native,
    /// It is done on behalf.
    Brokered,
}

impl Place {
    /// What is there.
    ///
    /// # Errors
    /// [`Stop::Native`] when nothing is, or a slash follows what is no directory.
    pub(super) fn existing(&self) -> Result<&Found, Stop> {
        match &self.found {
            Some(found) if !self.slash || found.kind() == libc::S_IFDIR => Ok(found),
            _ => Err(Stop::Native),
        }
    }

    /// Makes sure that something can be made here: a directory, or something else.
    ///
    /// # Errors
    /// EEXIST; [`Stop::Native`] for a slash after what will be no directory.
    pub(super) fn vacant(&self, directory: bool) -> Result<(), Stop> {
        match self.found {
            Some(_) => Err(Errno::EEXIST.into()),
            None if self.slash && !directory => Err(Stop::Native),
            None => Ok(()),
        }
    }

    /// Whether slashes follow the name.
    pub(super) fn has_slash(&self) -> bool {
        self.slash
    }

    /// Whether two places are in one directory.
    pub(super) fn beside(&self, other: &Self) -> bool {
        match (self.above.itself(), other.above.itself()) {
            (Some(left), Some(right)) => left.same_as(right),
            _ => false,
        }
    }

    /// The rights here, those of a rule on the file itself among them.
    pub(super) fn rights(&self, reach: &Reach) -> Rights {
        let mut rights = reach.along(&self.above);
        if let Some(found) = &self.found {
            let own = reach.itself(&found.identity);
            rights.native |= own.native;
            rights.brokered |= own.brokered;
        }
        rights
    }

    /// Judges what is to be done here. `on_the_way` is for what may be done to a directory that only
    /// leads to something protected.
    ///
    /// # Errors
    /// [`Stop::Native`] where no rule gives a right; [`Stop::Denied`].
    pub(super) fn judge(
        &self,
        needed: Access,
        on_the_way: bool,
        reach: &Reach,
    ) -> Result<Way, Stop> {
        let needed = reach.handled(needed);
        let rights = self.rights(reach);
        if rights.native.contains(needed) {
            return Ok(Way::Native);
        }
        if !rights.all().contains(needed) {
            return Err(Stop::Native);
        }
        self.unprotected(on_the_way, reach)?;
        Ok(Way::Brokered)
    }

    /// Whether nothing protected is here.
    ///
    /// # Errors
    /// [`Stop::Denied`].
    pub(super) fn unprotected(&self, on_the_way: bool, reach: &Reach) -> Result<(), Stop> {
        let (protected, leads) = match reach.standing(&self.above, Some(&self.name)) {
            Standing::Protected(protected) => (protected, false),
            Standing::Leads(protected) if !on_the_way => (protected, true),
            Standing::Leads(_) => return Ok(()),
            Standing::Free => {
                let found = self.found.as_ref();
                match found.and_then(|found| reach.protected_alias(&found.identity)) {
                    Some(protected) => (protected, false),
                    None => return Ok(()),
                }
            }
        };
        Err(Stop::Denied(Box::new(Denial {
            path: self.above.path_of(&self.name),
            protected: protected.clone(),
            leads,
        })))
    }
}

/// Landlock's rule for links and renames between directories: nothing may become accessible that
/// was not (`current_check_refer_path` of security/landlock/fs.c).
///
/// # Errors
/// EXDEV, as Landlock answers.
pub(super) fn refer(from: &Place, to: &Place, reach: &Reach) -> Result<(), Stop> {
    let directory = matches!(&from.found, Some(found) if found.kind() == libc::S_IFDIR);
    let gained = to.rights_around(reach).without(from.rights(reach).all());
    let gained = if directory {
        gained
    } else {
        gained.and(Access::ON_FILE)
    };
    match gained.is_empty() {
        true => Ok(()),
        false => Err(Errno::EXDEV.into()),
    }
}

impl Place {
    fn rights_around(&self, reach: &Reach) -> Access {
        reach.along(&self.above).all()
    }
}
