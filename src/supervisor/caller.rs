// SPDX-License-Identifier: MIT
//! The thread that waits in a call: its memory, its descriptors, its signals, its name.
//!
//! Invariant: the only reader of target memory. Everything is copied once; what was copied counts
//! only while the caller still waits ([`Caller::still_waiting`]), which whoever performs a call
//! asks right before.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use tokio::io::Interest;

use super::Shared;
use crate::sys::notify::{Answer, Notification};
use crate::sys::{socket, target, watch};

/// Handles of threads, kept since most calls come from the same few. The handle of a thread that
/// ended gives ESRCH for ever, also when its number is given to another one.
#[derive(Debug, Default)]
pub(super) struct Handles {
    handles: RefCell<HashMap<i32, Rc<OwnedFd>>>,
}

/// More threads than this start over with an empty cache.
const HANDLE_LIMIT: usize = 256;

impl Handles {
    fn of(&self, thread: i32) -> Result<Rc<OwnedFd>, Errno> {
        if let Some(handle) = self.handles.borrow().get(&thread) {
            return Ok(Rc::clone(handle));
        }
        let handle = Rc::new(target::open_thread(thread)?);
        let mut handles = self.handles.borrow_mut();
        if handles.len() >= HANDLE_LIMIT {
            handles.clear();
        }
        handles.insert(thread, Rc::clone(&handle));
        Ok(handle)
    }

    fn forget(&self, thread: i32) {
        self.handles.borrow_mut().remove(&thread);
    }
}

/// One waiting call.
pub(super) struct Caller {
    pub(super) shared: Rc<Shared>,
    pub(super) call: Notification,
}

impl Caller {
    pub(super) fn thread(&self) -> i32 {
        self.call.thread
    }

    /// An argument register as the kernel reads an `int`: its low 32 bits.
    pub(super) fn integer(&self, argument: usize) -> i32 {
        self.word(argument).cast_signed()
    }

    /// An argument register as the kernel reads an `unsigned int`: its low 32 bits.
    pub(super) fn word(&self, argument: usize) -> u32 {
        let [low, ..] = [self.call.arguments[argument] & u64::from(u32::MAX)];
        u32::try_from(low).unwrap_or(0)
    }

    /// A whole argument register.
    pub(super) fn register(&self, argument: usize) -> u64 {
        self.call.arguments[argument]
    }

    /// Whether what was read and taken so far was the caller's own.
    pub(super) fn still_waiting(&self) -> bool {
        self.shared.listener.is_waiting(self.call.id)
    }

    /// Ends the call. A caller that has gone needs no answer.
    pub(super) fn answer(&self, answer: Answer) {
        let _ = self.shared.listener.answer(self.call.id, answer);
    }

