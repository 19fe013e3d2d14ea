// SPDX-License-Identifier: MIT
//! What the user asked for: per permission an allow list, a deny list and an ignore list, every
//! entry with its [`Origin`].
//!
//! Invariant: nothing here touches the machine. Text goes in, values come out; the same text
//! always gives the same [`Policy`].
#![forbid(unsafe_code)]

pub mod ceiling;
pub mod compose;
pub mod env_file;
pub mod export;
pub mod file;
pub mod flags;
pub mod grammar;
pub mod limits;
pub mod loader_variables;
pub mod origin;
pub mod own_variables;
pub mod presets;
pub mod registry;
pub mod spelling;
pub mod void_grants;

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Serialize;

pub use origin::Origin;

/// Everything one source (the flags, a file) asks for, or the union of all sources.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Policy {
    /// `-A`: every permission is granted; denials still apply.
    pub all: Option<Origin>,
    /// Files that may be read.
    pub read: Permission<PathDescriptor>,
    /// Files that may be written.
    pub write: Permission<PathDescriptor>,
    /// Libraries that may be loaded by foreign function calls.
    pub ffi: Permission<PathDescriptor>,
    /// Peers that may be connected to and addresses that may be listened on.
    pub net: Permission<NetDescriptor>,
    /// Environment variables.
    pub env: Permission<EnvDescriptor>,
    /// Programs that may be started.
    pub run: Permission<RunDescriptor>,
    /// System information.
    pub sys: Permission<SysDescriptor>,
    /// Hosts remote modules may come from.
    pub import: Permission<NetDescriptor>,
    /// Paths that no wider write grant opens, beside those that always are protected.
    pub protect: Vec<Entry<PathDescriptor>>,
}

/// The rules of one permission kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Permission<D> {
    /// `--allow-X`.
    pub allow: Rules<D>,
    /// `--deny-X`; always wins over `allow`.
    pub deny: Rules<D>,
    /// `--ignore-X` (read and env only): denied, and reported as absent instead of forbidden.
    pub ignore: Rules<D>,
}

impl<D> Default for Permission<D> {
    fn default() -> Self {
        Self {
            allow: Rules::default(),
            deny: Rules::default(),
            ignore: Rules::default(),
        }
    }
}

/// One list: the bare flag, and the listed entries in the order they were given.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Rules<D> {
    /// The bare flag (`--allow-read` without a value): everything of this kind.
    pub all: Option<Origin>,
    /// Listed entries.
    pub entries: Vec<Entry<D>>,
}

impl<D> Default for Rules<D> {
    fn default() -> Self {
        Self {
            all: None,
            entries: Vec::new(),
        }
    }
}

impl<D> Rules<D> {
    /// Whether nothing at all was written for this list.
    pub fn is_empty(&self) -> bool {
        self.all.is_none() && self.entries.is_empty()
    }
}

/// One listed entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Entry<D> {
    /// The parsed value.
    pub descriptor: D,
    /// The value as typed (after comma splitting and unescaping).
    pub text: String,
    /// Where it was written.
    pub origin: Origin,
}

/// A path as typed: relative paths are relative to the directory of the run. Those of files are
/// absolute already.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct PathDescriptor {
    /// The path, not yet joined, resolved or looked at.
    pub path: PathBuf,
    /// Whether it was typed with a `/` at the end (a directory to be created).
    pub trailing_slash: bool,
    /// The directory a relative path of a file was written for: what it leads to must lie there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<PathBuf>,
    /// What it led to when a ceiling was judged: nothing else may be granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judged: Option<PathBuf>,
    /// A grant that is left out when nothing is there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// One network peer or listener pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct NetDescriptor {
    /// Which hosts.
    pub host: Host,
    /// Which port; none is every port.
    pub port: Option<u16>,
}

/// The host part of a [`NetDescriptor`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Host {
    /// An exact name, lower case, without trailing dot.
    Name(String),
    /// `*.example.com`: the apex and every name below it.
    Wildcard(String),
    /// One address; v4-mapped IPv6 is stored as IPv4.
    Address(IpAddr),
    /// A CIDR block of either family.
    Subnet(IpNet),
    /// `:8080`: this machine (`0.0.0.0`, `127.0.0.1`, `localhost`).
    ThisMachine,
    /// `unix:/absolute/path`.
    Unix(PathBuf),
    /// `vsock:CID:PORT`; the context identifier, `u32::MAX` for any. The port is `vsock_port`.
    Vsock {
        /// Context identifier.
        cid: u32,
        /// Port, 32 bits wide on this family.
        port: u32,
    },
}

/// One environment variable pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EnvDescriptor {
    /// An exact, case-sensitive name.
    Name(String),
    /// `AWS_*`: every name with this prefix; `*` alone is the empty prefix.
    Prefix(String),
}

/// One program that may be started.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunDescriptor {
    /// Looked up in PATH once, at start.
    Name(String),
    /// Relative to the directory of the run.
    Path(PathBuf),
}

/// One kind of system information, by Deno's name (`hostname`, `osRelease`, …).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct SysDescriptor(pub String);
