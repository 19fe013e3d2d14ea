// SPDX-License-Identifier: MIT
//! Where the program begins, in place of the standard library's own beginning: that one prepares a
//! message for an overflowing stack, by reading `/proc/self/maps`, and takes a twentieth of what a
//! start may cost. A stack that overflows ends the process by SIGSEGV still.
//!
//! Invariant: before anything else runs, descriptors 0, 1 and 2 are open, so that no file opened
//! later becomes a standard stream; a pipe without a reader is an error and no signal.

use std::io::Write;

/// Makes `$main`, a `fn() -> u8`, what the C library calls; for a crate that is `no_main`.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        // The name the C library's start calls; nothing else in the program has it.
        #[unsafe(no_mangle)]
        extern "C" fn main() -> core::ffi::c_int {
            $crate::sys::entry::run($main)
        }
    };
}

/// Runs `main` as the whole program; its answer is the exit code.
pub fn run(main: fn() -> u8) -> libc::c_int {
    open_standard_streams();
    // SAFETY: installs no handler; the process has one thread and nothing waits for the signal.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let code = main();
    // The C library ends the process after this and does not know of this buffer.
    let _ = std::io::stdout().flush();
    libc::c_int::from(code)
}

/// Opens `/dev/null` for each standard stream that is closed; where that fails there is nowhere to
/// say so.
fn open_standard_streams() {
    let stream = |fd| libc::pollfd {
        fd,
        events: 0,
        revents: 0,
    };
    let mut streams = [stream(0), stream(1), stream(2)];
    loop {
        // SAFETY: three live structures, and no waiting.
        if unsafe { libc::poll(streams.as_mut_ptr(), 3, 0) } >= 0 {
            break;
        }
        if std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
            std::process::abort();
        }
    }
    for stream in streams {
        if stream.revents & libc::POLLNVAL == 0 {
            continue;
        }
        // SAFETY: the name ends with a zero byte. The lowest free number is this stream's: those
        // below are open by now.
        if unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) } != stream.fd {
            std::process::abort();
        }
    }
}
