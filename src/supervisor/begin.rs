// SPDX-License-Identifier: MIT
//! From a listener to a supervisor that answers: whether this host lets it, its own walls, names.
//!
//! Invariant: until every check has passed the target is not executed; until the walls stand no
//! notification is received.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use nix::errno::Errno;
use tokio::runtime::{Builder, LocalOptions};

use super::binder::Binder;
use super::named_sockets::NamedSockets;
use super::paths::grants::{Grants, GrantsError, TO_BIND, TO_CHANGE, TO_CONNECT};
use super::paths::reach::Reach;
use super::recent::Recent;
use super::{Ready, Running, Shared, broker, changes, walls};
use crate::audit::Sink;
use crate::egress::dns::{Filter, Hickory, Upstream};
use crate::egress::hosts::{Hosts, ResolverFile};
use crate::egress::names::NameBook;
use crate::egress::proxy::Proxy;
use crate::egress::relay::Scratch;
use crate::egress::rules::Rules;
use crate::egress::synthetic::Synthetic;
use crate::launch::SuperviseError;
use crate::plan::{Access, NetRules, Network, PathRule, Plan};
use crate::sys::interrupt::Interrupter;
use crate::sys::notify::Listener;
use crate::sys::{files, limits, target};

/// What a supervisor works by.
pub struct Settings {
    /// The Plan of the target.
    pub plan: Plan,
    /// Where denials go.
    pub sink: Rc<RefCell<dyn Sink>>,
    /// Who is told when the target listens.
    pub ready: Option<Ready>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Settings").finish_non_exhaustive()
    }
}

/// What the target's calls will be judged by, open before it runs: it could put something else
/// where a grant was.
pub(super) struct Prepared {
    settings: Settings,
    grants: Grants,
    reach: Rc<Reach>,
    named_sockets: NamedSockets,
    /// This process's `/proc/self/status`.
    status: String,
}

/// A supervisor that may receive notifications as soon as its walls stand.
pub(super) struct Begun {
    prepared: Prepared,
    listener: Listener,
}

impl Prepared {
    /// Opens everything.
    pub(super) fn new(settings: Settings) -> Result<Self, SuperviseError> {
        let reach = Rc::new(match settings.plan.syscalls.supervised.writes {
            true => Reach::open(&settings.plan).map_err(not_opened)?,
            false => Reach::default(),
        });
        let grants = grants(&settings.plan)?.around(Rc::clone(&reach));
        let named_sockets = match &settings.plan.network {
            Network::Rules(rules) => NamedSockets::new(rules),
            _ => NamedSockets::default(),
        };
        Ok(Self {
            settings,
            grants,
            reach,
            named_sockets,
            status: read_status("self")?,
        })
    }

    /// Checks, while the target waits, whether its calls can be answered on this host.
    pub(super) fn check(self, target: i32, listener: OwnedFd) -> Result<Begun, SuperviseError> {
        let listener =
            Listener::new(listener).map_err(|errno| refusal("the kernel's listener", errno))?;
        // The target is a copy of this process still, so what lies here lies there.
        let mut copy = [0; 8];
        let address = KNOWN.as_ptr().expose_provenance() as u64;
        let read = target::read_memory(target, address, &mut copy);
        let read = read.map_err(|errno| refusal("reading the target's memory", errno))?;
        if read != 8 || copy != KNOWN {
            return Err(refusal("reading the target's memory", Errno::EFAULT));
        }
        if !self.settings.plan.syscalls.supervised.injected {
            let handle = target::open_thread(target)
                .map_err(|errno| refusal("a handle of the target", errno))?;
            match target::take_descriptor(handle.as_fd(), 0) {
                // Standard input may be closed.
                Ok(_) | Err(Errno::EBADF) => {}
                Err(errno) => return Err(refusal("taking the target's descriptors", errno)),
            }
        }
        same_rights(&self.status, &read_status(&target.to_string())?)?;
        Ok(Begun {
            prepared: self,
            listener,
        })
    }
}

/// Opens the grants that the supervised calls are judged by.
fn grants(plan: &Plan) -> Result<Grants, SuperviseError> {
    let supervised = plan.syscalls.supervised;
    let mut wanted = Access::NONE;
    if supervised.attributes {
        wanted |= TO_CHANGE;
    }
    if supervised.network {
        wanted |= TO_BIND;
        let writes = |rule: &PathRule| (rule.access | rule.brokered).contains(Access::WRITE_FILE);
        // Reading alone opens no socket, and there may be many of those grants.
        if plan.filesystem.rules.iter().any(writes) {
            wanted |= TO_CONNECT;
        }
    }
    Grants::open(plan, wanted).map_err(not_opened)
}

fn not_opened(error: GrantsError) -> SuperviseError {
    SuperviseError {
        hint: error.hint().map(str::to_owned),
        source: error.errno().into(),
        what: error.to_string(),
    }
}

/// Something to read that lies in this process and in a copy of it.
static KNOWN: [u8; 8] = *b"stockade";

fn refusal(what: &str, errno: Errno) -> SuperviseError {
    let hint = match errno {
        Errno::EPERM | Errno::EACCES => Some(
            "an outer sandbox, a container's system call filter or Yama (kernel.yama.ptrace_scope \
             2 or 3) forbids it; rules that need no supervisor work: bare `--allow-net` or none, \
             and no `--allow-write`"
                .to_owned(),
        ),
        Errno::ENOSYS | Errno::EINVAL => Some(
            "this kernel is too old for supervised calls; rules that need no supervisor work: bare \
             `--allow-net` or none, and no `--allow-write`"
                .to_owned(),
        ),
        _ => None,
    };
    SuperviseError {
        what: format!("{what} is not possible here"),
        hint,
        source: errno.into(),
    }
}

