// SPDX-License-Identifier: MIT
//! Files: what a path opens, and files made and removed by name under an opened directory.
//!
//! Invariant: a fact about a path is read from the descriptor that was opened, never from the
//! path a second time.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::fcntl::{
    AT_FDCWD, AtFlags, FcntlArg, OFlag, OpenHow, ResolveFlag, fcntl, openat, openat2, renameat,
};
use nix::sys::stat::{Mode, fstat, mkdirat, umask};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::{AccessFlags, UnlinkatFlags, faccessat, pipe2, unlinkat};

/// What fstat(2) says of an opened file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// Modification time, nanoseconds since the epoch.
    pub modified_ns: i128,
    /// Status change time, nanoseconds since the epoch.
    pub changed_ns: i128,
    /// Kind and permission bits (`st_mode`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Number of names; 0 when the file was removed.
    pub links: u64,
}

/// Closes descriptors, a run of consecutive numbers with one call (close_range(2), Linux 5.9): ten thousand
/// calls would cost a start more than what they do.
pub fn close_all(descriptors: Vec<OwnedFd>) {
    let mut numbers: Vec<u32> = descriptors
        .into_iter()
        .filter_map(|one| u32::try_from(one.into_raw_fd()).ok())
        .collect();
    numbers.sort_unstable();
    for run in numbers.chunk_by(|one, next| one + 1 == *next) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            continue;
        };
        // SAFETY: closes exactly the numbers that were owned by `descriptors`, which nobody owns now. It
        // fails on kernels without it only, and then nothing is closed before the process ends.
        unsafe { libc::syscall(libc::SYS_close_range, *first, *last, 0_u32) };
    }
}

/// Opens a path without any right to its content (`O_PATH`), links followed, closed on exec.
///
/// # Errors
/// Whatever open(2) answers.
pub fn open_path(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    Ok(nix::fcntl::open(path, flags, Mode::empty())?)
}

/// Opens a directory, which is no link itself, without any right to its content (`O_PATH`).
///
/// # Errors
/// Whatever open(2) answers: ENOTDIR for anything else.
pub fn open_directory_itself(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(nix::fcntl::open(path, flags, Mode::empty())?)
}

/// What a path opens, links followed: the descriptor (`O_PATH`), its status, and its path without
/// links, `.` or `..`.
///
/// # Errors
/// Whatever open(2) answers; ENOENT when the file was removed meanwhile.
pub fn look_at(path: &Path) -> io::Result<(OwnedFd, Status, PathBuf)> {
    let (opened, direct) = open_noting_links(path)?;
    let status = status_of(opened.as_fd())?;
    if direct && status.links > 0 {
        return Ok((opened, status, path.to_path_buf()));
    }
    let real_path = real_path(opened.as_fd(), &status, path)?;
    Ok((opened, status, real_path))
}

/// Opens a path with `O_PATH` and says whether the path has no link in it: it is the path of what
/// was opened then, and asking the kernel for that, which takes as long as opening, is not needed.
fn open_noting_links(path: &Path) -> io::Result<(OwnedFd, bool)> {
    if has_names_only(path) {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        match openat2(AT_FDCWD, path, how) {
            // A link on the way, or an outer sandbox that hides openat2 (Linux 5.6).
            Err(Errno::ELOOP | Errno::ENOSYS | Errno::EPERM) => {}
            result => return Ok((result?, true)),
        }
    }
    Ok((open_path(path)?, false))
}

/// Whether a path is absolute and spelled as the kernel spells it: no `.`, no `..`, no empty name.
fn has_names_only(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    let mut names = bytes.split(|byte| *byte == b'/');
    bytes.len() > 1
        && names.next().is_some_and(<[u8]>::is_empty)
        && names.all(|name| !matches!(name, b"" | b"." | b".."))
}

