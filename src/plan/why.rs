// SPDX-License-Identifier: MIT
//! `explain --why KIND:VALUE`: which wall answers, and which flag would open it, from the Plan
//! alone.
//!
//! Invariant: the machine is not asked; a path is judged by its spelling, with `.` and `..`
//! removed and links not followed, and the answer says so.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::paths::normalize;
use super::{Access, Execution, NetAnswer, NetRules, Network, Plan, VariableSource, explain};
use crate::policy::Host;
use crate::policy::grammar::parse_net;

/// A question about one access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// `read:PATH`
    Read(PathBuf),
    /// `write:PATH`
    Write(PathBuf),
    /// `net:HOST[:PORT]`
    Net(String),
    /// `env:NAME`
    Env(String),
    /// `run:PROGRAM`
    Run(String),
}

/// A question that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`--why={0}` is no question")]
pub struct QuestionError(String);

impl QuestionError {
    /// What is accepted.
    pub fn hint(&self) -> Option<String> {
        Some("ask `read:PATH`, `write:PATH`, `net:HOST`, `env:NAME` or `run:PROGRAM`".to_owned())
    }
}

impl FromStr for Question {
    type Err = QuestionError;

    fn from_str(text: &str) -> Result<Self, QuestionError> {
        let wrong = || QuestionError(text.to_owned());
        let (kind, value) = text.split_once(':').ok_or_else(wrong)?;
        if value.is_empty() {
            return Err(wrong());
        }
        Ok(match kind {
            "read" => Self::Read(value.into()),
            "write" => Self::Write(value.into()),
            "net" => Self::Net(value.to_owned()),
            "env" => Self::Env(value.to_owned()),
            "run" => Self::Run(value.to_owned()),
            _ => return Err(wrong()),
        })
    }
}

/// The answer to one question.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Answer {
    /// Whether the kernel lets it pass.
    pub allowed: bool,
    /// Which wall says so, and why.
    pub because: String,
    /// The flag that would change a denial.
    pub opened_by: Option<String>,
}

impl Answer {
    /// The answer as two lines for people.
    pub fn render(&self) -> String {
        let verdict = if self.allowed { "allowed" } else { "denied" };
        match &self.opened_by {
            Some(flag) => format!("{verdict}: {}\nhint: {flag}\n", self.because),
            None => format!("{verdict}: {}\n", self.because),
        }
    }

    fn allowed(because: String) -> Self {
        Self {
            allowed: true,
            because,
            opened_by: None,
        }
    }

    fn denied(because: String, opened_by: String) -> Self {
        Self {
            allowed: false,
            because,
            opened_by: Some(opened_by),
        }
    }
}

/// Answers from the Plan.
pub fn answer(plan: &Plan, question: &Question) -> Answer {
    match question {
        Question::Read(path) => path_answer(plan, path, Access::READ, "read"),
        Question::Write(path) => path_answer(plan, path, Access::WRITE, "write"),
        Question::Net(peer) => network_answer(plan, peer),
        Question::Env(name) => environment_answer(plan, name),
        Question::Run(program) => run_answer(plan, program),
    }
}

fn path_answer(plan: &Plan, path: &Path, wanted: Access, flag: &str) -> Answer {
    let path = normalize(&plan.program.directory, path);
    if let Some(answer) = protected_answer(plan, &path, wanted) {
        return answer;
    }
    let rule = plan
        .filesystem
        .rules
        .iter()
        .filter(|rule| path.starts_with(&rule.path))
        .filter(|rule| {
            (rule.access | rule.brokered)
                .and(wanted)
                .intersects(Access::READ_FILE | Access::WRITE_FILE)
        })
        .max_by_key(|rule| rule.path.components().count());
    if let Some(rule) = rule {
        let origins: Vec<String> = rule.origins.iter().map(ToString::to_string).collect();
        if rule.brokered.intersects(wanted) {
            return Answer::allowed(format!(
                "the supervisor writes on behalf below `{}`, beside what is protected there, from {}",
                rule.path.display(),
                origins.join(", ")
            ));
        }
        return Answer::allowed(format!(
            "Landlock grants {} on `{}`, from {}",
            rule.access
                .and(wanted)
                .names()
                .collect::<Vec<_>>()
                .join(", "),
            rule.path.display(),
            origins.join(", ")
        ));
    }
    let denied = plan
        .filesystem
        .denied
        .iter()
        .filter(|denied| denied.access.intersects(wanted) && path.starts_with(&denied.path))
        .max_by_key(|denied| denied.path.components().count());
    match denied {
        Some(denied) => Answer::denied(
            format!(
                "Landlock has no rule for `{}`, because of {}",
                path.display(),
                denied.origin
            ),
            format!("leave out `{}`", denied.origin),
        ),
        None => Answer::denied(
            format!("Landlock has no rule for `{}`", path.display()),
            format!("--allow-{flag}={}", path.display()),
        ),
    }
}

