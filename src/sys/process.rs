// SPDX-License-Identifier: MIT
//! Processes: fork, wait, the tree below one process, signals to exactly one process.
//!
//! Invariant: a signal is only ever sent to a child that was not reaped yet, or through a pidfd
//! whose parent was checked after it was opened, so a reused number is never hit.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::signal::Inherited;

/// Whether this process has exactly one thread; `None` when nothing can tell.
///
/// `/proc/self/task` has two links and one more for each thread (proc(5)). Without `/proc`,
/// `unshare(CLONE_THREAD)` does nothing in a single-threaded process and is EINVAL in another
/// (unshare(2)); a container's filter may refuse it.
pub fn is_single_threaded() -> Option<bool> {
    use std::os::unix::fs::MetadataExt;
    if let Ok(status) = fs::metadata("/proc/self/task") {
        return Some(status.nlink() == 3);
    }
    // SAFETY: takes a number and, with this flag alone, changes nothing.
    match unsafe { libc::unshare(libc::CLONE_THREAD) } {
        0 => Some(true),
        _ if io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) => Some(false),
        _ => None,
    }
}

/// This process.
pub fn own_pid() -> i32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::getpid() }
}

/// Ends the process without running anything, however it is left.
struct ExitOnDrop;

impl Drop for ExitOnDrop {
    fn drop(&mut self) {
        exit_now(125);
    }
}

/// `_exit(2)`: no destructor, no buffered output.
fn exit_now(code: u8) -> ! {
    // SAFETY: ends the process; nothing of it is used afterwards.
    unsafe { libc::_exit(i32::from(code)) }
}

/// Forks; `child` runs in the new process, which ends with the code it returns.
///
/// `child` may only use async-signal-safe calls (signal-safety(7)) and must not allocate: that
/// keeps it right even if a library ever starts a thread.
///
/// # Errors
/// EBUSY when this process has more than one thread or that cannot be told; else fork(2).
pub fn fork(child: impl FnOnce() -> u8) -> io::Result<i32> {
    if is_single_threaded() != Some(true) {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    // SAFETY: the process has one thread, so no lock is held by a thread that the child lacks.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let _guard = ExitOnDrop;
            let code = child();
            exit_now(code)
        }
        pid => Ok(pid),
    }
}

/// Makes orphaned descendants children of this process, or no longer
/// (PR_SET_CHILD_SUBREAPER, Linux 3.4); says what it was before. It outlives execve(2).
///
/// # Errors
/// Whatever prctl(2) answers.
pub fn set_subreaper(on: bool) -> io::Result<bool> {
    let before = nix::sys::prctl::get_child_subreaper()?;
    nix::sys::prctl::set_child_subreaper(on)?;
    Ok(before)
}

/// Whether this process leads its session, and so gets its terminal's hang-up alone.
pub fn is_session_leader() -> bool {
    nix::unistd::getsid(None).is_ok_and(|session| session.as_raw() == own_pid())
}

/// In a child: has the kernel end this process by SIGKILL when its parent ends
/// (PR_SET_PDEATHSIG). Async-signal-safe.
///
/// # Errors
/// prctl(2), or ESRCH when `parent` has ended already.
pub fn die_with_parent(parent: i32) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    // SAFETY: takes nothing and cannot fail.
    if unsafe { libc::getppid() } == parent {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::ESRCH))
    }
}

/// Has the kernel send SIGTERM to the program that `command` will start, when this process ends
/// (PR_SET_PDEATHSIG); and gives it the signals this process was started with.
pub fn end_with_parent(command: &mut std::process::Command, inherited: Inherited) {
    use std::os::unix::process::CommandExt;
    let parent = own_pid();
    let ask = move || {
        inherited.restore()?;
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)?;
        // SAFETY: takes nothing and cannot fail.
        if unsafe { libc::getppid() } == parent {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(libc::ESRCH))
        }
    };
    // SAFETY: between fork and exec it makes system calls only and allocates nothing.
    unsafe { command.pre_exec(ask) };
}