/// The status of what was opened.
///
/// # Errors
/// Whatever fstat(2) answers.
pub fn status_of(fd: BorrowedFd<'_>) -> io::Result<Status> {
    let stat = fstat(fd)?;
    let nanoseconds =
        |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    Ok(Status {
        device: stat.st_dev,
        inode: stat.st_ino,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
        changed_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
        mode: stat.st_mode,
        uid: stat.st_uid,
        // The width differs between machines.
        #[allow(clippy::useless_conversion)]
        links: stat.st_nlink.into(),
    })
}

/// The path of what was opened, without links, from `/proc/self/fd`. `asked` is the answer for
/// what has no path (a pipe, a socket).
///
/// # Errors
/// ENOENT when the file was removed or lies outside this mount namespace's view; without `/proc`,
/// ESTALE when the path means another file by now.
pub fn real_path(fd: BorrowedFd<'_>, status: &Status, asked: &Path) -> io::Result<PathBuf> {
    let Ok(link) = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())) else {
        return resolve_again(status, asked);
    };
    let kind = status.mode & libc::S_IFMT;
    let named = kind == libc::S_IFREG || kind == libc::S_IFDIR;
    if status.links == 0 && named {
        return Err(io::Error::from_raw_os_error(libc::ENOENT));
    }
    match link.is_absolute() {
        true => Ok(link),
        false if named => Err(io::Error::from_raw_os_error(libc::ENOENT)),
        false => Ok(asked.to_path_buf()),
    }
}

/// Without `/proc`: the resolved path, once it is known to open the very same file.
fn resolve_again(status: &Status, asked: &Path) -> io::Result<PathBuf> {
    let resolved = fs::canonicalize(asked)?;
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let again = status_of(nix::fcntl::open(&resolved, flags, Mode::empty())?.as_fd())?;
    if (again.device, again.inode) == (status.device, status.inode) {
        Ok(resolved)
    } else {
        Err(io::Error::from_raw_os_error(libc::ESTALE))
    }
}

/// At most the first `limit` bytes of a file. Opening never waits, not even for the writer of a
/// named pipe; reading one that has a writer does.
///
/// # Errors
/// Whatever the calls answer.
pub fn read_start(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    fcntl(&file, FcntlArg::F_SETFL(OFlag::empty()))?;
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    // Room for everything at once: growing from nothing reads in a dozen steps at every start.
    let expected = file.metadata()?.len().saturating_add(1).min(limit);
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether a descriptor of this number is open.
pub fn is_open(number: i32) -> bool {
    // SAFETY: takes numbers and changes nothing.
    unsafe { libc::fcntl(number, libc::F_GETFD) >= 0 }
}

/// Whether two descriptors are the same open file, with one offset and one mode (kcmp(2)); false
/// where the kernel does not say.
pub fn is_same_open_file(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    /// KCMP_FILE of linux/kcmp.h.
    const FILE: libc::c_int = 0;
    let own = super::process::own_pid();
    let (one, other) = (one.as_raw_fd(), other.as_raw_fd());
    // SAFETY: takes numbers and changes nothing.
    unsafe { libc::syscall(libc::SYS_kcmp, own, own, FILE, one, other) == 0 }
}

/// The first of these descriptors that is a socket and no stream or sequenced-packet one
/// (socket(7), SO_TYPE); a closed one or another file is none.
pub fn datagram_among(numbers: impl IntoIterator<Item = i32>) -> Option<i32> {
    numbers.into_iter().find(|&fd| {
        let mut kind: libc::c_int = 0;
        let mut length = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(4);
        // SAFETY: `kind` and `length` are valid for writing, and `length` is the size of `kind`; a
        // descriptor that is no socket, or none, is an error.
        let answer = unsafe {
            libc::getsockopt(
                fd,
                libc::SOL_SOCKET,
                libc::SO_TYPE,
                (&raw mut kind).cast(),
                &raw mut length,
            )
        };
        answer == 0 && kind != libc::SOCK_STREAM && kind != libc::SOCK_SEQPACKET
    })
}

/// A path split into its directory, opened, and its last name.
///
/// # Errors
/// EINVAL for a path without a name; ELOOP when the directory has links in it; else open(2).
fn open_parent(path: &Path) -> io::Result<(OwnedFd, OsString)> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let directory = nix::fcntl::open(parent, flags, Mode::empty())?;
    let status = status_of(directory.as_fd())?;
    if real_path(directory.as_fd(), &status, parent)? != parent {
        return Err(io::Error::from_raw_os_error(libc::ELOOP));
    }
    Ok((directory, name.to_os_string()))
}

