// SPDX-License-Identifier: MIT
//! `stockade policy`: policies as reviewed files.
//!
//! Invariant: nothing is run or written; `check` reads what a run would read.

use std::ffi::OsString;

use super::argument_error::ArgumentError;
use super::arguments;
use super::failure::Failure;
use super::help;
use super::invocation::{Invocation, RunArguments};
use super::render;
use super::run::Status;
use super::sources;
use crate::host::RealHost;
use crate::plan::Verify;
use crate::policy::export::{self, Merged};
use crate::policy::file::{Checked, schema};
use crate::policy::spelling::nearest;

/// Which of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyCommand {
    /// Read files and say everything that is wrong with them.
    Check {
        /// Files and presets.
        files: Vec<String>,
    },
    /// Print what the flags and files of a run add up to.
    Show {
        /// The run.
        run: Box<RunArguments>,
        /// How.
        format: Format,
    },
}

/// How a policy is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Every entry with its origin.
    Text,
    /// A policy file.
    Yaml,
    /// A deno.json.
    DenoJson,
    /// The policy as JSON.
    Json,
}

const FORMATS: [(&str, Format); 4] = [
    ("text", Format::Text),
    ("yaml", Format::Yaml),
    ("deno-json", Format::DenoJson),
    ("json", Format::Json),
];

/// The names of the commands.
const NAMES: [&str; 3] = ["check", "show", "schema"];

/// Reads what stands behind `policy`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(words: Vec<String>) -> Result<Invocation, ArgumentError> {
    let mut words = words.into_iter();
    let Some(name) = words.next() else {
        return Err(ArgumentError::MissingScript {
            command: "policy",
            what: "`check`, `show` or `schema`",
        });
    };
    let rest: Vec<String> = words.collect();
    let asks = |word: &String| word == "-h" || word == "--help";
    if asks(&name) || (name != "show" && rest.iter().any(asks)) {
        let text = help::of_command("policy").unwrap_or_else(help::overview);
        return Ok(Invocation::Help(text));
    }
    match name.as_str() {
        "check" => {
            if let Some(flag) = rest.iter().find(|word| word.starts_with('-')) {
                return Err(ArgumentError::UnknownFlag {
                    flag: flag.clone(),
                    suggestion: None,
                });
            }
            if rest.is_empty() {
                return Err(ArgumentError::MissingScript {
                    command: "policy check",
                    what: "a file",
                });
            }
            Ok(Invocation::Policy(PolicyCommand::Check { files: rest }))
        }
        "show" => show(rest),
        "schema" => match rest.into_iter().next() {
            None => Ok(Invocation::Help(schema::SCHEMA.to_owned())),
            Some(argument) => Err(ArgumentError::Unexpected { argument }),
        },
        _ => Err(ArgumentError::UnknownCommand {
            suggestion: nearest(&name, NAMES.into_iter()),
            command: format!("policy {name}"),
        }),
    }
}

fn show(rest: Vec<String>) -> Result<Invocation, ArgumentError> {
    let mut format = Format::Text;
    let mut words = vec![OsString::from("explain")];
    for word in rest {
        let Some(value) = word.strip_prefix("--format=") else {
            words.push(word.into());
            continue;
        };
        let found = FORMATS.iter().find(|(name, _)| *name == value);
        let Some((_, wanted)) = found else {
            return Err(ArgumentError::InvalidValue {
                flag: "--format".to_owned(),
                value: value.to_owned(),
                accepted: FORMATS.map(|(name, _)| name).join(", "),
            });
        };
        format = *wanted;
    }
    Ok(match arguments::parse(words)? {
        Invocation::Explain(explained) => Invocation::Policy(PolicyCommand::Show {
            run: Box::new(explained.run),
            format,
        }),
        other => other,
    })
}

/// Does it; the code of `check` is 1 when something is wrong.
///
/// # Errors
/// [`Failure`]: the sources of `show` cannot be read, or written in the format.
pub(super) fn perform(
    command: PolicyCommand,
    print: &dyn Fn(&str) -> Result<Status, Failure>,
) -> Result<Status, Failure> {
    let host = RealHost::new()?;
    match command {
        PolicyCommand::Check { files } => {
            let mut wrong = false;
            for name in files {
                match sources::check(&name, &host) {
                    Ok(()) => drop(print(&format!("{name}: ok\n"))?),
                    Err(error) => {
                        wrong = true;
                        let failure = Failure::from(error);
                        render::error(&failure, failure.is_quoted(), failure.hint().as_deref());
                    }
                }
            }
            Ok(Status::Code(u8::from(wrong)))
        }
        PolicyCommand::Show { run, format } => {
            let run = sources::compose_run(*run, &host)?;
            for notice in &run.notices {
                render::warning(notice);
            }
            print(&shown(&run, format)?)
        }
    }
}

fn shown(run: &RunArguments, format: Format) -> Result<String, Failure> {
    let network = &run.settings.network;
    let verify: Vec<Checked> = network
        .verify
        .iter()
        .map(|rule| Checked {
            peer: rule.descriptor(),
            server_name: rule.verify == Verify::ServerName,
            origin: rule.origin.clone(),
        })
        .collect();
    let upstream = &network.upstream;
    let merged = Merged {
        policy: &run.policy,
        private: &network.private,
        verify: &verify,
        registries: &run.settings.registries,
        limits: &run.settings.limits,
        timeout: run.settings.timeout.as_ref(),
        settings: export::Settings {
            dns: upstream
                .name_servers
                .iter()
                .map(ToString::to_string)
                .collect(),
            proxy: upstream.proxy.as_ref().map(ToString::to_string),
            secret: upstream
                .proxy
                .as_ref()
                .is_some_and(|proxy| proxy.credentials.is_some()),
            audit: run.settings.audit.as_deref(),
            runner: run.settings.runner.as_deref(),
        },
    };
    let text = match format {
        Format::Text => export::text(&merged),
        Format::Yaml => export::yaml(&merged)?,
        Format::DenoJson => export::deno_json(&merged)?,
        Format::Json => serde_json::to_string_pretty(&run.policy).map_err(Failure::Json)? + "\n",
    };
    let left_out = match format {
        Format::Text | Format::Yaml => Vec::new(),
        Format::DenoJson | Format::Json => merged.beside_permissions(),
    };
    if !left_out.is_empty() {
        render::warning(&format!(
            "this format has permissions only, so these are left out: {}",
            left_out.join(", ")
        ));
    }
    if merged.settings.secret && left_out.is_empty() {
        render::warning("what logs in to the proxy is a secret and is left out");
    }
    Ok(text)
}