/// In a child: makes `descriptors` the standard input, output and error. Async-signal-safe.
///
/// # Errors
/// Whatever dup2(2) answers.
pub fn redirect_standard(descriptors: [BorrowedFd<'_>; 3]) -> io::Result<()> {
    for (target, source) in (0..).zip(descriptors) {
        // SAFETY: both are plain numbers, `source` is open, and 0 to 2 are owned by no object.
        if unsafe { libc::dup2(source.as_raw_fd(), target) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// In a child: makes `descriptor` the standard input and closes everything else but standard error.
/// Async-signal-safe.
///
/// # Errors
/// Whatever dup2(2) and close_range(2) (Linux 5.9) answer.
pub fn keep_only_as_input(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both are plain numbers, the descriptor is open, and 0 is owned by no object.
    if unsafe { libc::dup2(descriptor.as_raw_fd(), 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: closes numbers; this process ends without using an object that owns one of them.
    let closed = unsafe {
        libc::close(1);
        libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32)
    };
    match closed {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A program that this process can become without allocating, with an empty environment.
#[derive(Debug)]
pub struct Program {
    path: CString,
    /// What the pointers point to.
    _words: Vec<CString>,
    /// Ended by a null pointer.
    pointers: Vec<*const libc::c_char>,
}

impl Program {
    /// The program at `path`, with these words; the first one is its name.
    pub fn new(path: CString, words: Vec<CString>) -> Self {
        let pointers = words.iter().map(|word| word.as_ptr());
        let pointers = pointers.chain([std::ptr::null()]).collect();
        Self {
            path,
            _words: words,
            pointers,
        }
    }

    /// Becomes it; returns only when it cannot be executed. Async-signal-safe.
    pub fn execute(&self) {
        let nothing: [*const libc::c_char; 1] = [std::ptr::null()];
        // SAFETY: the path and the words are strings ended by NUL which `self` owns and nobody changes,
        // and both lists are ended by a null pointer.
        unsafe { libc::execve(self.path.as_ptr(), self.pointers.as_ptr(), nothing.as_ptr()) };
    }
}

/// Waits until standard input has a byte, or has ended; whether it ended. Async-signal-safe.
pub fn input_ends_empty() -> bool {
    let mut byte = 0_u8;
    loop {
        // SAFETY: the buffer is one byte that lives through the call.
        match unsafe { libc::read(0, (&raw mut byte).cast(), 1) } {
            0 => return true,
            -1 if nix::errno::Errno::last() == nix::errno::Errno::EINTR => {}
            _ => return false,
        }
    }
}

/// Writes to standard error in one call. Async-signal-safe.
pub fn write_error(bytes: &[u8]) {
    // SAFETY: the bytes live through the call; nobody is left to tell when it fails.
    let _ = unsafe { libc::write(2, bytes.as_ptr().cast(), bytes.len()) };
}

/// Waits for the end of one child, if it is there.
pub fn reap(pid: i32) {
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    let pid = nix::unistd::Pid::from_raw(pid);
    while waitid(Id::Pid(pid), WaitPidFlag::WEXITED) == Err(nix::errno::Errno::EINTR) {}
}

/// What happened to a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It ended by itself, with this code.
    Exited(u8),
    /// It was ended by this signal.
    Killed(i32),
    /// It was stopped by this signal.
    Stopped(i32),
}

/// What the children of this process have to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// This one changed; one that ended is reaped.
    Changed(i32, Change),
    /// There are children and nothing new.
    Nothing,
    /// There are no children.
    NoChildren,
}

/// Asks for one change of any child, without waiting (waitid(2)).
///
/// # Errors
/// Whatever waitid(2) answers, but for ECHILD.
pub fn wait_next() -> io::Result<Waited> {
    let flags = libc::WEXITED | libc::WSTOPPED | libc::WNOHANG | libc::__WALL;
    // SAFETY: an all-zero siginfo_t is a valid value of that plain structure.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: `info` is writable for the call's duration.
        if unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, flags) } == 0 {
            break;
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::ECHILD) => return Ok(Waited::NoChildren),
            _ => return Err(error),
        }
    }
    // SAFETY: waitid filled the child fields, or left the zero that means nothing happened.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(Waited::Nothing);
    }
    let change = match info.si_code {
        libc::CLD_EXITED => Change::Exited(status.to_le_bytes()[0]),
        libc::CLD_KILLED | libc::CLD_DUMPED => Change::Killed(status),
        libc::CLD_STOPPED => Change::Stopped(status),
        _ => return Ok(Waited::Nothing),
    };
    Ok(Waited::Changed(pid, change))
}

/// The processor time of all children that were reaped, and of theirs (getrusage(2)).
pub fn processor_time_of_children() -> std::time::Duration {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;
    getrusage(UsageWho::RUSAGE_CHILDREN).map_or(std::time::Duration::ZERO, |usage| {
        let time = usage.user_time() + usage.system_time();
        std::time::Duration::from_micros(time.num_microseconds().try_into().unwrap_or(0))
    })
}

/// Whether this process has any child, ended ones included; reaps nothing.
pub fn has_children() -> bool {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    // SAFETY: an all-zero siginfo_t is a valid value of that plain structure.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is writable for the call's duration.
    unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, flags) == 0 }
}

