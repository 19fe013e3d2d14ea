// SPDX-License-Identifier: MIT
//! What policy files set beside permissions: the same values that flags take, read by the same code.
//!
//! Invariant: a flag wins over a file, except that of limits the smallest counts.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::cli::argument_error::ArgumentError;
use crate::cli::invocation::Settings;
use crate::cli::network_flags;
use crate::plan::{NetRule, UpstreamProxy, Verify};
use crate::policy::Origin;
use crate::policy::ceiling::Chosen;
use crate::policy::file::{Checked, Place, PolicyFile, Problem, Setting, Source};
use crate::policy::limits::{Limits, Timeout};

/// What one file sets.
#[derive(Debug, Default)]
pub(in crate::cli) struct FileSettings {
    pub timeout: Option<Timeout>,
    pub limits: Limits,
    pub name_servers: Vec<Chosen<SocketAddr>>,
    pub proxy: Option<Chosen<UpstreamProxy>>,
    audit: Option<PathBuf>,
    runner: Option<PathBuf>,
}

/// Reads the settings of a file; what is wrong with them is added to its problems.
pub(super) fn read(file: &PolicyFile, problems: &mut Vec<Problem>) -> FileSettings {
    let mut settings = FileSettings {
        audit: file.audit.as_ref().map(|setting| (&setting.value).into()),
        runner: file.runner.as_ref().map(|setting| (&setting.value).into()),
        limits: file.limits.clone(),
        timeout: file.timeout.clone(),
        ..FileSettings::default()
    };
    for setting in &file.dns {
        match network_flags::name_server("dns", &setting.value) {
            Ok(value) => settings.name_servers.push(Chosen {
                value,
                origin: setting.origin.clone(),
            }),
            Err(error) => problems.push(refused(setting, &error)),
        }
    }
    if let Some(setting) = &file.proxy {
        match network_flags::upstream_proxy("proxy", &setting.value) {
            Ok(value) => {
                settings.proxy = Some(Chosen {
                    value,
                    origin: setting.origin.clone(),
                });
            }
            // It may hold a password.
            Err(error) => problems.push(Problem {
                secret: true,
                ..refused(setting, &error)
            }),
        }
    }
    settings
}

/// A ceiling bounds what is granted and limited, and who may say where names lead; nothing else of it
/// would have a meaning.
pub(super) fn refuse_in_ceiling(file: &PolicyFile, source: &Source, problems: &mut Vec<Problem>) {
    for wanted in &file.granted.registries {
        let place = match &wanted.origin {
            Origin::File { line, column, .. } => {
                source.place_of(u64::from(*line), u64::from(*column))
            }
            _ => Place::default(),
        };
        problems.push(Problem {
            place,
            message: format!(
                "`{}` means nothing in a ceiling: whoever runs the tool configures it",
                wanted.registry
            ),
            hint: Some("name the hosts".to_owned()),
            secret: false,
        });
    }

    let single = [("audit", &file.audit), ("runner", &file.runner)];
    let single = single
        .into_iter()
        .filter_map(|(name, setting)| Some((name, setting.as_ref()?)));
    for (name, setting) in single {
        let message = format!("`{name}` means nothing in a ceiling");
        problems.push(Problem {
            secret: true,
            ..wrong(setting, &message, "remove it")
        });
    }
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
    settings.timeout = Timeout::and(settings.timeout.take(), timeout);
    settings.limits = std::mem::take(&mut settings.limits).and(limits);
    let upstream = &mut settings.network.upstream;
    if upstream.name_servers.is_empty() {
        let (servers, origins) = name_servers
            .into_iter()
            .map(|server| (server.value, server.origin))
            .unzip();
        upstream.name_servers = servers;
        settings.upstream.name_servers = origins;
    }
    if upstream.proxy.is_none()
        && let Some(proxy) = proxy
    {
        upstream.proxy = Some(proxy.value);
        settings.upstream.proxy = Some(proxy.origin);
    }
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
