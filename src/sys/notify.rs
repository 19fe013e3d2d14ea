// SPDX-License-Identifier: MIT
//! The listener of a seccomp filter: calls of the target wait here until they are answered
//! (seccomp_unotify(2), Linux 5.9).
//!
//! Invariant: a notification's registers are copied once, out of a buffer as large as this kernel
//! wants it; nothing here reads what the registers point to, and a call is left to
//! the kernel only where nothing about it needed judging.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::sock_filter;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow};

use super::done;

/// Installs a filter on the calling thread and gives its listener, closed on exec. With
/// WAIT_KILLABLE_RECV (Linux 5.19) a call that was received is not interrupted by signal handlers,
/// so it never comes twice; older kernels are asked without. Async-signal-safe.
///
/// # Errors
/// EBUSY when a filter with a listener is in force already (an outer supervisor), EINVAL when the
/// kernel has no listeners, EPERM when an outer sandbox refuses.
pub fn install(program: &[sock_filter]) -> Result<OwnedFd, Errno> {
    install_as(program).map(|(listener, _)| listener)
}

/// Installs as [`install`] does and closes the listener at once; whether WAIT_KILLABLE_RECV was
/// taken. Async-signal-safe.
///
/// # Errors
/// As [`install`].
pub fn probe(program: &[sock_filter]) -> Result<bool, Errno> {
    install_as(program).map(|(_, killable)| killable)
}

fn install_as(program: &[sock_filter]) -> Result<(OwnedFd, bool), Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?;
    let header = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    let listen = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let (mut answer, mut killable) = (-1, false);
    for flags in [listen | WAIT_KILLABLE_RECV, listen] {
        // SAFETY: the header points to `len` live instructions, which the kernel copies and does
        // not write to.
        answer = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                &raw const header,
            )
        };
        killable = flags != listen;
        if answer >= 0 || Errno::last() != Errno::EINVAL {
            break;
        }
    }
    if answer < 0 {
        return Err(Errno::last());
    }
    let fd = i32::try_from(answer).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made this descriptor and nothing else owns it.
    Ok((unsafe { OwnedFd::from_raw_fd(fd) }, killable))
}

