// SPDX-License-Identifier: MIT
//! Arguments as typed, dispatch, rendering and exit codes; the only module that prints.
#![forbid(unsafe_code)]

pub mod argument_error;
pub mod arguments;
mod denials;
pub mod deno_flags;
mod doctor;
mod ending;
mod environment;
mod exec;
mod failure;
mod fetch;
mod handled_flags;
pub mod help;
pub mod invocation;
mod journal;
mod limit_flags;
mod modules;
mod network_flags;
mod output_file;
pub mod policy_command;
mod progress;
mod registries;
mod render;
mod report;
mod run;
pub mod service;
mod sources;
mod task;
pub mod task_arguments;
mod task_listing;
mod task_settings;
mod task_work;
mod watch;

use std::io::Write;

use crate::host::RealHost;
use crate::launch::private;
use crate::plan::{explain, why};
use crate::runner::Embedded;
use crate::runner::prepare::Check;
use crate::sys::{privileges, process, signal};

use arguments::{ExplainArguments, Invocation, Mode, RunArguments};
use exec::Purpose;
use failure::Failure;
use run::Status;

/// Runs the command line and says the exit code. `embedded` is the Deno executable of this build, if
/// it has one.
pub fn main(embedded: Option<Embedded>) -> u8 {
    match dispatch(embedded.as_ref()) {
        Ok(Status::Code(code)) => code,
        Ok(Status::Signal(signal)) => signal::die_by(signal),
        Err(failure) => {
            render::error(&failure, failure.is_quoted(), failure.hint().as_deref());
            failure.exit_code()
        }
    }
}

fn dispatch(embedded: Option<&Embedded>) -> Result<Status, Failure> {
    let invocation = arguments::parse(std::env::args_os().skip(1))?;
    let settings = match &invocation {
        Invocation::Run(run) => Some(&run.settings),
        Invocation::Explain(explain) => Some(&explain.run.settings),
        _ => None,
    };
    if let Some(settings) = settings {
        settings.service.begin()?;
    }
    if !matches!(
        invocation,
        Invocation::Doctor { .. } | Invocation::Help(_) | Invocation::Version(_)
    ) {
        // The target has no capabilities. Without them here, too, every path is judged by what it
        // may open, and nothing of Stockade runs with more than it needs.
        privileges::drop_capabilities().map_err(Failure::Capabilities)?;
    }
    match invocation {
        Invocation::Watched { parent, run } => {
            process::die_with_parent(parent).map_err(Failure::Watch)?;
            start(*run, embedded)
        }
        Invocation::Run(arguments) if arguments.settings.watch.on => watch::watch(&arguments),
        Invocation::Run(arguments) => start(*arguments, embedded),
        Invocation::Explain(mut arguments) => {
            // The Plan of a program with errors in its types is the same.
            let check = &mut arguments.run.settings.check;
            check.get_or_insert(Check::Nothing);
            print_plan(*arguments, embedded)
        }
        Invocation::Task(arguments) if arguments.explain => {
            print(&task::explained(&arguments, &RealHost::new()?)?)
        }
        Invocation::Task(arguments) => task::run(&arguments),
        Invocation::TaskShell { line } => task::shell(&line),
        Invocation::Doctor { json } => examine(json),
        Invocation::Fetch => fetch::serve(),
        Invocation::Remove(path) => match private::remove_left(&path) {
            Ok(()) => Ok(Status::Code(0)),
            Err(source) => Err(Failure::Remove { path, source }),
        },
        Invocation::Policy(command) => policy_command::perform(command, &print),
        Invocation::Help(text) | Invocation::Version(text) => print(&text),
    }
}

fn start(arguments: RunArguments, embedded: Option<&Embedded>) -> Result<Status, Failure> {
    let arguments = run::read_script(arguments)?;
    let arguments = sources::compose_run(arguments, &RealHost::new()?)?;
    match arguments.mode {
        Mode::Check | Mode::Cache => modules::only_prepare(&arguments, embedded),
        _ => run::run(&arguments, embedded),
    }
}

fn print_plan(
    mut arguments: ExplainArguments,
    embedded: Option<&Embedded>,
) -> Result<Status, Failure> {
    let host = RealHost::new()?;
    arguments.run = sources::compose_run(arguments.run, &host)?;
    let ready = run::ready(&arguments.run, Purpose::Explain, embedded, &host)?;
    for warning in &ready.warnings {
        render::warning(warning);
    }
    let plan = ready.plan;
    match &arguments.why {
        Some(question) => {
            let answer = why::answer(&plan, question);
            if arguments.json {
                print(&(serde_json::to_string_pretty(&answer).map_err(Failure::Json)? + "\n"))
            } else {
                print(&answer.render())
            }
        }
        None if arguments.json => {
            print(&(serde_json::to_string_pretty(&plan).map_err(Failure::Json)? + "\n"))
        }
        None => print(&explain::render(&plan)),
    }
}

/// Says what this machine can hold; the code is 1 when that is not even a run without network.
fn examine(json: bool) -> Result<Status, Failure> {
    let host = RealHost::new()?;
    // A cache that cannot be placed is one of the findings.
    let cache = crate::runner::cache::resolve_root(&host).ok();
    let report = crate::host::doctor::probe(&host, host.landlock_cap(), cache);
    if json {
        print(&(serde_json::to_string_pretty(&report).map_err(Failure::Json)? + "\n"))?;
    } else {
        print(&doctor::render(&report))?;
    }
    Ok(Status::Code(u8::from(!report.holds)))
}

/// Standard output; a reader that has left is no failure.
fn print(text: &str) -> Result<Status, Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(Status::Code(0)),
    }
}
