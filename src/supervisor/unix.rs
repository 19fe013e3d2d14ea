// SPDX-License-Identifier: MIT
//! UNIX sockets with paths: connect(2) and bind(2) on the target's own socket.
//!
//! The server of a connection sees the supervisor's process number in its peer's credentials, with
//! the target's user and groups.
//!
//! Invariant: a path is resolved once, from the target's own directory, to a file that is held
//! open; that file is judged and that file is connected to. Names without a file (abstract ones)
//! reach nobody: no rule can name them.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, readlinkat};

use super::address::UnixName;
use super::binder::{self, Place};
use super::caller::Caller;
use super::connect::unblocked;
use super::named_sockets::{self, Asked, is_name_service};
use super::paths::grants::{TO_BIND, TO_CONNECT, Verdict};
use super::paths::lookup::{self, AT_FDCWD_NUMBER, Object, Unfound, name_of};
use super::paths::reach::Above;
use super::{Outcome, Sought};
use crate::audit::Action;
use crate::egress::rules::Denial;
use crate::plan::Access;
use crate::policy::Origin;
use crate::sys::attributes::descriptor_name;
use crate::sys::files::Umask;
use crate::sys::notify::{Answer, RESTART};
use crate::sys::resolve::Links;
use crate::sys::socket::{self, Kind};

/// How often a connection to a server whose queue is full is tried again.
const AGAIN: Duration = Duration::from_millis(20);

/// Answers connect(2).
pub(super) fn connect(
    caller: Rc<Caller>,
    socket: OwnedFd,
    kind: Kind,
    name: &UnixName<'_>,
) -> Result<Outcome, Errno> {
    if kind.kind == libc::SOCK_DGRAM {
        return Err(Errno::EACCES);
    }
    let path = match name {
        UnixName::Path(path) => *path,
        UnixName::Unnamed => return Err(Errno::EINVAL),
        UnixName::Abstract(_) => {
            return Err(caller.deny(Action::Connect, &sought(name), no_rule_names()));
        }
    };
    let found = open(&caller, path, Action::Connect, name)?;
    if found.identity.kind() != libc::S_IFSOCK {
        return Err(Errno::ECONNREFUSED);
    }
    if !caller.still_waiting() {
        return Ok(Outcome::Answered);
    }
    if let Err(denial) = may_connect(&caller, &found) {
        let sought = seen(&found, None).map_or_else(|| sought(name), Sought::Path);
        return Err(caller.deny(Action::Connect, &sought, denial));
    }
    let found = found.descriptor;
    let address = unix_address(&descriptor_path(found.as_fd()))?;
    let flags = socket::status_flags(socket.as_fd())?;
    match connect_at_once(&socket, flags, &address) {
        Ok(()) => {
            caller.settled(&socket);
            Ok(Outcome::value(0))
        }
        Err(Errno::EAGAIN) if flags & libc::O_NONBLOCK == 0 => Ok(Outcome::later(async move {
            wait_for_room(&caller, &socket, flags, &address, &found).await
        })),
        Err(errno) => Err(errno),
    }
}

/// Tries again while the server's queue is full, as a blocking caller does. The address leads
/// through the descriptor of `_found`, which stays open for that.
async fn wait_for_room(
    caller: &Caller,
    socket: &OwnedFd,
    flags: i32,
    address: &[u8],
    _found: &OwnedFd,
) -> Answer {
    loop {
        tokio::time::sleep(AGAIN).await;
        if !caller.still_waiting() {
            return Answer::Error(libc::EINTR);
        }
        if caller.is_interrupted() {
            return Answer::Error(RESTART);
        }
        match connect_at_once(socket, flags, address) {
            Err(Errno::EAGAIN) => {}
            result => {
                if result.is_ok() {
                    caller.settled(socket);
                }
                return Answer::from(result.map(|()| 0));
            }
        }
    }
}