    /// One copy of target memory, whole.
    pub(super) fn read(&self, address: u64, length: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; length];
        let read = target::read_memory(self.thread(), address, &mut bytes)?;
        if read == length {
            Ok(bytes)
        } else {
            Err(Errno::EFAULT)
        }
    }

    /// A string ended by NUL, of at most `limit` bytes with it.
    pub(super) fn read_string(&self, address: u64, limit: usize) -> Result<CString, Errno> {
        let mut bytes = vec![0; limit];
        let read = target::read_memory(self.thread(), address, &mut bytes)?;
        bytes.truncate(read);
        match bytes.iter().position(|byte| *byte == 0) {
            Some(end) => {
                bytes.truncate(end);
                CString::new(bytes).map_err(|_| Errno::EFAULT)
            }
            None if read == limit => Err(Errno::ENAMETOOLONG),
            None => Err(Errno::EFAULT),
        }
    }

    /// Writes a result into target memory.
    pub(super) fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        if !self.still_waiting() {
            return Err(Errno::ESRCH);
        }
        target::write_memory(self.thread(), address, bytes)
    }

    /// A socket address argument, of the length the caller gives, as the kernel checks it
    /// (`move_addr_to_kernel` of net/socket.c).
    pub(super) fn read_address(&self, address: u64, length: i32) -> Result<Vec<u8>, Errno> {
        let length = usize::try_from(length).map_err(|_| Errno::EINVAL)?;
        if length > socket::ADDRESS_LIMIT {
            return Err(Errno::EINVAL);
        }
        self.read(address, length)
    }

    /// A copy of the caller's descriptor.
    pub(super) fn descriptor(&self, number: i32) -> Result<OwnedFd, Errno> {
        if number < 0 {
            return Err(Errno::EBADF);
        }
        let thread = self.thread();
        if let Some(made) = &self.shared.made {
            return made.of(thread, number);
        }
        for _ in 0..2 {
            let handle = self.shared.handles.of(thread)?;
            match target::take_descriptor(handle.as_fd(), number) {
                Err(Errno::ESRCH) => self.shared.handles.forget(thread),
                result => return result,
            }
        }
        Err(Errno::ESRCH)
    }

    /// Says that a socket is connected or listens.
    pub(super) fn settled(&self, socket: &OwnedFd) {
        if let Some(made) = &self.shared.made {
            made.forget(socket);
        }
    }

    /// Says that a socket is on its way: it is settled once it has arrived, or failed.
    pub(super) fn under_way(self: &Rc<Self>, socket: OwnedFd) {
        if self.shared.made.is_none() {
            return;
        }
        let caller = Rc::clone(self);
        tokio::task::spawn_local(async move {
            if let Ok(watched) = watch::borrowed(socket.as_fd(), Interest::WRITABLE) {
                let _ = watched.writable().await;
            }
            // One that was refused may be connected again.
            if !matches!(socket::is_closed(socket.as_fd()), Ok(true)) {
                caller.settled(&socket);
            }
        });
    }

    /// Whether descriptor `number` is closed on exec (`flags` of `/proc/TID/fdinfo/N`, proc(5)).
    pub(super) fn closes_on_exec(&self, number: i32) -> bool {
        let path = format!("/proc/{}/fdinfo/{number}", self.thread());
        std::fs::read_to_string(path)
            .ok()
            .and_then(|text| {
                let flags = text.lines().find_map(|line| line.strip_prefix("flags:"))?;
                i32::from_str_radix(flags.trim(), 8).ok()
            })
            .is_some_and(|flags| flags & libc::O_CLOEXEC != 0)
    }

    /// Whether a signal waits for the caller that it has a handler for: natively its call would be
    /// interrupted. `/proc/TID/status`, proc(5).
    pub(super) fn is_interrupted(&self) -> bool {
        std::fs::read_to_string(format!("/proc/{}/status", self.thread()))
            .is_ok_and(|status| waits_for_its_handler(&status))
    }

    /// The permissions that files the caller makes do not get (`Umask` of `/proc/TID/status`).
    pub(super) fn umask(&self) -> Option<u32> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.thread())).ok()?;
        let mask = status
            .lines()
            .find_map(|line| line.strip_prefix("Umask:"))?;
        u32::from_str_radix(mask.trim(), 8).ok()
    }

    /// The program's name (`/proc/PID/comm`). One that was executed by its descriptor has that
    /// number for a name (execveat(2)); its file has a better one.
    pub(super) fn program(&self) -> Option<String> {
        let leader = target::leader_of(self.thread()).ok()?;
        let name = std::fs::read(format!("/proc/{leader}/comm")).ok()?;
        let name = String::from_utf8_lossy(&name).trim_end().to_owned();
        if !name.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(name);
        }
        let file = std::fs::read_link(format!("/proc/{leader}/exe")).ok()?;
        Some(file.file_name()?.to_string_lossy().into_owned())
    }
}

fn waits_for_its_handler(status: &str) -> bool {
    let set = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
            .unwrap_or(0)
    };
    (set("SigPnd") | set("ShdPnd")) & !set("SigBlk") & set("SigCgt") != 0
}

#[cfg(test)]
mod tests {
    use super::waits_for_its_handler;

    #[test]
    fn only_caught_and_unblocked_signals_interrupt() {
        let status = |pending: &str, blocked: &str, caught: &str| {
            format!(
                "Name:\tx\nSigPnd:\t0000000000000000\nShdPnd:\t{pending}\nSigBlk:\t{blocked}\nSigIgn:\t0\nSigCgt:\t{caught}\n"
            )
        };
        assert!(waits_for_its_handler(&status("2000", "0", "2000")));
        assert!(!waits_for_its_handler(&status("2000", "2000", "2000")));
        assert!(!waits_for_its_handler(&status("2000", "0", "0")));
        assert!(!waits_for_its_handler(&status("0", "0", "2000")));
        assert!(!waits_for_its_handler(""));
    }
}
