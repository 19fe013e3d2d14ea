// SPDX-License-Identifier: MIT
//! What a service manager hands over: another user, descriptors, a place to say that it is ready,
//! a journal.
//!
//! Invariant: the user is changed before anything is opened, so everything but what the caller had
//! open is judged and opened as that user; and a descriptor is kept only when it was open then.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use super::argument_error::ArgumentError;
use super::handled_flags::invalid;
use crate::host::Host;
use crate::plan::{KeptDescriptor, Network, Plan, Variable, VariableSource};
use crate::policy::Origin;
use crate::supervisor::Ready;
use crate::sys::{files, privileges};

/// What flags say about the service a run is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    /// `--uid`: a number, or a name of `/etc/passwd`.
    pub user: Option<String>,
    /// `--gid`: a number, or a name of `/etc/group`.
    pub group: Option<String>,
    /// `--keep-fd`.
    pub kept: Vec<KeptDescriptor>,
}

/// Why a run cannot be the service it is to be.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServiceError {
    /// No such user or group.
    #[error("`{flag}={name}` is not in `{file}`")]
    Unknown {
        flag: &'static str,
        name: String,
        file: &'static str,
    },
    /// A number without a primary group.
    #[error("`--uid={user}` has no group: it is not in `/etc/passwd`")]
    NoGroup { user: u32 },
    /// The kernel refuses.
    #[error("cannot become user {user} and group {group}")]
    Become {
        user: u32,
        group: u32,
        source: nix::errno::Errno,
    },
    /// Not open.
    #[error("`{origin}` is not open")]
    NotOpen { origin: Origin },
}

impl ServiceError {
    pub(super) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unknown { .. } => "give a number".to_owned(),
            Self::NoGroup { .. } => "give `--gid`, too".to_owned(),
            Self::Become { .. } => "only root can become somebody else".to_owned(),
            Self::NotOpen { .. } => {
                "the service manager or shell that starts Stockade must open it".to_owned()
            }
        })
    }
}

/// Reads a `--keep-fd`.
pub(super) fn kept(flag: String, value: &str) -> Result<KeptDescriptor, ArgumentError> {
    match value.parse() {
        Ok(number) if (3..=MOST).contains(&number) => Ok(KeptDescriptor {
            number,
            origin: Origin::flag(flag.as_str(), Some(value)),
        }),
        _ => Err(invalid(
            flag,
            value,
            "a number from 3 to 65535; 0, 1 and 2 are always kept",
        )),
    }
}

/// Descriptors above this are not kept: nobody has so many.
const MOST: i32 = 65_535;

impl Service {
    /// Checks what was handed over and becomes the user. To be called first of all.
    ///
    /// # Errors
    /// [`ServiceError`]; nothing was opened.
    pub(super) fn begin(&self) -> Result<(), ServiceError> {
        if let Some(kept) = self.kept.iter().find(|kept| !files::is_open(kept.number)) {
            return Err(ServiceError::NotOpen {
                origin: kept.origin.clone(),
            });
        }
        if self.user.is_none() && self.group.is_none() {
            return Ok(());
        }
        let (user, primary) = match &self.user {
            Some(name) => find_user(name)?,
            None => (crate::sys::facts::effective_user(), None),
        };
        let group = match &self.group {
            Some(name) => find_group(name)?,
            None => primary.ok_or(ServiceError::NoGroup { user })?,
        };
        privileges::become_user(user, group).map_err(|source| ServiceError::Become {
            user,
            group,
            source,
        })
    }

    /// The variables of socket activation (sd_listen_fds(3)), when they are meant for Stockade and
    /// their descriptors are kept; the number of the process becomes the target's.
    pub(super) fn variables(&self, host: &dyn Host) -> Vec<Variable> {
        let text = |name: &str| host.variable(name).and_then(|value| value.to_str());
        let own = host.process().to_string();
        if text("LISTEN_PID") != Some(own.as_str()) {
            return Vec::new();
        }
        let passed: i32 = text("LISTEN_FDS")
            .and_then(|count| count.parse().ok())
            .unwrap_or(0);
        let has = |number: i32| self.kept.iter().find(|kept| kept.number == number);
        let count = (0..passed)
            .take_while(|index| has(3 + index).is_some())
            .count();
        let Some(first) = has(3).filter(|_| count > 0) else {
            return Vec::new();
        };
        let mut sources = vec![
            ("LISTEN_FDS", VariableSource::Set(count.to_string())),
            ("LISTEN_PID", VariableSource::TargetProcess),
        ];
        if let Some(names) = text("LISTEN_FDNAMES") {
            let names: Vec<&str> = names.split(':').take(count).collect();
            sources.push(("LISTEN_FDNAMES", VariableSource::Set(names.join(":"))));
        }
        let variables = sources.into_iter().map(|(name, source)| Variable {
            name: name.to_owned(),
            source,
            origin: first.origin.clone(),
        });
        variables.collect()
    }
}