fn connect_at_once(socket: &OwnedFd, flags: i32, address: &[u8]) -> Result<(), Errno> {
    let socket = socket.as_fd();
    unblocked(socket, flags, || socket::connect(socket, address))
}

/// Answers bind(2).
pub(super) fn bind(
    caller: &Rc<Caller>,
    socket: &OwnedFd,
    name: &UnixName<'_>,
) -> Result<Outcome, Errno> {
    let path = match name {
        UnixName::Path(path) => *path,
        // The kernel chooses an abstract name that nobody was told, and nobody may connect to.
        UnixName::Unnamed => {
            socket::bind(socket.as_fd(), &[1, 0])?;
            return Ok(Outcome::value(0));
        }
        UnixName::Abstract(_) => {
            return Err(caller.deny(Action::Listen, &sought(name), no_rule_names()));
        }
    };
    let split = split(path)?;
    let directory = open(caller, split.parent, Action::Listen, name)?;
    if directory.identity.kind() != libc::S_IFDIR {
        return Err(Errno::ENOTDIR);
    }
    let umask = caller.umask().ok_or(Errno::ESRCH)?;
    let start = lookup::working_directory(&**caller)?;
    if !caller.still_waiting() {
        return Ok(Outcome::Answered);
    }
    let way = match may_bind(caller, &directory, &split.name) {
        Ok(way) => way,
        Err(denial) => {
            let seen = seen(&directory, Some(&split.name));
            let sought = seen.map_or_else(|| sought(name), Sought::Path);
            return Err(caller.deny(Action::Listen, &sought, denial));
        }
    };
    let mut held = descriptor_path(directory.descriptor.as_fd());
    held.push(&split.name);
    if split.slash {
        // What is there is no socket to be made, and a directory is not made here.
        let there = lookup::is_there(&directory, &split.name);
        return Err(if there {
            Errno::EADDRINUSE
        } else {
            Errno::ENOENT
        });
    }
    let place = |directory| {
        Ok::<_, Errno>(Place {
            socket: socket.try_clone().map_err(|_| Errno::EMFILE)?,
            directory,
            address: unix_bytes(path),
            umask,
        })
    };
    match (way, &caller.shared.binder) {
        (Way::AsGiven, Some(binder)) => binder.bind(place(start)?)?,
        (Way::OnBehalf, _) if stands_still(caller, &directory, &split.name, &start, path)? => {
            binder::bind_here(&place(start)?)?;
        }
        _ => {
            let _own = Umask::set(umask);
            socket::bind(socket.as_fd(), &unix_address(&held)?)?;
        }
    }
    Ok(Outcome::value(0))
}

/// Opens what a path in a call names.
fn open(
    caller: &Caller,
    path: &[u8],
    action: Action,
    name: &UnixName<'_>,
) -> Result<Object, Errno> {
    lookup::open_path(path, AT_FDCWD_NUMBER, Links::Followed, caller).map_err(|unfound| {
        match unfound {
            Unfound::Failed(errno) => errno,
            Unfound::Refused(reason) => caller.deny(action, &sought(name), denial(reason, None)),
        }
    })
}

/// How a socket is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Under the path that was given: a write grant covers its directory, and Landlock holds the
    /// binder to it.
    AsGiven,
    /// Under the path that was given where nothing on the way can be made to lead elsewhere, else as
    /// [`Way::Through`]: something is protected inside the grant, and Landlock gives no right in it.
    OnBehalf,
    /// Through the directory that was judged, which becomes the socket's own address: where a rule
    /// alone lets it be made, or one denies some socket, which Landlock cannot hold.
    Through,
}

