// SPDX-License-Identifier: MIT
//! A machine made of values, for tests: files, links, environment and kernel are what a test says.
//!
//! Invariant: nothing of the machine the test runs on is seen.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::*;

#[derive(Debug, Clone)]
struct FakeFile {
    inspected: Inspected,
    content: Vec<u8>,
}

/// A machine whose files, environment and kernel are whatever a test says.
#[derive(Debug, Clone)]
pub(crate) struct FakeHost {
    directory: PathBuf,
    environment: Vec<(OsString, OsString)>,
    user: u32,
    files: BTreeMap<PathBuf, FakeFile>,
    links: BTreeMap<PathBuf, PathBuf>,
    /// What a link says the first time.
    turning: BTreeMap<PathBuf, RefCell<Option<PathBuf>>>,
    kernel: KernelFacts,
    takes_descriptors: bool,
}

impl FakeHost {
    /// An x86-64 machine with Landlock ABI 7, no environment and an empty root directory.
    pub(crate) fn new() -> Self {
        let kernel = KernelFacts {
            release: "6.18.0".to_owned(),
            machine: "x86_64".to_owned(),
            landlock_abi: 7,
            landlock_claimed_abi: 7,
            landlock_missing: None,
            seccomp_filter: true,
        };
        let host = Self {
            directory: PathBuf::from("/"),
            environment: Vec::new(),
            user: 1000,
            files: BTreeMap::new(),
            links: BTreeMap::new(),
            turning: BTreeMap::new(),
            kernel,
            takes_descriptors: true,
        };
        host.with_directory("/")
    }

    pub(crate) fn with_environment(mut self, variables: &[(&str, &str)]) -> Self {
        self.environment = variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        self
    }

    pub(crate) fn with_user(mut self, user: u32) -> Self {
        self.user = user;
        self
    }

    pub(crate) fn with_file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.with(path, FileKind::File, content.as_ref().to_vec())
    }

    pub(crate) fn with_directory(self, path: &str) -> Self {
        self.with(path, FileKind::Directory, Vec::new())
    }

    /// A symbolic link; `target` is absolute and has no links in it.
    pub(crate) fn with_link(mut self, path: &str, target: &str) -> Self {
        self.links.insert(path.into(), target.into());
        self
    }

    /// A link that somebody turns as soon as it was looked at once.
    pub(crate) fn with_turning_link(mut self, path: &str, first: &str, then: &str) -> Self {
        self.links.insert(path.into(), then.into());
        let first = RefCell::new(Some(first.into()));
        self.turning.insert(path.into(), first);
        self
    }

    /// Where a link leads now.
    fn target(&self, path: &Path) -> Option<PathBuf> {
        let turning = self.turning.get(path);
        let first = turning.and_then(|first| first.borrow_mut().take());
        first.or_else(|| self.links.get(path).cloned())
    }

    pub(crate) fn owned(mut self, path: &str, uid: u32, mode: u32) -> Self {
        let file = self
            .files
            .get_mut(Path::new(path))
            .expect("a file of the test");
        (file.inspected.uid, file.inspected.mode) = (uid, mode);
        self
    }

    /// Gives a file another change time, as rewriting it does.
    pub(crate) fn touched(mut self, path: &str, changed_ns: i128) -> Self {
        let file = self
            .files
            .get_mut(Path::new(path))
            .expect("a file of the test");
        file.inspected.stamp.changed_ns = changed_ns;
        self
    }

    pub(crate) fn with_current_directory(mut self, path: &str) -> Self {
        self.directory = path.into();
        self
    }

    /// Whether a process may take another one's descriptors.
    pub(crate) fn taking_descriptors(mut self, takes: bool) -> Self {
        self.takes_descriptors = takes;
        self
    }

    pub(crate) fn with_landlock(mut self, abi: u8) -> Self {
        (self.kernel.landlock_abi, self.kernel.landlock_claimed_abi) = (abi, abi);
        self
    }

    pub(crate) fn executable(self, path: &str) -> Self {
        let user = self.user;
        self.owned(path, user, 0o755)
    }

    pub(crate) fn without(mut self, path: &str) -> Self {
        self.files.remove(Path::new(path));
        self
    }

    fn with(mut self, path: &str, kind: FileKind, content: Vec<u8>) -> Self {
        let path = PathBuf::from(path);
        for parent in path.ancestors().skip(1) {
            if !self.files.contains_key(parent) {
                self = self.with(&parent.to_string_lossy(), FileKind::Directory, Vec::new());
            }
        }
        let stamp = FileStamp {
            device: 1,
            inode: self.files.len() as u64 + 2,
            size: content.len() as u64,
            modified_ns: 0,
            changed_ns: 0,
        };
        let mode = if kind == FileKind::Directory {
            0o755
        } else {
            0o644
        };
        let inspected = Inspected {
            real_path: path.clone(),
            kind,
            stamp,
            mode,
            uid: self.user,
        };
        self.files.insert(path, FakeFile { inspected, content });
        self
    }

    fn find(&self, path: &Path) -> io::Result<&FakeFile> {
        let mut real = PathBuf::new();
        for component in path.components() {
            match component {
                std::path::Component::ParentDir => {
                    real.pop();
                }
                other => real.push(other),
            }
            if let Some(target) = self.target(&real) {
                real = target;
            }
        }
        self.files
            .get(&real)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Host for FakeHost {
    fn current_directory(&self) -> &Path {
        &self.directory
    }

    fn environment(&self) -> &[(OsString, OsString)] {
        &self.environment
    }

    fn user(&self) -> u32 {
        self.user
    }

    fn process(&self) -> u32 {
        7
    }

    fn inspect(&self, path: &Path) -> io::Result<Inspected> {
        Ok(self.find(path)?.inspected.clone())
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        match self.target(path) {
            Some(target) => Ok(target),
            None => Err(match self.find(path) {
                Ok(_) => io::ErrorKind::InvalidInput.into(),
                Err(error) => error,
            }),
        }
    }

    fn list_directory(&self, path: &Path) -> io::Result<Vec<ListedEntry>> {
        self.find(path)?;
        let below = self
            .files
            .iter()
            .filter(|(name, _)| name.parent() == Some(path));
        Ok(below
            .map(|(name, file)| ListedEntry {
                name: name.file_name().unwrap_or_default().to_owned(),
                kind: file.inspected.kind,
            })
            .collect())
    }

    fn read_file(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let content = &self.find(path)?.content;
        Ok(content[..content.len().min(limit)].to_vec())
    }

    fn kernel(&self) -> &KernelFacts {
        &self.kernel
    }

    fn takes_descriptors(&self) -> bool {
        self.takes_descriptors
    }

    fn terminals(&self) -> (bool, bool) {
        (false, false)
    }
}
