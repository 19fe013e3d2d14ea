// SPDX-License-Identifier: MIT
//! The test network: addresses of its own on loopback, a name server, and programs run inside and
//! outside of it.
//!
//! Invariant: no two tests share an address, and no test reaches anything outside this machine.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::egress::dns_server::NameServer;
use crate::support::{Launch, Outcome, Project, compile, python, scratch};
use crate::support_life::skip;

/// Looks names up and connects, as its arguments say.
const CLIENT: &str = include_str!("../../data/net/client.py");

/// A name server, and a directory for programs.
#[derive(Debug)]
pub(crate) struct World {
    /// The name server.
    pub dns: NameServer,
    /// The directory.
    pub project: Project,
}

impl World {
    /// An empty network.
    pub(crate) fn new() -> Self {
        Self {
            dns: NameServer::start(address()),
            project: Project::new(),
        }
    }

    /// Makes a name lead to addresses.
    pub(crate) fn name(&self, name: &str, ip: impl Into<IpAddr>) -> &Self {
        self.dns.set(name, &[ip.into()]);
        self
    }

    /// The binary under test on a script or with a child, asking this network's name server.
    pub(crate) fn stockade<S: AsRef<OsStr>>(&self, flags: &[&str], rest: &[S]) -> Launch {
        let dns = format!("--dns={}", self.dns.address());
        let mut all: Vec<&OsStr> = vec!["run".as_ref(), dns.as_ref()];
        all.extend(flags.iter().map(|flag| AsRef::<OsStr>::as_ref(*flag)));
        all.extend(rest.iter().map(AsRef::as_ref));
        self.project.stockade(&all)
    }

    /// A script's outcome inside.
    pub(crate) fn run(&self, flags: &[&str], script: &str) -> Outcome {
        self.project.write("main.ts", script);
        self.stockade(flags, &["main.ts"]).run()
    }

    /// A script's outcome in bare Deno: the control.
    pub(crate) fn bare(&self, script: &str) -> Outcome {
        self.project.write("main.ts", script);
        self.project.bare(&["run", "-A", "main.ts"]).run()
    }

    /// A child's outcome inside; the program is granted by its path.
    pub(crate) fn child(&self, flags: &[&str], command: &[&str]) -> Outcome {
        self.child_launch(flags, command).run()
    }

    /// The same, to be changed before it runs.
    pub(crate) fn child_launch(&self, flags: &[&str], command: &[&str]) -> Launch {
        let dns = format!("--dns={}", self.dns.address());
        let run = format!("--allow-run={}", command[0]);
        let mut all = vec![dns.as_str(), run.as_str()];
        all.extend(flags);
        self.project.start(&all, command)
    }

    /// What a python3 child does inside: one line for each item, see `client.py`.
    pub(crate) fn python(&self, flags: &[&str], items: &[&str]) -> Outcome {
        self.child(flags, &python_command(items))
    }

    /// The same outside any sandbox: the control.
    pub(crate) fn python_outside(&self, items: &[&str]) -> Outcome {
        self.outside(&python_command(items))
    }

    /// A program's outcome outside any sandbox: the control.
    pub(crate) fn outside(&self, command: &[&str]) -> Outcome {
        self.project
            .launch(Path::new(command[0]), &command[1..])
            .run()
    }
}

/// What runs `client.py` with these items.
pub(super) fn python_command<'a>(items: &[&'a str]) -> Vec<&'a str> {
    let mut command = vec![python().to_str().unwrap(), "-c", CLIENT];
    command.extend(items);
    command
}

/// A loopback address that nothing else uses.
pub(crate) fn address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // Runs of the tests side by side differ by their process identifiers.
    let run = std::process::id() % (100 * 254);
    let [high, low] = [run / 254, run % 254].map(|part| u8::try_from(part).unwrap());
    let last = u8::try_from(number % 254).unwrap();
    // One block has less room than the tests of a run need.
    let blocks = [100 + high, 200 + high % 54, 1 + high];
    let block = blocks[usize::try_from(number / 254).unwrap()];
    Ipv4Addr::new(127, block, 1 + low, 1 + last)
}

/// A free address and port.
pub(crate) fn free() -> SocketAddr {
    (address(), 0).into()
}

/// An address where `port` may be listened on; says so where only the superuser may.
pub(crate) fn low_port(port: u16) -> Option<SocketAddr> {
    let address = SocketAddr::from((address(), port));
    match TcpListener::bind(address) {
        Ok(_) => Some(address),
        Err(error) => {
            skip(&format!("cannot listen on {address}: {error}"));
            None
        }
    }
}

/// A C program of `tests/data/net`, compiled once per process.
pub(crate) fn compiled(name: &str, source: &str, flags: &[&str]) -> String {
    static LOCK: std::sync::Mutex<()> = std::sync::Mutex::new(());
    // A failed compilation of another test is that test's failure.
    let _guard = LOCK
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let output = scratch().join(format!("{name}-{}", std::process::id()));
    if !output.exists() {
        compile(source, &output, flags);
    }
    output.to_str().unwrap().to_owned()
}

/// A program of this machine by its real path.
pub(crate) fn tool(name: &str) -> String {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("{name} is needed by these tests"))
        .canonicalize()
        .unwrap()
        .into_os_string()
        .into_string()
        .unwrap()
}
