// SPDX-License-Identifier: MIT
//! The flags Stockade handles itself: from their values to settings.
//!
//! Invariant: a value is checked here in full, so that nothing later can fail because of its form.

use std::path::PathBuf;

use super::argument_error::ArgumentError;
use super::arguments::{Reading, written};
use super::deno_flags::Handler;
use super::help;
use super::invocation::{Invocation, NamedFile};
use super::limit_flags;
use super::network_flags;
use super::report;
use super::service;
use crate::policy::limits::{self, Timeout};
use crate::policy::{Origin, grammar};
use crate::runner::prepare::{Check, NodeModules};

impl Reading {
    pub(super) fn handle(
        &mut self,
        handler: Handler,
        name: &str,
        flag: String,
        value: Option<String>,
    ) -> Result<(), ArgumentError> {
        match (handler, value) {
            (Handler::Help, _) => {
                let text = help::of_command(self.command()).unwrap_or_else(help::overview);
                self.text = Some(Invocation::Help(text));
            }
            (Handler::Version, _) => self.text = Some(Invocation::Version(help::version())),
            (Handler::EnvFile, value) => {
                let path = value.unwrap_or_else(|| ".env".to_owned());
                if path.is_empty() {
                    return Err(ArgumentError::MissingValue { flag });
                }
                self.settings.env_files.push(PathBuf::from(path));
            }
            (Handler::NoConfig, _) => {
                self.settings.no_config = true;
                self.pass_to_both(name, None);
            }
            (Handler::BestEffort, _) => self.settings.best_effort = true,
            (Handler::QuietDenials, _) => self.settings.quiet_denials = true,
            (Handler::Json, _) => self.json = true,
            (Handler::Task, _) => {}
            (Handler::PermissionSet, name) => {
                if self.settings.sources.permission_set.is_some() {
                    return Err(ArgumentError::Twice { flag });
                }
                if name.as_deref() == Some("") {
                    return Err(ArgumentError::MissingValue { flag });
                }
                self.settings.sources.permission_set = Some(name);
            }
            (Handler::Check, value) => {
                self.settings.check = Some(match value {
                    Some(_) => Check::All,
                    None => Check::Local,
                });
            }
            (Handler::NoCheck, None) => self.settings.check = Some(Check::Nothing),
            // `=remote`: what is done anyway.
            (Handler::NoCheck, Some(_)) => self.settings.check = Some(Check::Local),
            (Handler::CheckAll, _) => self.settings.check = Some(Check::All),
            (Handler::Watch, value) => {
                self.settings.watch.on = true;
                self.settings.watch.paths.extend(paths(value.as_deref()));
            }
            (Handler::WatchExclude, value) => {
                let excluded = paths(value.as_deref());
                self.settings.watch.excluded.extend(excluded);
            }
            (Handler::NoClearScreen, _) => self.settings.watch.keep_screen = true,
            (Handler::PermitNoFiles, _) => self.settings.tests.permit_none = true,
            (Handler::Ignore, value) => {
                self.settings.tests.ignored.extend(paths(value.as_deref()));
            }
            (Handler::CachedOnly, _) => self.settings.offline = true,
            (Handler::NodeModules, value) => {
                self.settings.node_modules = Some(match value.as_deref() {
                    Some("none" | "false") => NodeModules::None,
                    Some("manual") => NodeModules::Manual,
                    _ => NodeModules::Auto,
                });
            }
            (Handler::Lock, value) => {
                let path = value.unwrap_or_else(|| "deno.lock".to_owned());
                self.settings.lock.path = Some(PathBuf::from(path));
            }
            (Handler::NoLock, _) => self.settings.lock.none = true,
            (Handler::Frozen, value) => {
                self.settings.lock.frozen = Some(value.as_deref() != Some("false"));
            }
            // Every handler below has the form `Required`; an empty value is none.
            (_, None) => return Err(ArgumentError::MissingValue { flag }),
            (handler, Some(value)) => self.handle_value(handler, name, flag, value)?,
        }
        Ok(())
    }