fn status_at(directory: &OwnedFd, name: &OsStr) -> io::Result<Status> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    status_of(openat(directory, name, flags, Mode::empty())?.as_fd())
}

/// Creates an empty file, or a directory, that must not exist yet, and says what was created.
/// The umask applies.
///
/// # Errors
/// EEXIST when the name exists, as a link too; ELOOP when the parent has links in it.
pub fn create_exclusive(path: &Path, directory: bool) -> io::Result<Status> {
    let (parent, name) = open_parent(path)?;
    if directory {
        mkdirat(&parent, name.as_os_str(), Mode::from_bits_truncate(0o777))?;
        return status_at(&parent, &name);
    }
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(
        &parent,
        name.as_os_str(),
        flags,
        Mode::from_bits_truncate(0o666),
    )?;
    status_of(file.as_fd())
}

/// Replaces a file, or makes it: readers see the old content or the new one. The directory is held from
/// the look at its path on.
///
/// # Errors
/// ELOOP when the directory has links in its path; else whatever the calls answer, and the file is as it
/// was.
pub fn replace_without_links(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let (directory, name) = open_parent(path)?;
    let mut temporary = name.clone();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    temporary.push(format!(".{}-{count}.tmp", std::process::id()));
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate(mode);
    let file = openat(&directory, temporary.as_os_str(), flags, mode)?;
    fs::File::from(file)
        .write_all(bytes)
        .and_then(|()| {
            Ok(renameat(
                &directory,
                temporary.as_os_str(),
                &directory,
                name.as_os_str(),
            )?)
        })
        .inspect_err(|_| {
            let no_directory = UnlinkatFlags::NoRemoveDir;
            let _ = unlinkat(&directory, temporary.as_os_str(), no_directory);
        })
}

/// Removes what [`create_exclusive`] created when it is still that very file or directory, empty
/// and unmodified; says whether it was removed.
///
/// # Errors
/// Whatever the calls answer, but for a file that is gone or a directory that is used.
pub fn remove_if_untouched(path: &Path, created: &Status) -> io::Result<bool> {
    let (parent, name) = open_parent(path)?;
    let now = match status_at(&parent, &name) {
        Ok(now) => now,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if now != *created {
        return Ok(false);
    }
    let flag = match now.mode & libc::S_IFMT {
        libc::S_IFDIR => UnlinkatFlags::RemoveDir,
        _ => UnlinkatFlags::NoRemoveDir,
    };
    match unlinkat(&parent, name.as_os_str(), flag) {
        Ok(()) => Ok(true),
        Err(nix::errno::Errno::ENOTEMPTY | nix::errno::Errno::ENOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Makes a directory of mode 0700 with a name nobody can tell, and says which.
///
/// # Errors
/// Whatever mkdtemp(3) answers.
pub fn create_unguessable(parent: &Path, prefix: &str) -> io::Result<PathBuf> {
    Ok(nix::unistd::mkdtemp(
        &parent.join(format!("{prefix}XXXXXX")),
    )?)
}

/// Makes a directory of mode 0700; a umask that takes its owner's rights away is obeyed.
///
/// # Errors
/// Whatever mkdir(2) answers.
pub fn create_private(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}

/// Removes a directory with all it holds, also what lies in directories nobody may enter; follows no
/// link.
///
/// # Errors
/// Whatever could not be removed first.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_directories(path)?;
            fs::remove_dir_all(path)
        }
        result => result,
    }
}

/// Makes every directory in `path` one that its owner may enter and change.
fn open_directories(path: &Path) -> io::Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut pending = vec![path.to_path_buf()];
    while let Some(directory) = pending.pop() {
        let opened = nix::fcntl::open(&directory, flags, Mode::empty())?;
        // By the descriptor: the name may be another directory by now.
        let own = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
        fs::set_permissions(&own, fs::Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&own)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                pending.push(directory.join(entry.file_name()));
            }
        }
    }
    Ok(())
}

