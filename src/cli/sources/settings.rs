// SPDX-License-Identifier: MIT
//! What policy files set beside permissions: the same values that flags take, read by the same code.
//!
//! Invariant: a flag wins over a file, except that of limits the smallest counts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::argument_error::ArgumentError;
use crate::cli::invocation::Settings;
use crate::cli::network_flags;
use crate::plan::{NetRule, UpstreamProxy, Verify};
use crate::policy::file::{Checked, PolicyFile, Problem, Setting};
use crate::policy::limits::Limits;

/// What one file sets.
#[derive(Debug, Default)]
pub(in crate::cli) struct FileSettings {
    timeout: Option<Duration>,
    limits: Limits,
    name_servers: Vec<SocketAddr>,
    proxy: Option<UpstreamProxy>,
    audit: Option<PathBuf>,
    runner: Option<PathBuf>,
}

/// Reads the settings of a file; what is wrong with them is added to its problems.
pub(super) fn read(file: &PolicyFile, problems: &mut Vec<Problem>) -> FileSettings {
    let mut settings = FileSettings {
        audit: file.audit.as_ref().map(|setting| (&setting.value).into()),
        runner: file.runner.as_ref().map(|setting| (&setting.value).into()),
        limits: file.limits.clone(),
        timeout: file.timeout,
        ..FileSettings::default()
    };
    for setting in &file.protect {
        problems.push(wrong(setting, "`protect` is not held yet", "remove it"));
    }
    for setting in &file.dns {
        match network_flags::name_server("dns", &setting.value) {
            Ok(server) => settings.name_servers.push(server),
            Err(error) => problems.push(refused(setting, &error)),
        }
    }
    if let Some(setting) = &file.proxy {
        match network_flags::upstream_proxy("proxy", &setting.value) {
            Ok(proxy) => settings.proxy = Some(proxy),
            // It may hold a password.
            Err(error) => problems.push(Problem {
                secret: true,
                ..refused(setting, &error)
            }),
        }
    }
    settings
}

fn wrong(setting: &Setting<String>, message: &str, hint: &str) -> Problem {
    Problem {
        place: setting.place,
        message: message.to_owned(),
        hint: Some(hint.to_owned()),
        secret: false,
    }
}

fn refused(setting: &Setting<String>, error: &ArgumentError) -> Problem {
    Problem {
        place: setting.place,
        message: error.to_string(),
        hint: error.hint(),
        secret: false,
    }
}

/// Adds what a file sets.
pub(super) fn merge(settings: &mut Settings, file: FileSettings) {
    let FileSettings {
        timeout,
        limits,
        name_servers,
        proxy,
        audit,
        runner,
    } = file;
    settings.timeout = match (settings.timeout, timeout) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    settings.limits = std::mem::take(&mut settings.limits).and(limits);
    let upstream = &mut settings.network.upstream;
    if upstream.name_servers.is_empty() {
        upstream.name_servers = name_servers;
    }
    upstream.proxy = upstream.proxy.take().or(proxy);
    settings.runner = settings.runner.take().or(runner);
    if settings.audit.is_none() && audit.is_some() {
        settings.audit = audit;
        settings.network.observed = true;
    }
}

/// A check of a file as the one of `--verify`.
pub(super) fn verified(checked: Checked) -> NetRule {
    NetRule {
        host: checked.peer.host,
        port: checked.peer.port,
        verify: if checked.server_name {
            Verify::ServerName
        } else {
            Verify::Nothing
        },
        origin: checked.origin,
    }
}
