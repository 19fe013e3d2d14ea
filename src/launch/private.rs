// SPDX-License-Identifier: MIT
//! A directory that one run has for itself: its HOME and its temporary files.
//!
//! Invariant: it is nobody else's (mode 0700, a name that cannot be told), and nothing outside of it
//! is touched when it is removed, whatever links were left in it.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::sys::{facts, files};

/// What its name starts with.
pub const PREFIX: &str = "stockade-";

/// The word by which Stockade is told to remove one that a killed Stockade has left.
pub const REMOVE: &str = "__remove";

/// How often it is tried to remove what processes of the run, which are ending, still write to.
const TRIES: u32 = 100;

/// How long to wait in between.
const PAUSE: Duration = Duration::from_millis(30);

/// The home directory in it.
pub const HOME: &str = "home";

/// The directory of temporary files in it.
pub const TEMPORARY: &str = "tmp";

/// Removes the directory of a run whose Stockade was killed. Nothing but a directory that
/// [`PrivateDirectory::create`] could have made is touched.
///
/// # Errors
/// EPERM for anything else; what could not be removed first.
pub fn remove_left(path: &Path) -> io::Result<()> {
    let named = path.file_name().and_then(|name| name.to_str());
    let opened = match files::open_directory_itself(path) {
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let status = files::status_of(opened.as_fd())?;
    let ours = named.is_some_and(|name| name.starts_with(PREFIX))
        && status.uid == facts::effective_user()
        && status.mode & 0o7777 == 0o700
        && [HOME, TEMPORARY]
            .iter()
            .all(|name| path.join(name).is_dir());
    if !ours {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    drop(opened);
    let mut tries = 0;
    loop {
        match files::remove_tree(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => {
                return Ok(());
            }
            Err(_) if tries < TRIES => {
                tries += 1;
                std::thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
}

/// The directory; removed with all it holds when this is dropped, or earlier by [`Self::remove`].
#[derive(Debug)]
pub struct PrivateDirectory {
    path: Option<PathBuf>,
}

impl PrivateDirectory {
    /// Makes it in `parent`, whose path has no links.
    ///
    /// # Errors
    /// Whatever mkdtemp(3) and mkdir(2) answer.
    pub fn create(parent: &Path) -> io::Result<Self> {
        let path = files::create_unguessable(parent, PREFIX)?;
        let directory = Self { path: Some(path) };
        for name in [HOME, TEMPORARY] {
            files::create_private(&directory.path().join(name))?;
        }
        Ok(directory)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or_else(|| Path::new(""))
    }

    /// Writes a file into the home, before anything runs there.
    ///
    /// # Errors
    /// Whatever mkdir(2), open(2) and write(2) answer.
    pub fn write(&self, name: &str, content: &str) -> io::Result<()> {
        let file = self.path().join(HOME).join(name);
        if let Some(directory) = file.parent() {
            std::fs::create_dir_all(directory)?;
        }
        std::fs::write(file, content)
    }

    /// Removes it with all it holds; what stays is said.
    ///
    /// # Errors
    /// What could not be removed first, with the path of the whole.
    pub fn remove(mut self) -> Result<(), (PathBuf, io::Error)> {
        match self.path.take() {
            Some(path) => files::remove_tree(&path).map_err(|error| (path, error)),
            None => Ok(()),
        }
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            // Only on the way out of a failure, which is what is told.
            let _ = files::remove_tree(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn it_goes_with_all_it_holds_and_nothing_else() {
        let around = tempfile::tempdir().unwrap();
        let kept = around.path().join("kept");
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "k").unwrap();
        fs::set_permissions(&kept, fs::Permissions::from_mode(0o500)).unwrap();
        let private = PrivateDirectory::create(around.path()).unwrap();
        let path = private.path().to_path_buf();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o700
        );
        let locked = path.join(TEMPORARY).join("locked");
        fs::create_dir_all(locked.join("below")).unwrap();
        fs::write(locked.join("below/file"), "x").unwrap();
        symlink(&kept, locked.join("below/link")).unwrap();
        for directory in [locked.join("below"), locked.clone()] {
            fs::set_permissions(&directory, fs::Permissions::from_mode(0o000)).unwrap();
        }
        private.remove().unwrap();
        assert!(!path.exists());
        assert_eq!(fs::read_to_string(kept.join("file")).unwrap(), "k");
        assert_eq!(
            fs::metadata(&kept).unwrap().permissions().mode() & 0o777,
            0o500
        );
        let dropped = PrivateDirectory::create(around.path()).unwrap();
        let path = dropped.path().to_path_buf();
        drop(dropped);
        assert!(!path.exists());
    }
}