/// The lines of `/proc/PID/status` that say what a process may do to files.
const RIGHTS: [&str; 4] = ["Uid:", "Gid:", "Groups:", "Umask:"];

/// What the supervisor performs it performs with its own rights: they must be the target's.
fn same_rights(own: &str, target: &str) -> Result<(), SuperviseError> {
    if rights(own) != rights(target) || !has_no_capability(own) {
        return Err(SuperviseError {
            what: "the target has other rights than its supervisor".to_owned(),
            hint: None,
            source: Errno::EPERM.into(),
        });
    }
    Ok(())
}

/// The target waits meanwhile: the file has no size to read it by, and growing step by step takes
/// longer than all else here.
fn read_status(pid: &str) -> Result<String, SuperviseError> {
    use std::io::Read;
    let mut status = String::with_capacity(4096);
    std::fs::File::open(format!("/proc/{pid}/status"))
        .and_then(|mut file| file.read_to_string(&mut status))
        .map_err(|source| SuperviseError {
            what: "reading the rights of the target in /proc is not possible here".to_owned(),
            hint: Some("mount /proc".to_owned()),
            source,
        })?;
    Ok(status)
}

fn rights(status: &str) -> Vec<&str> {
    status
        .lines()
        .filter(|line| RIGHTS.iter().any(|name| line.starts_with(name)))
        .collect()
}

fn has_no_capability(status: &str) -> bool {
    status
        .lines()
        .filter_map(|line| {
            line.strip_prefix("CapEff:")
                .or_else(|| line.strip_prefix("CapPrm:"))
        })
        .all(|set| set.trim().bytes().all(|digit| digit == b'0'))
}

impl Begun {
    /// Raises the walls and starts the loop; the target runs already.
    pub(super) fn run(self) -> io::Result<Running> {
        let Self { prepared, listener } = self;
        let Prepared {
            settings,
            grants,
            reach,
            named_sockets,
            status: _,
        } = prepared;
        let plan = &settings.plan;
        let open_files = limits::raise_open_files();
        let table = walls::table(plan);
        let binder = Binder::start(plan, &table)?;
        walls::raise(&table)?;
        let interrupter = Arc::new(Interrupter::new()?);
        let (start, stop) = (Arc::clone(&interrupter), Arc::clone(&interrupter));
        let runtime = Builder::new_current_thread()
            .event_interval(EVENT_INTERVAL)
            .enable_all()
            .on_thread_unpark(move || start.start())
            .on_thread_park(move || stop.stop())
            .build_local(LocalOptions::default())?;
        let nothing = NetRules::default();
        let net = match &plan.network {
            Network::Rules(rules) => rules,
            _ => &nothing,
        };
        let text = |path: &str| files::read_start(Path::new(path), FILE_LIMIT).unwrap_or_default();
        let resolver = ResolverFile::parse(&text("/etc/resolv.conf"));
        let upstream = match plan.upstream.name_servers.as_slice() {
            [] => Hickory::of_file(&resolver),
            servers => Hickory::new(servers.to_vec(), resolver.timeout, resolver.attempts),
        };
        let name_servers = resolver
            .name_servers
            .iter()
            .map(|one| one.address)
            .collect();
        let search = resolver.search.clone();
        let rules = Rules::new(net).with_search(resolver.search);
        let rules = Rc::new(match plan.upstream.proxy {
            Some(_) => rules.with_synthetic(),
            None => rules,
        });
        let book = Rc::new(RefCell::new(NameBook::new()));
        let hosts = Hosts::parse(&text("/etc/hosts"));
        let (proxy, upstream): (_, Box<dyn Upstream>) = match &plan.upstream.proxy {
            Some(proxy) => {
                let synthetic = Rc::new(Synthetic::new(Rc::clone(&rules), Rc::clone(&book)));
                let names = Rc::clone(&synthetic);
                let resolver = Box::new(upstream);
                let proxy = Proxy::new(proxy, hosts.clone(), search, resolver, synthetic);
                (Some(Rc::new(proxy)), Box::new(names))
            }
            None => (None, Box::new(upstream)),
        };
        let filter = Filter::new(
            Rc::clone(&rules),
            Rc::clone(&book),
            hosts,
            upstream,
            Rc::clone(&settings.sink),
        );
        let shared = Rc::new(Shared {
            listener,
            handles: super::Handles::default(),
            made: plan
                .syscalls
                .supervised
                .injected
                .then(|| super::Made::new(open_files)),
            named_sockets,
            changes: changes::names(plan),
            writes: broker::names(plan),
            reach,
            landlock_abi: plan.filesystem.abi,
            rules,
            filter: Rc::new(filter),
            book,
            name_servers,
            proxy,
            holders: super::hold::Holders::default(),
            binder,
            grants,
            sink: settings.sink,
            ready: settings.ready,
            scratch: Scratch::default(),
            pending: Cell::new(0),
            kernel_chosen: RefCell::new(Recent::new(SOCKETS)),
            asked: RefCell::new(Recent::new(SOCKETS)),
            speakers: RefCell::new(HashMap::new()),
        });
        Ok(Running {
            runtime,
            shared,
            interrupter,
        })
    }
}

/// The largest `/etc/hosts` and `/etc/resolv.conf` that are read.
const FILE_LIMIT: usize = 1024 * 1024;

/// How many tasks run between two looks at what else is ready, notifications among it. A busy relay
/// carries up to half a megabyte at a time, and a call of the target must not wait for dozens of them.
const EVENT_INTERVAL: u32 = 8;

/// How many sockets are remembered.
const SOCKETS: usize = 65_536;