/// A pipe, both ends closed on exec; reading never waits.
///
/// # Errors
/// Whatever pipe2(2) and fcntl(2) answer.
pub fn pipe() -> io::Result<(File, OwnedFd)> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((File::from(reader), writer))
}

/// A pipe, both ends closed on exec; reading waits.
///
/// # Errors
/// Whatever pipe2(2) answers.
pub fn waiting_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe2(OFlag::O_CLOEXEC)?)
}

/// `/dev/null` for reading, closed on exec.
///
/// # Errors
/// Whatever open(2) answers.
pub fn null_input() -> io::Result<OwnedFd> {
    Ok(File::open("/dev/null")?.into())
}

/// Writes bytes in one call. Async-signal-safe.
///
/// # Errors
/// Whatever write(2) answers; a shorter write is EIO.
pub fn write_once(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    match nix::unistd::write(fd, bytes)? == bytes.len() {
        true => Ok(()),
        false => Err(io::Error::from_raw_os_error(libc::EIO)),
    }
}

/// What the file system of a path allows to its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mounted {
    /// Writing is permitted, by the mount and by the permission bits.
    pub writable: bool,
    /// Nothing can be executed from there.
    pub noexec: bool,
    /// Free bytes.
    pub free: u64,
}

/// What an existing directory's file system allows to this process.
///
/// # Errors
/// Whatever open(2) and fstatvfs(3) answer.
pub fn mounted(directory: &Path) -> io::Result<Mounted> {
    let opened = open_path(directory)?;
    let status = fstatvfs(&opened)?;
    Ok(Mounted {
        writable: !status.flags().contains(FsFlags::ST_RDONLY) && is_writable(directory),
        noexec: status.flags().contains(FsFlags::ST_NOEXEC),
        free: status
            .blocks_available()
            .saturating_mul(status.fragment_size()),
    })
}

/// Whether the effective user may write to a path.
fn is_writable(path: &Path) -> bool {
    faccessat(
        nix::fcntl::AT_FDCWD,
        path,
        AccessFlags::W_OK,
        AtFlags::AT_EACCESS,
    )
    .is_ok()
}

/// Another file mode creation mask, until it is dropped; of this thread and all that share its
/// directory.
#[derive(Debug)]
#[must_use]
pub struct Umask {
    before: Mode,
}

impl Umask {
    /// Sets it (umask(2)).
    pub fn set(mask: u32) -> Self {
        Self {
            before: umask(Mode::from_bits_truncate(mask)),
        }
    }
}

impl Drop for Umask {
    fn drop(&mut self) {
        umask(self.before);
    }
}

/// The bytes of a file name.
pub fn name_bytes(name: &OsStr) -> &[u8] {
    name.as_bytes()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::has_names_only;

    #[test]
    fn only_a_path_of_names_is_its_own_real_path() {
        for path in ["/a", "/a/b.c", "/a/..b/...", "/a b"] {
            assert!(has_names_only(Path::new(path)), "{path}");
        }
        for path in [
            "", "/", "a", "a/b", "/a/", "//a", "/a//b", "/./a", "/a/.", "/a/../b", "/..",
        ] {
            assert!(!has_names_only(Path::new(path)), "{path}");
        }
    }
}