fn may_bind(caller: &Caller, directory: &Object, name: &OsStr) -> Result<Way, Denial> {
    let shared = &caller.shared;
    let asked = Asked::New(&directory.identity, name);
    let named = match shared.named_sockets.answer(asked) {
        named_sockets::Answer::Denied(origin) => {
            return Err(denial("a `unix:` rule denies it", Some(origin)));
        }
        named_sockets::Answer::Granted => true,
        named_sockets::Answer::Unnamed => false,
    };
    if !named {
        match shared
            .reach
            .protects_name(&directory.descriptor, name, TO_BIND)
        {
            Ok(None) => {}
            Ok(Some(protected)) => {
                let reason = format!("it is protected: {}", protected.why);
                return Err(denial(&reason, protected.origin.as_ref()));
            }
            Err(errno) => {
                let reason = format!("where it lies cannot be found out: {errno}");
                return Err(denial(&reason, None));
            }
        }
    }
    match shared.grants.judge_object(directory, TO_BIND) {
        Verdict::Granted if shared.named_sockets.deny_some() => Ok(Way::Through),
        Verdict::Granted => Ok(
            match shared.reach.is_native(&directory.descriptor, TO_BIND) {
                Ok(true) => Way::AsGiven,
                Ok(false) => Way::OnBehalf,
                Err(_) => Way::Through,
            },
        ),
        _ if named => Ok(Way::Through),
        Verdict::Denied(reason, origin) => Err(denial(reason, Some(origin))),
        Verdict::Outside | Verdict::Protected(_) | Verdict::Unknown(_) => Err(Denial {
            allow_with: allow(seen(directory, Some(name))),
            ..denial(
                "no `unix:` rule names it, and it is not inside a write grant",
                None,
            )
        }),
    }
}

/// Whether the text of an address leads to the judged name and goes on doing so: it has no links in it,
/// and the target has no write right of its own in any directory on the way. What the supervisor does
/// there on behalf waits for this call.
fn stands_still(
    caller: &Caller,
    directory: &Object,
    name: &OsStr,
    start: &OwnedFd,
    path: &[u8],
) -> Result<bool, Errno> {
    let given = Path::new(OsStr::from_bytes(path));
    let given = if given.is_absolute() {
        given.to_owned()
    } else {
        let start = readlinkat(AT_FDCWD, descriptor_name(start.as_fd()).as_c_str())?;
        PathBuf::from(start).join(given)
    };
    let above = Above::of(&directory.descriptor)?;
    let own = caller.shared.reach.along(&above).native;
    Ok(!own.intersects(Access::WRITE) && above.path_of(name) == given)
}

fn may_connect(caller: &Caller, found: &Object) -> Result<(), Denial> {
    let shared = &caller.shared;
    match shared.named_sockets.answer(Asked::File(&found.identity)) {
        named_sockets::Answer::Denied(origin) => {
            return Err(denial("a `unix:` rule denies it", Some(origin)));
        }
        named_sockets::Answer::Granted => return Ok(()),
        named_sockets::Answer::Unnamed => {}
    }
    let outside = |reason| Denial {
        allow_with: allow(seen(found, None)),
        ..denial(reason, None)
    };
    match shared.grants.judge_object(found, TO_CONNECT) {
        Verdict::Granted if is_name_service(&found.identity) => Err(outside(
            "names looked up there would be hidden from the rules, and no `unix:` rule names it",
        )),
        Verdict::Granted => Ok(()),
        Verdict::Denied(reason, origin) => Err(denial(reason, Some(origin))),
        Verdict::Outside | Verdict::Protected(_) | Verdict::Unknown(_) => Err(outside(
            "no `unix:` rule names it, and it is not inside both a read and a write grant",
        )),
    }
}

/// A path to bind to, taken apart as the kernel does.
#[derive(Debug, PartialEq, Eq)]
struct Split<'a> {
    parent: &'a [u8],
    name: OsString,
    /// Whether slashes follow the name.
    slash: bool,
}

