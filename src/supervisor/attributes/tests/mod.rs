// SPDX-License-Identifier: MIT
//! A made-up caller, for the tests of reading calls, of judging and of performing.

mod decoding;
mod judging;
mod performing;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::super::paths;
use super::{Call, Caller};

/// A caller that is this very process, with memory that the test makes up.
struct Pretended {
    memory: BTreeMap<u64, Vec<u8>>,
    descriptors: bool,
    waiting: Cell<bool>,
}

impl Pretended {
    fn new() -> Self {
        Self {
            memory: BTreeMap::new(),
            descriptors: true,
            waiting: Cell::new(true),
        }
    }

    fn with(mut self, address: u64, bytes: &[u8]) -> Self {
        self.memory.insert(address, bytes.to_vec());
        self
    }

    fn text(self, address: u64, text: &str) -> Self {
        let bytes = [text.as_bytes(), b"\0"].concat();
        self.with(address, &bytes)
    }
}

impl paths::Caller for Pretended {
    fn pid(&self) -> i32 {
        nix::unistd::gettid().as_raw()
    }
    fn descriptor(&self, fd: i32) -> Result<OwnedFd, Errno> {
        if !self.descriptors {
            return Err(Errno::EPERM);
        }
        let path = format!("/proc/self/fd/{fd}");
        fs::symlink_metadata(&path).map_err(|_| Errno::EBADF)?;
        nix::fcntl::open(
            path.as_str(),
            nix::fcntl::OFlag::O_RDONLY,
            nix::sys::stat::Mode::empty(),
        )
    }
}

impl Caller for Pretended {
    fn read(&self, address: u64, length: usize) -> Result<Vec<u8>, Errno> {
        let bytes = self.memory.get(&address).ok_or(Errno::EFAULT)?;
        bytes.get(..length).map(<[u8]>::to_vec).ok_or(Errno::EFAULT)
    }
    fn read_string(&self, address: u64, limit: usize) -> Result<CString, Errno> {
        let bytes = self.memory.get(&address).ok_or(Errno::EFAULT)?;
        let seen = &bytes[..bytes.len().min(limit)];
        let text = std::ffi::CStr::from_bytes_until_nul(seen).map_err(|_| Errno::ENAMETOOLONG)?;
        Ok(text.to_owned())
    }
    fn still_waiting(&self) -> bool {
        self.waiting.get()
    }
}

fn call(name: &'static str, arguments: [u64; 6]) -> Call {
    Call { name, arguments }
}