    fn handle_value(
        &mut self,
        handler: Handler,
        name: &str,
        flag: String,
        value: String,
    ) -> Result<(), ArgumentError> {
        match handler {
            Handler::File | Handler::FileOrUrl => {
                if self
                    .settings
                    .named_files
                    .iter()
                    .any(|named| named.flag == flag)
                {
                    return Err(ArgumentError::Twice { flag });
                }
                self.pass_to_both(name, Some(&value));
                // `file:` is a path in disguise, but one the runner resolves; it is left to it.
                if handler == Handler::File || !value.contains("://") {
                    self.settings.named_files.push(NamedFile {
                        flag,
                        path: PathBuf::from(value),
                    });
                }
            }
            Handler::Port => {
                self.runner_flags.push(written(name, Some(&value)));
                let port = value
                    .parse()
                    .map_err(|_| invalid(flag, &value, "0 to 65535"))?;
                self.port = Some(port);
            }
            Handler::Host => {
                self.runner_flags.push(written(name, Some(&value)));
                self.host = Some(value);
            }
            Handler::Timeout => {
                let after = limits::parse_duration(&value).ok_or_else(|| {
                    invalid(
                        flag.clone(),
                        &value,
                        "`30s`, `2m`, `1h`, `500ms`, or seconds as a number; above zero",
                    )
                })?;
                let origin = Origin::flag(flag.as_str(), Some(&value));
                self.settings.timeout = Some(Timeout { after, origin });
            }
            Handler::Limit(kind) => {
                self.settings
                    .limits
                    .add(limit_flags::read(kind, flag, &value)?);
            }
            Handler::User => self.settings.service.user = Some(value),
            Handler::Group => self.settings.service.group = Some(value),
            Handler::KeepDescriptor => {
                let kept = service::kept(flag, &value)?;
                let others = &mut self.settings.service.kept;
                if others.iter().all(|other| other.number != kept.number) {
                    others.push(kept);
                }
            }
            Handler::Runner => self.settings.runner = Some(PathBuf::from(value)),
            Handler::AllowPrivate => {
                for entry in grammar::split_list(&value) {
                    let entry = network_flags::private(&flag, entry)?;
                    self.settings.network.private.push(entry);
                }
            }
            Handler::Verify => {
                for entry in grammar::split_list(&value) {
                    let rule = network_flags::verified(&flag, &entry)?;
                    self.settings.network.verify.push(rule);
                }
            }
            Handler::Dns => {
                for entry in grammar::split_list(&value) {
                    let server = network_flags::name_server(&flag, &entry)?;
                    let origin = Origin::flag(flag.as_str(), Some(&entry));
                    self.settings.network.upstream.name_servers.push(server);
                    self.settings.upstream.name_servers.push(origin);
                }
            }
            Handler::UpstreamProxy => {
                let proxy = network_flags::upstream_proxy(&flag, &value)?;
                // Without what logs in to it.
                let origin = Origin::flag(flag.as_str(), Some(&proxy.to_string()));
                self.settings.network.upstream.proxy = Some(proxy);
                self.settings.upstream.proxy = Some(origin);
            }
            Handler::Audit => {
                self.settings.audit = Some(PathBuf::from(value));
                self.settings.network.observed = true;
            }
            Handler::Report => {
                let path = PathBuf::from(&value);
                if !report::is_named_well(&path) {
                    return Err(invalid(
                        flag,
                        &value,
                        "a file that ends in `.json` or `.md`",
                    ));
                }
                self.settings.reports.push(path);
                self.settings.network.observed = true;
            }
            Handler::Why => {
                let why = value.parse().map_err(|_| {
                    invalid(
                        flag,
                        &value,
                        "`read:PATH`, `write:PATH`, `net:HOST[:PORT]`, `env:NAME`, `run:PROGRAM`",
                    )
                })?;
                self.why = Some(why);
            }
            Handler::Preload => {
                self.runner_flags.push(written(name, Some(&value)));
                self.settings.further.push(PathBuf::from(value));
            }
            Handler::Include => self.settings.further.push(PathBuf::from(value)),
            Handler::EnvMissing => self.settings.env_missing_undefined = true,
            Handler::Policy => self.settings.sources.policies.push(value),
            Handler::Ceiling => self.settings.sources.ceilings.push(PathBuf::from(value)),
            Handler::EnvFile
            | Handler::PermissionSet
            | Handler::Check
            | Handler::NoCheck
            | Handler::CachedOnly
            | Handler::NodeModules
            | Handler::Lock
            | Handler::NoLock
            | Handler::Frozen
            | Handler::CheckAll
            | Handler::Watch
            | Handler::WatchExclude
            | Handler::NoClearScreen
            | Handler::PermitNoFiles
            | Handler::Ignore
            | Handler::NoConfig
            | Handler::Help
            | Handler::Version
            | Handler::BestEffort
            | Handler::QuietDenials
            | Handler::Task
            | Handler::Json => {}
        }
        Ok(())
    }
}

/// A list of paths as typed.
fn paths(value: Option<&str>) -> Vec<PathBuf> {
    let listed = value.unwrap_or_default().split(',');
    listed
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .collect()
}

pub(super) fn invalid(flag: String, value: &str, accepted: &str) -> ArgumentError {
    ArgumentError::InvalidValue {
        flag,
        value: value.to_owned(),
        accepted: accepted.to_owned(),
    }
}