/// # Errors
/// EADDRINUSE for a path that ends in a directory's own name, which is there always.
fn split(path: &[u8]) -> Result<Split<'_>, Errno> {
    let slashes = path.iter().rev().take_while(|byte| **byte == b'/').count();
    let (path, _) = path.split_at(path.len() - slashes);
    let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(last) => (&path[..=last], &path[last + 1..]),
        None => (&b"."[..], path),
    };
    if matches!(name, b"" | b"." | b"..") {
        return Err(Errno::EADDRINUSE);
    }
    Ok(Split {
        parent,
        name: OsStr::from_bytes(name).to_owned(),
        slash: slashes > 0,
    })
}

/// The kernel's name of an object, or of something in it.
fn seen(object: &Object, name: Option<&OsStr>) -> Option<PathBuf> {
    let mut path = PathBuf::from(name_of(object).ok()?);
    path.extend(name);
    path.is_absolute().then_some(path)
}

fn allow(path: Option<PathBuf>) -> Option<String> {
    path.map(|path| format!("--allow-net=unix:{}", path.display()))
}

fn descriptor_path(file: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn unix_address(path: &std::path::Path) -> Result<Vec<u8>, Errno> {
    /// `sun_path` with its NUL (unix(7)).
    const PATH_LIMIT: usize = 108;
    if path.as_os_str().len() >= PATH_LIMIT {
        return Err(Errno::ENAMETOOLONG);
    }
    Ok(unix_bytes(path.as_os_str().as_bytes()))
}

/// The address of a path; one of 108 bytes has no NUL, as the kernel takes it.
fn unix_bytes(path: &[u8]) -> Vec<u8> {
    const FULL: usize = 110;
    let mut bytes = vec![1, 0];
    if cfg!(target_endian = "big") {
        bytes.swap(0, 1);
    }
    bytes.extend(path);
    bytes.push(0);
    bytes.truncate(FULL);
    bytes
}

fn sought(name: &UnixName<'_>) -> Sought {
    Sought::Path(match name {
        UnixName::Unnamed => PathBuf::new(),
        UnixName::Path(path) => PathBuf::from(OsStr::from_bytes(path)),
        UnixName::Abstract(name) => PathBuf::from(format!("@{}", String::from_utf8_lossy(name))),
    })
}

fn no_rule_names() -> Denial {
    Denial {
        allow_with: Some("--allow-net".to_owned()),
        ..denial("no rule can name an abstract socket", None)
    }
}

fn denial(reason: &str, nearest: Option<&Origin>) -> Denial {
    Denial {
        reason: reason.to_owned(),
        nearest: nearest.cloned(),
        names: Vec::new(),
        allow_with: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart_as_the_kernel_does() {
        let parts = |path: &'static str| {
            split(path.as_bytes()).map(|split| {
                let parent = std::str::from_utf8(split.parent).unwrap();
                (parent, split.name.into_string().unwrap(), split.slash)
            })
        };
        let is = |parent, name: &str, slash| Ok((parent, name.to_owned(), slash));
        assert_eq!(parts("a"), is(".", "a", false));
        assert_eq!(parts("/a"), is("/", "a", false));
        assert_eq!(parts("b/../a"), is("b/../", "a", false));
        assert_eq!(parts("/b//a"), is("/b//", "a", false));
        assert_eq!(parts("b/a//"), is("b/", "a", true));
        for path in ["/", "//", ".", "..", "a/.", "a/..", "a/../"] {
            assert_eq!(parts(path), Err(Errno::EADDRINUSE), "{path}");
        }
    }

    #[test]
    fn an_address_has_a_nul_where_there_is_room() {
        assert_eq!(unix_bytes(b"ab").len(), 5);
        assert_eq!(unix_bytes(&[b'a'; 107]).len(), 110);
        assert_eq!(unix_bytes(&[b'a'; 108]).len(), 110);
        assert_eq!(unix_bytes(&[b'a'; 108]).last(), Some(&b'a'));
        assert!(unix_address(std::path::Path::new(&"a".repeat(107))).is_ok());
        assert!(unix_address(std::path::Path::new(&"a".repeat(108))).is_err());
    }
}