/// Number and primary group of a user.
fn find_user(name: &str) -> Result<(u32, Option<u32>), ServiceError> {
    let users = text_of("/etc/passwd");
    match (parse_user(&users, name), name.parse()) {
        (Some((user, group)), _) => Ok((user, Some(group))),
        (None, Ok(user)) => Ok((user, None)),
        (None, Err(_)) => Err(ServiceError::Unknown {
            flag: "--uid",
            name: name.to_owned(),
            file: "/etc/passwd",
        }),
    }
}

fn find_group(name: &str) -> Result<u32, ServiceError> {
    if let Ok(group) = name.parse() {
        return Ok(group);
    }
    let groups = text_of("/etc/group");
    parse_group(&groups, name).ok_or_else(|| ServiceError::Unknown {
        flag: "--gid",
        name: name.to_owned(),
        file: "/etc/group",
    })
}

/// The most of `/etc/passwd` and `/etc/group` that is read.
const LENGTH_LIMIT: usize = 1 << 20;

fn text_of(path: &str) -> String {
    let bytes = files::read_start(Path::new(path), LENGTH_LIMIT).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A line of passwd(5), by name or number.
fn parse_user(users: &str, wanted: &str) -> Option<(u32, u32)> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, user, group) = (
            fields.next()?,
            fields.next()?,
            fields.next()?,
            fields.next()?,
        );
        let user: u32 = user.parse().ok()?;
        let meant = name == wanted || wanted.parse() == Ok(user);
        meant.then_some((user, group.parse().ok()?))
    })
}

/// A line of group(5), by name.
fn parse_group(groups: &str, wanted: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == wanted).then_some(())?;
        fields.nth(1)?.parse().ok()
    })
}

/// The service manager's place for READY=1 (sd_notify(3)), when there is one: for the supervisor, or
/// told at once when listeners were handed over. A warning when nobody will tell.
pub(super) fn readiness(plan: &Plan, host: &dyn Host) -> (Option<Ready>, Option<String>) {
    let Some(place) = host
        .variable("NOTIFY_SOCKET")
        .and_then(|value| value.to_str())
    else {
        return (None, None);
    };
    let ready = match connect(place) {
        Ok(socket) => Ready::new(socket),
        Err(error) => {
            return (
                None,
                Some(format!("cannot reach `NOTIFY_SOCKET={place}`: {error}")),
            );
        }
    };
    if !plan.kept.is_empty() {
        ready.tell();
        return (None, None);
    }
    if matches!(plan.network, Network::Rules(_)) {
        return (Some(ready), None);
    }
    let nobody = "`NOTIFY_SOCKET` is set, and nobody will tell READY=1: only with rules for single \
                  hosts Stockade sees when the program listens";
    (None, Some(nobody.to_owned()))
}

fn connect(place: &str) -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match place.strip_prefix('@') {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(place)?,
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;

    #[test]
    fn users_and_groups_are_found_by_name_and_number() {
        let users = "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:44:::\n";
        assert_eq!(parse_user(users, "web"), Some((33, 44)));
        assert_eq!(parse_user(users, "33"), Some((33, 44)));
        assert_eq!(parse_user(users, "34"), None);
        let groups = "root:x:0:\nweb:x:44:a,b\n";
        assert_eq!(parse_group(groups, "web"), Some(44));
        assert_eq!(parse_group(groups, "x"), None);
    }

    #[test]
    fn descriptors_below_three_are_kept_anyway() {
        for value in ["2", "-1", "x", "", "70000"] {
            assert!(kept("--keep-fd".to_owned(), value).is_err(), "{value}");
        }
        assert_eq!(kept("--keep-fd".to_owned(), "3").unwrap().number, 3);
    }

    #[test]
    fn activation_is_passed_on_as_far_as_descriptors_are_kept() {
        let service = |numbers: &[&str]| Service {
            kept: numbers
                .iter()
                .map(|number| kept("--keep-fd".to_owned(), number).unwrap())
                .collect(),
            ..Service::default()
        };
        let host = |process: &str| {
            FakeHost::new().with_environment(&[
                ("LISTEN_PID", process),
                ("LISTEN_FDS", "2"),
                ("LISTEN_FDNAMES", "web:admin"),
            ])
        };
        let names = |service: &Service, process: &str| -> Vec<String> {
            let variables = service.variables(&host(process));
            let shown = variables.iter().map(|one| match &one.source {
                VariableSource::Set(value) => format!("{}={value}", one.name),
                _ => one.name.clone(),
            });
            shown.collect()
        };
        // The fake machine's Stockade is process 7.
        assert_eq!(
            names(&service(&["3", "4", "9"]), "7"),
            ["LISTEN_FDS=2", "LISTEN_PID", "LISTEN_FDNAMES=web:admin"]
        );
        assert_eq!(
            names(&service(&["3"]), "7"),
            ["LISTEN_FDS=1", "LISTEN_PID", "LISTEN_FDNAMES=web"]
        );
        assert!(names(&service(&["4"]), "7").is_empty());
        assert!(names(&service(&["3", "4"]), "8").is_empty());
    }
}