/// Sends a signal to a child that was not reaped yet: its number cannot be reused before.
///
/// # Errors
/// Whatever kill(2) answers.
pub fn signal_child(pid: i32, signal: i32) -> io::Result<()> {
    if pid <= 1 {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    // SAFETY: takes numbers; `pid` names one process, never a group.
    if unsafe { libc::kill(pid, signal) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A stable handle of a process (pidfd_open(2), Linux 5.3), closed on exec.
///
/// # Errors
/// ESRCH when there is none; ENOSYS or EPERM when the call is missing or filtered.
pub fn open_pidfd(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers and makes a new descriptor.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = i32::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a signal through a handle; signal 0 only asks whether the process still exists, which
/// an ended one does until it is reaped (pidfd_send_signal(2), Linux 5.1).
///
/// # Errors
/// ESRCH when it was reaped.
pub fn signal_handle(handle: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let no_info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: the handle is open and a null siginfo is allowed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            handle.as_raw_fd(),
            signal,
            no_info,
            0,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Whether `/proc` speaks of the processes this process sees; a mount of another PID namespace
/// would name strangers.
fn require_own_proc() -> io::Result<()> {
    let number = fs::read_link("/proc/self")?;
    if number.as_os_str() == own_pid().to_string().as_str() {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::ENOENT))
    }
}

/// The children of a process, ended ones included.
///
/// # Errors
/// When `/proc` is not mounted, is another namespace's, or `pid` has gone.
pub fn children_of(pid: i32) -> io::Result<Vec<i32>> {
    require_own_proc()?;
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        match fs::read_to_string(task?.path().join("children")) {
            Ok(text) => children.extend(text.split_ascii_whitespace().filter_map(parse_pid)),
            // Kernels without CONFIG_PROC_CHILDREN, or the thread has just ended.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return scan_children(pid),
            Err(error) => return Err(error),
        }
    }
    Ok(children)
}

fn scan_children(pid: i32) -> io::Result<Vec<i32>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(candidate) = entry?.file_name().to_str().and_then(parse_pid) else {
            continue;
        };
        if parent_of(candidate).is_ok_and(|parent| parent == pid) {
            children.push(candidate);
        }
    }
    Ok(children)
}

fn parse_pid(text: &str) -> Option<i32> {
    text.parse().ok().filter(|pid| *pid > 0)
}

fn stat_of(pid: i32) -> io::Result<(char, i32)> {
    let bytes = fs::read(format!("/proc/{pid}/stat"))?;
    parse_stat(&String::from_utf8_lossy(&bytes))
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
}

/// State and parent of a `/proc/PID/stat` line; the name before them may hold anything.
fn parse_stat(line: &str) -> Option<(char, i32)> {
    let (_, rest) = line.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// The parent of a process.
///
/// # Errors
/// When it has gone or `/proc` is not mounted.
pub fn parent_of(pid: i32) -> io::Result<i32> {
    stat_of(pid).map(|(_, parent)| parent)
}

/// Whether a process is stopped by a signal; false when that cannot be read.
pub fn is_stopped(pid: i32) -> bool {
    stat_of(pid).is_ok_and(|(state, _)| state == 'T')
}

/// How many seccomp filters a process has (`Seccomp_filters` of `/proc/PID/status`, Linux 5.9).
pub fn filter_count(pid: i32) -> Option<u32> {
    let bytes = fs::read(format!("/proc/{pid}/status")).ok()?;
    parse_filter_count(&String::from_utf8_lossy(&bytes))
}

fn parse_filter_count(status: &str) -> Option<u32> {
    status
        .lines()
        .find_map(|line| line.strip_prefix("Seccomp_filters:"))?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::{parse_filter_count, parse_pid, parse_stat};

    #[test]
    fn parse_stat_is_not_misled_by_the_name() {
        assert_eq!(parse_stat("12 (deno) S 7 12 12 0"), Some(('S', 7)));
        assert_eq!(parse_stat("12 (a) Z 1 (b) T 9 12"), Some(('T', 9)));
        assert_eq!(parse_stat("12 deno S 7"), None);
        assert_eq!(parse_stat("12 (deno) S"), None);
    }

    #[test]
    fn parse_pid_takes_numbers_of_processes_only() {
        assert_eq!(parse_pid("41"), Some(41));
        for text in ["0", "-1", "self", "", "99999999999"] {
            assert_eq!(parse_pid(text), None, "{text}");
        }
    }

    #[test]
    fn parse_filter_count_reads_its_line() {
        assert_eq!(
            parse_filter_count("Seccomp:\t2\nSeccomp_filters:\t3\n"),
            Some(3)
        );
        assert_eq!(parse_filter_count("Seccomp:\t2\n"), None);
    }
}
