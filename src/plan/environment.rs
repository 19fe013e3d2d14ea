// SPDX-License-Identifier: MIT
//! The target's whole environment: a fixed minimum, what `--allow-env` names, and nothing else.
//!
//! Invariant: a variable that is denied or not granted is not in the target's environment block
//! at all, so neither native code nor children can read it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::build::{Request, sys_granted};
use super::error::PlanError;
use super::exec::search_path;
use super::{PathRule, Variable, VariableSource, command};
use crate::host::Host;
use crate::policy::Origin;
use crate::policy::compose::{Verdict, env_verdict};

/// Variables that pass without a grant: they say how to print, and nothing about the user.
const MINIMUM: [(&str, &str); 7] = [
    ("COLORTERM", "how many colours the terminal shows"),
    ("FORCE_COLOR", "whether output is coloured"),
    ("LANG", "language and character set of messages"),
    ("NO_COLOR", "whether output is coloured"),
    ("TERM", "what the terminal understands"),
    (
        "TMPDIR",
        "where temporary files go when a write grant allows them",
    ),
    ("TZ", "the time zone"),
];

/// What else passes to a command: how it was started, as npm and Deno tell the lines of tasks.
const COMMAND_MINIMUM: [(&str, &str); 2] = [
    ("INIT_CWD", "the directory a task was started from"),
    ("npm_config_user_agent", "the program that runs a task"),
];

/// Where programs are looked up when none may be started: the same on every machine, so that it
/// says nothing about the user. Without any, Deno reports a missing PATH instead of the missing
/// permission.
const STANDARD_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The home of a program that may not know its user's: nothing is there, by convention. Without any,
/// the runner asks the name services (nscd, /etc/passwd) at every start, a millisecond of refusals.
const NO_HOME: &str = "/nonexistent";

/// The resolver's options (resolv.conf(5)), and the one that makes it use TCP.
const RESOLVER_OPTIONS: &str = "RES_OPTIONS";
const OVER_TCP: &str = "use-vc";

/// Locale categories pass like LANG.
const LOCALE_PREFIX: &str = "LC_";

/// What of the Plan the environment depends on.
pub(super) struct Facts<'a> {
    /// Directories of the real programs behind shims.
    pub path_prefix: &'a [PathBuf],
    /// The file rules.
    pub rules: &'a [PathRule],
    /// Whether programs may be started.
    pub processes: bool,
    /// Whether a supervisor judges the network.
    pub judged_network: bool,
}

/// Builds the environment, sorted by name.
///
/// # Errors
/// When a granted variable is not text, which Deno could not carry either.
pub(super) fn build(
    request: &Request<'_>,
    host: &dyn Host,
    facts: &Facts<'_>,
) -> Result<Vec<Variable>, PlanError> {
    let runner = !request.subject.is_command() && !request.collected;
    let mut variables: BTreeMap<String, Variable> = BTreeMap::new();
    let mut put = |name: &str, source: VariableSource, origin: Origin| {
        let name = name.to_owned();
        variables.entry(name.clone()).or_insert(Variable {
            name,
            source,
            origin,
        });
    };
    for variable in &request.variables {
        put(
            &variable.name,
            variable.source.clone(),
            variable.origin.clone(),
        );
    }
    if request.subject.is_command() {
        if !denied(request, "PATH") {
            command::put_path(request, facts, &mut put);
        }
    } else if facts.processes {
        put_path(host, facts.path_prefix, &mut put);
    }
    if facts.judged_network && !denied(request, RESOLVER_OPTIONS) {
        put_resolver_options(request, host, &mut put);
    }
    for (name, value) in host.environment() {
        let Some(text) = name.to_str() else { continue };
        let Some(origin) = grant(request, text).or_else(|| minimum(request, text)) else {
            continue;
        };
        if value.to_str().is_none() {
            return Err(PlanError::VariableText {
                name: text.to_owned(),
            });
        }
        put(text, VariableSource::Inherited, origin);
    }
    for file in &request.env_files {
        for name in &file.names {
            if let Some(origin) = grant(request, name) {
                put(name, VariableSource::EnvFile(file.path.clone()), origin);
            }
        }
    }
    if !facts.processes && runner && !denied(request, "PATH") {
        put(
            "PATH",
            VariableSource::Set(STANDARD_PATH.to_owned()),
            Origin::Runner {
                reason: "the runner looks a program up before it says which grant is missing"
                    .into(),
            },
        );
    }
    let asked_for = sys_granted(request.policy, "homedir");
    if !facts.processes && runner && !asked_for && !denied(request, "HOME") {
        put(
            "HOME",
            VariableSource::Set(NO_HOME.to_owned()),
            Origin::Runner {
                reason: "without one the runner asks the name services whose home it is".into(),
            },
        );
    }
    Ok(variables.into_values().collect())
}

fn denied(request: &Request<'_>, name: &str) -> bool {
    matches!(
        env_verdict(request.policy, name),
        Verdict::Denied { .. } | Verdict::Ignored { .. }
    )
}

/// Lookups over TCP: datagrams of a judged network carry nothing out, and the C library then asks at
/// once where it is answered (resolv.conf(5)).
fn put_resolver_options(
    request: &Request<'_>,
    host: &dyn Host,
    put: &mut impl FnMut(&str, VariableSource, Origin),
) {
    let inherited = grant(request, RESOLVER_OPTIONS)
        .and_then(|_| host.variable(RESOLVER_OPTIONS)?.to_str())
        .unwrap_or_default();
    let mut options: Vec<&str> = inherited.split_whitespace().collect();
    if !options.contains(&OVER_TCP) {
        options.push(OVER_TCP);
    }
    put(
        RESOLVER_OPTIONS,
        VariableSource::Set(options.join(" ")),
        request
            .subject
            .origin("names are looked up over TCP, which the supervisor answers"),
    );
}

/// Children are looked up by name: PATH passes when programs may be started, the real programs'
/// directories before the shims'.
fn put_path(
    host: &dyn Host,
    path_prefix: &[PathBuf],
    put: &mut impl FnMut(&str, VariableSource, Origin),
) {
    let origin = Origin::Runner {
        reason: "programs are started by name".into(),
    };
    if path_prefix.is_empty() {
        if host.variable("PATH").is_some() {
            put("PATH", VariableSource::Inherited, origin);
        }
        return;
    }
    let mut directories: Vec<PathBuf> = path_prefix.to_vec();
    directories.extend(search_path(host));
    let mut kept: Vec<String> = Vec::new();
    for directory in directories {
        let text = directory.to_string_lossy().into_owned();
        if !kept.contains(&text) {
            kept.push(text);
        }
    }
    put("PATH", VariableSource::Set(kept.join(":")), origin);
}

/// The grant that lets `name` pass, if any; loader variables pass by literal name only.
fn grant(request: &Request<'_>, name: &str) -> Option<Origin> {
    env_verdict(request.policy, name).allowed().cloned()
}

fn minimum(request: &Request<'_>, name: &str) -> Option<Origin> {
    let of_commands: &[_] = match request.subject.is_command() {
        true => &COMMAND_MINIMUM,
        false => &[],
    };
    let mut known = MINIMUM.iter().chain(of_commands);
    let reason = match known.find(|(known, _)| *known == name) {
        Some((_, reason)) => *reason,
        None if name.starts_with(LOCALE_PREFIX) => "language and character set of messages",
        None => return None,
    };
    match env_verdict(request.policy, name) {
        Verdict::Denied(_) | Verdict::Ignored(_) => None,
        _ => Some(request.subject.origin(reason)),
    }
}
