// SPDX-License-Identifier: MIT
//! Every way a command of Stockade ends without the target having run, or with its run cut short.
//!
//! Invariant: each one is reported with its causes and its fix, and ends with exit code 125; with 137
//! where the program had been started, with 1 where Deno says that the program itself is at fault.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use super::argument_error::ArgumentError;
use super::registries::RegistryError;
use super::service::ServiceError;
use super::sources::SourceError;
use super::task::TaskFailure;
use crate::confine::ConfineError;
use crate::host::HostError;
use crate::launch::LaunchError;
use crate::plan::PlanError;
use crate::plan::command::CommandError;
use crate::policy::env_file::EnvFileError;
use crate::policy::export::NotWritable;
use crate::runner;

/// Stockade refused or failed: the program was never started.
const REFUSED: u8 = 125;

/// What watched or supervised the program failed, and it was ended by SIGKILL: as shells say it.
const LOST: u8 = 137;

/// The program has errors in its types, or modules that are not there: Deno ends with this code. It
/// was not started.
const PROGRAM: u8 = 1;

/// Why the target was not started.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Arguments(#[from] ArgumentError),
    #[error(transparent)]
    Sources(#[from] SourceError),
    #[error(transparent)]
    Export(#[from] NotWritable),
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    Cache(#[from] runner::cache::CacheError),
    #[error(transparent)]
    Locate(#[from] runner::locate::LocateError),
    #[error(transparent)]
    Prepare(#[from] runner::prepare::PrepareError),
    #[error(transparent)]
    RunnerArguments(#[from] runner::arguments::ArgumentError),
    #[error(transparent)]
    EnvFile(#[from] EnvFileError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Confine(#[from] ConfineError),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error("cannot create `{path}`, granted by `{origin}`")]
    Create {
        path: PathBuf,
        origin: String,
        source: io::Error,
    },
    #[error("cannot open `{path}`, named by `--audit`")]
    Audit { path: PathBuf, source: io::Error },
    #[error("cannot open `{path}`, named by `--report`")]
    Report { path: PathBuf, source: io::Error },
    #[error("`{path}`, named by `--audit`, is no file and no pipe")]
    AuditKind { path: PathBuf },
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("cannot make a directory for the run in `{path}`")]
    Private { path: PathBuf, source: io::Error },
    #[error("cannot remove `{path}`, which a run has left")]
    Remove { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Task(#[from] TaskFailure),
    #[error("cannot read the script from standard input")]
    Input(#[source] io::Error),
    #[error("descriptor {stream} is a datagram socket, which could send to any address")]
    OpenSocket { stream: i32 },
    #[error(transparent)]
    Pattern(#[from] runner::module_files::FindError),
    #[error("{text}")]
    Types { text: String },
    #[error("no test modules found, which `--permit-no-files` permits")]
    NothingToDo,
    #[error("no {what} found")]
    NoModules { what: &'static str },
    #[error("cannot read the request for a download")]
    FetchRequest(#[source] io::Error),
    #[error("cannot start the runner for a download")]
    Fetch(#[source] Box<dyn Error + Send + Sync>),
    #[error("cannot start the program again and again")]
    Watch(#[source] io::Error),
    #[error("cannot drop capabilities")]
    Capabilities(#[source] nix::errno::Errno),
    #[error("cannot write the answer")]
    Output(#[source] io::Error),
    #[error("cannot render the Plan")]
    Json(#[source] serde_json::Error),
}

impl Failure {
    /// The exit code that says what became of the program.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Launch(error) if error.ended_run() => LOST,
            Self::Prepare(error) if error.is_programs() => PROGRAM,
            Self::Types { .. } | Self::NoModules { .. } => PROGRAM,
            Self::NothingToDo => 0,
            Self::Command(error) => error.exit_code(),
            _ => REFUSED,
        }
    }

    /// Whether the message is another program's, and complete as it is.
    pub(super) fn is_quoted(&self) -> bool {
        use runner::prepare::PrepareError;
        matches!(
            self,
            Self::Types { .. } | Self::Prepare(PrepareError::Types { .. })
        )
    }

    /// What would help.
    pub(super) fn hint(&self) -> Option<String> {
        self.own_hint().or_else(|| hint_of_causes(self))
    }

    fn own_hint(&self) -> Option<String> {
        match self {
            Self::Arguments(error) => error.hint(),
            Self::Sources(error) => error.hint(),
            Self::Export(_) => Some("leave the entry out, or choose another `--format`".to_owned()),
            Self::Host(error) => error.hint(),
            Self::Cache(error) => error.hint(),
            Self::Locate(error) => error.hint(),
            Self::Prepare(error) => error.hint(),
            Self::Pattern(error) => error.hint(),
            Self::RunnerArguments(error) => error.hint(),
            Self::EnvFile(error) => error.hint(),
            Self::Plan(error) => error.hint(),
            Self::Confine(error) => error.hint(),
            Self::Launch(error) => error.hint(),
            Self::Service(error) => error.hint(),
            Self::Registry(error) => error.hint(),
            Self::Command(error) => error.hint(),
            Self::Task(error) => error.hint(),
            Self::Private { .. } => Some(
                "let TMPDIR name a directory that may be written, or give `--deny-write`"
                    .to_owned(),
            ),
            Self::OpenSocket { .. } => {
                Some("connect it through a pipe, such as `cat |`".to_owned())
            }
            Self::Audit { source, .. } | Self::Report { source, .. }
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Some("create its directory first".to_owned())
            }
            Self::AuditKind { .. } => Some("name a file that may be appended to".to_owned()),
            Self::Audit { .. }
            | Self::Report { .. }
            | Self::Create { .. }
            | Self::Remove { .. }
            | Self::FetchRequest(_)
            | Self::NothingToDo
            | Self::Types { .. }
            | Self::Watch(_)
            | Self::NoModules { .. }
            | Self::Fetch(_)
            | Self::Capabilities(_)
            | Self::Input(_)
            | Self::Output(_)
            | Self::Json(_) => None,
        }
    }
}

/// The hint of the first cause that has one: helper runs of the runner fail for the same reasons as
/// the run itself, and their errors arrive boxed.
fn hint_of_causes(failure: &Failure) -> Option<String> {
    let mut cause = failure.source();
    while let Some(error) = cause {
        let hint = error
            .downcast_ref::<PlanError>()
            .map(PlanError::hint)
            .or_else(|| error.downcast_ref().map(ConfineError::hint))
            .or_else(|| error.downcast_ref().map(LaunchError::hint))
            .flatten();
        if hint.is_some() {
            return hint;
        }
        cause = error.source();
    }
    None
}