/// The answer for what is protected, unless a grant names it or something inside.
fn protected_answer(plan: &Plan, path: &Path, wanted: Access) -> Option<Answer> {
    let files = &plan.filesystem;
    let writing = wanted.and(Access::WRITE);
    let protected = files
        .protected
        .iter()
        .find(|protected| !writing.is_empty() && path.starts_with(&protected.path))?;
    let opened = files
        .rules
        .iter()
        .any(|rule| rule.access.intersects(Access::WRITE_FILE) && path.starts_with(&rule.path));
    if opened {
        return None;
    }
    let place = protected.path.display();
    Some(match &protected.origin {
        Some(origin) => Answer::denied(
            format!("the supervisor writes nothing at `{place}`, because of {origin}"),
            format!("leave out `{origin}`"),
        ),
        None => Answer::denied(
            format!(
                "the supervisor writes nothing at `{place}`, which no wider grant opens: {}",
                protected.why
            ),
            format!("--allow-write={place}"),
        ),
    })
}

fn network_answer(plan: &Plan, peer: &str) -> Answer {
    match &plan.network {
        Network::Any(origin) => Answer::allowed(format!("every peer is granted by {origin}")),
        Network::Rules(rules) => judged_answer(rules, peer),
        Network::None => Answer::denied(
            format!("seccomp makes no socket, so nothing reaches `{peer}`"),
            format!("--allow-net={peer}"),
        ),
    }
}

fn judged_answer(rules: &NetRules, peer: &str) -> Answer {
    let opened_by = format!("--allow-net={peer}");
    let asked = match parse_net(peer) {
        Ok(asked) => asked,
        Err(error) => return Answer::denied(error.to_string(), opened_by),
    };
    let name = matches!(asked.host, Host::Name(_) | Host::Wildcard(_));
    match rules.answer(&asked) {
        NetAnswer::Denied(rule) => Answer::denied(
            format!("the supervisor denies `{peer}`, because of {}", rule.origin),
            format!("leave out `{}`", rule.origin),
        ),
        NetAnswer::Allowed(rule) => Answer::allowed(match &rule.host {
            Host::Vsock { .. } => {
                return Answer::denied(
                    format!(
                        "seccomp makes no vsock socket, whatever {} says",
                        rule.origin
                    ),
                    "--allow-net".to_owned(),
                );
            }
            Host::Unix(_) => format!(
                "the supervisor connects and listens there, from {}",
                rule.origin
            ),
            _ if name => format!(
                "the supervisor answers its lookup; {}; from {}",
                explain::way(rule.way(asked.port)),
                rule.origin
            ),
            _ => format!("the supervisor connects it, direct, from {}", rule.origin),
        }),
        NetAnswer::AllowedAll(origin) => Answer::allowed(format!(
            "every peer that is not denied is granted by {origin}"
        )),
        NetAnswer::NotGranted(Some(near)) => Answer::denied(
            format!("only `{near}` is granted, from {}", near.origin),
            opened_by,
        ),
        NetAnswer::NotGranted(None) if name => Answer::denied(
            format!("no rule names `{peer}`, so its lookup finds nothing"),
            opened_by,
        ),
        NetAnswer::NotGranted(None) => Answer::denied(
            format!(
                "no rule names `{peer}`; an address is also reached where the lookup of a granted \
                 name led to it"
            ),
            opened_by,
        ),
    }
}

fn environment_answer(plan: &Plan, name: &str) -> Answer {
    match plan
        .environment
        .iter()
        .find(|variable| variable.name == name)
    {
        Some(variable) => {
            let source = match &variable.source {
                VariableSource::Inherited => "inherited".to_owned(),
                VariableSource::Set(value) => format!("set to `{value}`"),
                VariableSource::EnvFile(path) => format!("read from `{}`", path.display()),
                VariableSource::TargetProcess => "the number of its process".to_owned(),
            };
            Answer::allowed(format!("it is {source}, from {}", variable.origin))
        }
        None => Answer::denied(
            "it is not in the program's environment: denied, not granted, or not set".to_owned(),
            format!("--allow-env={name}, and no `--deny-env` that covers it"),
        ),
    }
}

fn run_answer(plan: &Plan, program: &str) -> Answer {
    match &plan.execution {
        Execution::Any(origin) => {
            Answer::allowed(format!("every readable program is granted by {origin}"))
        }
        Execution::None => Answer::denied(
            "seccomp allows no new process and no program but the first".to_owned(),
            format!("--allow-run={program}"),
        ),
        Execution::List(programs) => {
            let found = programs.iter().find(|granted| {
                granted.name == program
                    || granted.path == normalize(&plan.program.directory, Path::new(program))
            });
            match found {
                Some(granted) => Answer::allowed(format!(
                    "Landlock executes `{}`, from {}",
                    granted.path.display(),
                    granted.origin
                )),
                None => Answer::denied(
                    format!(
                        "Landlock has no execute rule for `{program}`; links are not followed here"
                    ),
                    format!("--allow-run={program}"),
                ),
            }
        }
    }
}