/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV` of linux/seccomp.h.
const WAIT_KILLABLE_RECV: libc::c_ulong = 1 << 5;

/// A call of the target, waiting for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notification {
    /// Names the call towards the kernel.
    pub id: u64,
    /// The calling thread, in this process's PID namespace; 0 when it has no number there.
    pub thread: i32,
    /// The call's number.
    pub number: i32,
    /// Its argument registers.
    pub arguments: [u64; 6],
}

/// How a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It returns this value.
    Value(i64),
    /// It fails with this error number.
    Error(i32),
    /// The kernel performs it after all, and reads its registers and memory anew: only for calls
    /// that may be performed whatever they say (seccomp_unotify(2), "NOTES").
    Unjudged,
}

impl From<Result<i64, Errno>> for Answer {
    fn from(result: Result<i64, Errno>) -> Self {
        match result {
            Ok(value) => Self::Value(value),
            Err(errno) => Self::Error(errno as i32),
        }
    }
}

/// Interrupts the call for a signal handler: the kernel restarts it or makes it EINTR, as the
/// handler's SA_RESTART says (ERESTARTSYS of the kernel's include/linux/errno.h).
pub const RESTART: i32 = 512;

/// The waiting calls of one target and its descendants.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    notification_size: usize,
}

/// Larger than any kernel's structure: it is 80 bytes in Linux 7.3.
const BUFFER: usize = 256;

impl Listener {
    /// Takes a listener; asks the kernel how large its structures are.
    ///
    /// # Errors
    /// EINVAL or ENOSYS when there are none, EOVERFLOW when they are larger than anything known.
    pub fn new(fd: OwnedFd) -> Result<Self, Errno> {
        let mut sizes = libc::seccomp_notif_sizes {
            seccomp_notif: 0,
            seccomp_notif_resp: 0,
            seccomp_data: 0,
        };
        // SAFETY: writes one live structure.
        done(unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_GET_NOTIF_SIZES,
                0_u32,
                &raw mut sizes,
            )
        })?;
        let notification_size = usize::from(sizes.seccomp_notif);
        let known = size_of::<libc::seccomp_notif>();
        let answer_size = usize::from(sizes.seccomp_notif_resp);
        if notification_size > BUFFER || notification_size < known || answer_size > BUFFER {
            return Err(Errno::EOVERFLOW);
        }
        let listener = Self {
            fd,
            notification_size,
        };
        listener.wake_nearby();
        Ok(listener)
    }

    /// Has whoever waits here, and then the caller, woken on the processor that the other one is
    /// about to leave: a sleeping processor takes longer to wake than the call takes. Kernels before
    /// 6.6 cannot; nothing but time depends on it.
    fn wake_nearby(&self) {
        // SAFETY: takes numbers.
        let _ = unsafe {
            libc::ioctl(
                self.fd.as_raw_fd(),
                SECCOMP_IOCTL_NOTIF_SET_FLAGS as _,
                SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP,
            )
        };
    }

    /// The next waiting call; none when nobody waits. Waits, until it is interrupted, only if the
    /// one that waited when it was looked for is killed at this very moment, on kernels before 6.12
    /// (a poll comes first, since receiving has no way not to wait).
    ///
    /// # Errors
    /// ENODEV when no process is left that could call.
    pub fn receive(&self) -> Result<Option<Notification>, Errno> {
        let mut poll = libc::pollfd {
            fd: self.fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one live structure, no waiting.
        let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
        if ready < 0 {
            return match Errno::last() {
                // Interrupted here: somebody may wait.
                Errno::EINTR => self.receive(),
                errno => Err(errno),
            };
        }
        if poll.revents & libc::POLLIN == 0 {
            if poll.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0 {
                return Err(Errno::ENODEV);
            }
            return Ok(None);
        }
        let mut buffer = Aligned([0; BUFFER]);
        debug_assert!(self.notification_size <= BUFFER);
        // SAFETY: the kernel writes at most `notification_size` bytes, which `new` compared with
        // the buffer; they must be zero before (seccomp_unotify(2)).
        let result = unsafe {
            libc::ioctl(
                self.fd.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV as _,
                buffer.0.as_mut_ptr(),
            )
        };
        if result < 0 {
            return match Errno::last() {
                // Killed meanwhile.
                Errno::ENOENT => Ok(None),
                // Interrupted here: whoever calls may wait still.
                Errno::EINTR => self.receive(),
                errno => Err(errno),
            };
        }
        // SAFETY: the buffer is aligned to 8, larger than the structure, and was filled by the
        // kernel; every bit pattern is a valid value of its integers.
        let raw = unsafe { &*buffer.0.as_ptr().cast::<libc::seccomp_notif>() };
        Ok(Some(Notification {
            id: raw.id,
            thread: i32::try_from(raw.pid).unwrap_or(0),
            number: raw.data.nr,
            arguments: raw.data.args,
        }))
    }

    /// Whether the caller still waits: what was read from its memory before was its own.
    pub fn is_waiting(&self, id: u64) -> bool {
        // SAFETY: reads one live number.
        let result = unsafe {
            libc::ioctl(
                self.fd.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_ID_VALID as _,
                &raw const id,
            )
        };
        result == 0
    }

    /// Ends the call.
    ///
    /// # Errors
    /// ENOENT when the caller waits no longer.
    pub fn answer(&self, id: u64, answer: Answer) -> Result<(), Errno> {
        let (value, error, flags) = match answer {
            Answer::Value(value) => (value, 0, 0),
            Answer::Error(errno) => (0, -errno, 0),
            Answer::Unjudged => (0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE),
        };
        let mut buffer = Aligned([0; BUFFER]);
        // SAFETY: aligned, larger than the structure, all zero, which is a valid value.
        let raw = unsafe { &mut *buffer.0.as_mut_ptr().cast::<libc::seccomp_notif_resp>() };
        raw.id = id;
        raw.val = value;
        raw.error = error;
        raw.flags = flags;
        // SAFETY: the kernel reads at most its structure's size, which `new` compared with the
        // buffer.
        done(
            unsafe {
                libc::ioctl(
                    self.fd.as_raw_fd(),
                    libc::SECCOMP_IOCTL_NOTIF_SEND as _,
                    buffer.0.as_mut_ptr(),
                )
            }
            .into(),
        )
    }

    /// Gives the caller a copy of `descriptor` as the result of its call, which ends (Linux 5.14).
    ///
    /// # Errors
    /// ENOENT when the caller waits no longer, EMFILE when it has no free number.
    pub fn answer_with(
        &self,
        id: u64,
        descriptor: BorrowedFd<'_>,
        close_on_exec: bool,
    ) -> Result<i32, Errno> {
        self.add(id, descriptor, SECCOMP_ADDFD_FLAG_SEND, 0, close_on_exec)
    }

    /// Puts a copy of `descriptor` in the place of the caller's descriptor `number`. The call goes
    /// on waiting.
    ///
    /// # Errors
    /// ENOENT when the caller waits no longer, EBADF when its limit is below `number`.
    pub fn replace_descriptor(
        &self,
        id: u64,
        descriptor: BorrowedFd<'_>,
        number: u32,
        close_on_exec: bool,
    ) -> Result<(), Errno> {
        self.add(
            id,
            descriptor,
            SECCOMP_ADDFD_FLAG_SETFD,
            number,
            close_on_exec,
        )
        .map(drop)
    }

    fn add(
        &self,
        id: u64,
        descriptor: BorrowedFd<'_>,
        flags: u32,
        number: u32,
        close_on_exec: bool,
    ) -> Result<i32, Errno> {
        let request = libc::seccomp_notif_addfd {
            id,
            flags,
            srcfd: u32::try_from(descriptor.as_raw_fd()).map_err(|_| Errno::EBADF)?,
            newfd: number,
            newfd_flags: if close_on_exec {
                libc::O_CLOEXEC.cast_unsigned()
            } else {
                0
            },
        };
        // Interrupted while the caller takes the descriptor, the kernel would end its call with 0 and
        // no descriptor (`seccomp_notify_addfd` of kernel/seccomp.c). The caller is in the kernel
        // and takes it as soon as it runs, so this wait is short.
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        // SAFETY: reads one live structure, whose size is part of the request number.
        let result = unsafe {
            libc::ioctl(
                self.fd.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_ADDFD as _,
                &raw const request,
            )
        };
        let result = if result < 0 {
            Err(Errno::last())
        } else {
            Ok(result)
        };
        before.thread_set_mask()?;
        result
    }
}

// linux/seccomp.h
const SECCOMP_USER_NOTIF_FLAG_CONTINUE: u32 = 1;
const SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP: libc::c_ulong = 1;
/// `SECCOMP_IOW(4, __u64)`: direction, size, group `!` and number (asm-generic/ioctl.h).
const SECCOMP_IOCTL_NOTIF_SET_FLAGS: u32 = 1 << 30 | 8 << 16 | 0x21 << 8 | 4;
const SECCOMP_ADDFD_FLAG_SETFD: u32 = 1;
const SECCOMP_ADDFD_FLAG_SEND: u32 = 2;

#[repr(C, align(8))]
struct Aligned([u8; BUFFER]);

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }
}
