// SPDX-License-Identifier: MIT
//! A run of the runner that may reach the hosts modules come from: the only one with a network
//! before the program starts, and no code of the program runs in it.
//!
//! A supervisor puts walls around the process it lives in for good, so such a run gets a process of
//! its own: Stockade starts itself with [`WORD`], and the request comes in on standard input.
//!
//! Invariant: the request is made by Stockade itself; what the runner prints is only shown.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::sources::Sources;
use super::{Captured, ConfinedRequest, printable};
use crate::plan::{NetSettings, Upstream, UpstreamProxy};
use crate::policy::grammar::{parse_import, parse_net};
use crate::policy::{Entry, NetDescriptor, Origin, PathDescriptor, Policy};

/// The first argument of a Stockade that does nothing but one such run.
pub const WORD: &str = "__fetch";

/// The executable to start: this one, wherever it was moved to meanwhile.
const OWN_EXECUTABLE: &str = "/proc/self/exe";

/// More is not kept of what the runner prints.
const TEXT_LIMIT: usize = 1 << 20;

/// What the process of its own is asked to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct FetchRequest {
    /// The run.
    pub run: ConfinedRequest,
    /// Every host may be reached.
    pub any: bool,
    /// Hosts, as net rules write them.
    pub hosts: Vec<String>,
    /// Those that may have private addresses.
    pub private: Vec<String>,
    /// Name servers instead of the host's.
    pub name_servers: Vec<SocketAddr>,
    /// Host, port and credentials of the proxy.
    pub proxy: Option<(String, u16, Option<Vec<u8>>)>,
    /// Where denials are written.
    pub denials: PathBuf,
    /// Missing kernel features are gaps.
    pub best_effort: bool,
    /// The process that asked: the run ends with it.
    pub parent: i32,
}

impl FetchRequest {
    /// A request for `run` to reach `sources`.
    pub fn new(run: &ConfinedRequest, sources: &Sources, upstream: &Upstream) -> Self {
        Self {
            run: run.clone(),
            any: sources.any,
            hosts: sources.hosts.clone(),
            // Networks answer for registries with addresses of their own mirrors. What is spoken
            // there is TLS for the name, or the user named an `http:` one.
            private: sources.hosts.clone(),
            name_servers: upstream.name_servers.clone(),
            proxy: upstream
                .proxy
                .as_ref()
                .map(|proxy| (proxy.host.clone(), proxy.port, proxy.credentials.clone())),
            denials: PathBuf::new(),
            best_effort: false,
            parent: 0,
        }
    }

    /// Hosts and directories as a policy; text that is no rule is left out, and so is not reached.
    pub fn policy(&self) -> Policy {
        let mut policy = Policy::default();
        policy.net.allow.all = self.any.then(origin);
        policy.net.allow.entries = entries(&self.hosts);
        // As grants: packages are unpacked with the modes they have.
        let write = self.run.write.iter().map(|path| Entry {
            descriptor: PathDescriptor {
                path: path.clone(),
                trailing_slash: false,
                within: None,
                judged: None,
                optional: false,
            },
            text: path.display().to_string(),
            origin: origin(),
        });
        policy.write.allow.entries = write.collect();
        policy
    }

    /// The network beside the policy.
    pub fn settings(&self) -> NetSettings {
        let proxy = self.proxy.as_ref();
        NetSettings {
            private: entries(&self.private),
            upstream: Upstream {
                name_servers: self.name_servers.clone(),
                proxy: proxy.map(|(host, port, credentials)| UpstreamProxy {
                    host: host.clone(),
                    port: *port,
                    credentials: credentials.clone(),
                }),
            },
            ..NetSettings::default()
        }
    }
}

fn origin() -> Origin {
    Origin::Runner {
        reason: "downloads modules and packages".into(),
    }
}

fn entries(texts: &[String]) -> Vec<Entry<NetDescriptor>> {
    texts
        .iter()
        .filter_map(|text| {
            let descriptor = parse_net(text).or_else(|_| parse_import(text)).ok()?;
            Some(Entry {
                descriptor,
                text: text.clone(),
                origin: origin(),
            })
        })
        .collect()
}

/// What a download left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// As every helper run.
    pub captured: Captured,
    /// Hosts that were asked for and denied, as `host:port`, in that order.
    pub denied: Vec<String>,
    /// Stockade itself failed, and says why on standard error: nothing was downloaded.
    pub refused: bool,
}

/// Starts the process and waits for its end; `announce` hears of every URL as it is asked for.
///
/// # Errors
/// The process cannot be started or spoken to.
pub fn run(
    mut request: FetchRequest,
    scratch: &Path,
    announce: &dyn Fn(&str),
) -> Result<Fetched, Box<dyn Error + Send + Sync>> {
    request.parent = i32::try_from(std::process::id())?;
    request.denials = super::cache::temporary_beside(&scratch.join("denials"));
    let mut child = Command::new(OWN_EXECUTABLE)
        .arg(WORD)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let sent = serde_json::to_vec(&request)
        .map_err(std::io::Error::from)
        .and_then(|bytes| match child.stdin.take() {
            Some(mut input) => input.write_all(&bytes),
            None => Ok(()),
        });
    let mut text = Vec::new();
    let mut read = Ok(());
    if let Some(output) = child.stderr.take() {
        read = collect(output, &mut text, announce);
    }
    let status = child.wait()?;
    let denied = denied_hosts(&request.denials);
    drop(std::fs::remove_file(&request.denials));
    sent?;
    read?;
    let exit = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(Fetched {
        refused: exit.is_none_or(|code| code == 125 || code == 137),
        captured: Captured {
            exit,
            stdout: Vec::new(),
            stderr: text,
        },
        denied,
    })
}

/// Takes the lines as they come; the runner says `Download URL` for each request.
fn collect(
    output: impl std::io::Read,
    text: &mut Vec<u8>,
    announce: &dyn Fn(&str),
) -> std::io::Result<()> {
    let mut lines = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let shown = String::from_utf8_lossy(&line);
        if let Some(url) = shown.trim_end().strip_prefix("Download ") {
            announce(&printable(&without_user(url)));
        } else if text.len().saturating_add(line.len()) <= TEXT_LIMIT {
            text.extend_from_slice(&line);
        }
    }
}

/// A URL as it may be shown: with no name and no password in it.
fn without_user(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}{}", &rest[end..]),
        None => url.to_owned(),
    }
}

/// The hosts of the events in the file, once each.
fn denied_hosts(path: &Path) -> Vec<String> {
    let Ok(file) = File::open(path) else {
        return Vec::new();
    };
    let mut hosts: Vec<String> = Vec::new();
    for line in BufReader::new(file).lines().map_while(Result::ok).take(64) {
        let Ok(event) = serde_json::from_str::<serde_json::Value>(&line) else {
            continue;
        };
        let name = event["names"][0]
            .as_str()
            .or_else(|| event["address"].as_str());
        let Some(name) = name else { continue };
        let host = match event["port"].as_u64() {
            Some(port) => format!("{name}:{port}"),
            None => name.to_owned(),
        };
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}
