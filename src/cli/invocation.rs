// SPDX-License-Identifier: MIT
//! What a command line asks for, as plain values.
//!
//! Invariant: exactly what was typed and the defaults; nothing is resolved against the machine.

use std::path::{Path, PathBuf};

use super::deno_flags::Commands;
use super::policy_command::PolicyCommand;
use super::service::Service;
use super::task_arguments::TaskArguments;
use crate::plan::NetSettings;
use crate::plan::why::Question;
use crate::policy::ceiling::Ceiling;
use crate::policy::limits::{Limits, Timeout};
use crate::policy::registry::WantedRegistry;
use crate::policy::{Origin, Policy};
use crate::runner::lock::LockFlags;
use crate::runner::prepare::{Check, NodeModules};

/// What Stockade is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// Run a program.
    Run(Box<RunArguments>),
    /// Print the Plan of the same arguments.
    Explain(Box<ExplainArguments>),
    /// Run tasks.
    Task(Box<TaskArguments>),
    /// Execute a line of a task, inside the walls; only `task` starts it.
    TaskShell {
        /// The line.
        line: String,
    },
    /// Print what this kernel can hold.
    Doctor {
        /// As JSON.
        json: bool,
    },
    /// Do nothing but one download, for another process of Stockade.
    Fetch,
    /// Remove the directory of a run whose Stockade was killed; what the witness of that run becomes.
    Remove(PathBuf),
    /// Run a program for another process of Stockade that starts it again on changes.
    Watched {
        /// That process.
        parent: i32,
        /// The run.
        run: Box<RunArguments>,
    },
    /// Read and print policies.
    Policy(PolicyCommand),
    /// Print this text.
    Help(String),
    /// Print this text.
    Version(String),
}

/// Which way a program is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `stockade run`.
    Run,
    /// `stockade serve`.
    Serve,
    /// `stockade eval`.
    Eval,
    /// `stockade exec`: the script is a command.
    Exec,
    /// `stockade test`: the files are modules with tests.
    Test,
    /// `stockade check`: nothing is run.
    Check,
    /// `stockade cache`: nothing is run.
    Cache,
}

impl Mode {
    /// The name of the command.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Serve => "serve",
            Self::Eval => "eval",
            Self::Exec => "exec",
            Self::Test => "test",
            Self::Check => "check",
            Self::Cache => "cache",
        }
    }

    pub(super) const fn commands(self) -> Commands {
        match self {
            Self::Run => Commands::RUN,
            Self::Serve => Commands::SERVE,
            Self::Eval => Commands::EVAL,
            Self::Exec => Commands::EXEC,
            Self::Test => Commands::TEST,
            Self::Check => Commands::CHECK,
            Self::Cache => Commands::CACHE,
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [
            Self::Run,
            Self::Serve,
            Self::Eval,
            Self::Exec,
            Self::Test,
            Self::Check,
            Self::Cache,
        ]
        .into_iter()
        .find(|mode| mode.name() == text)
    }

    /// Whether everything that is no flag names a file, until `--`.
    pub(super) const fn takes_files(self) -> bool {
        matches!(self, Self::Test | Self::Check | Self::Cache)
    }
}

/// `run`, `serve`, `eval`, `exec`, `test`, `check` and `cache`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunArguments {
    /// Which of them.
    pub mode: Mode,
    /// The permission flags.
    pub policy: Policy,
    /// Stockade's own settings.
    pub settings: Settings,
    /// Flags for the program's own run, as `--long` or `--long=value`.
    pub runner_flags: Vec<String>,
    /// Flags for prepare, in the same form.
    pub prepare_flags: Vec<String>,
    /// The script as typed, `-` for standard input; the code for `eval`, the command for `exec`. Always
    /// there except for `explain`.
    pub script: Option<String>,
    /// Further files of a command that takes several.
    pub files: Vec<String>,
    /// Everything behind the script.
    pub script_arguments: Vec<String>,
    /// What the user should be told: flags without effect.
    pub notices: Vec<String>,
}

impl RunArguments {
    /// The value of a flag that is passed on to the runner.
    pub fn flag_value(&self, flag: &str) -> Option<&str> {
        self.runner_flags
            .iter()
            .find_map(|passed| passed.strip_prefix(flag)?.strip_prefix('='))
    }
}

/// What is neither a permission nor the runner's business alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The run is ended after this long.
    pub timeout: Option<Timeout>,
    /// What the run may use of the machine.
    pub limits: Limits,
    /// The service it is.
    pub service: Service,
    /// Another Deno executable.
    pub runner: Option<PathBuf>,
    /// Missing kernel features become gaps.
    pub best_effort: bool,
    /// Registries that policies grant without naming a host.
    pub registries: Vec<WantedRegistry>,
    /// Files of variables, in the order given.
    pub env_files: Vec<PathBuf>,
    /// No configuration file is looked for.
    pub no_config: bool,
    /// The lock.
    pub lock: LockFlags,
    /// What is type-checked before the start; the command decides when nobody says.
    pub check: Option<Check>,
    /// Nothing is downloaded.
    pub offline: bool,
    /// Where packages lie; the configuration decides when nobody says.
    pub node_modules: Option<NodeModules>,
    /// Variables that are absent are undefined instead of forbidden.
    pub env_missing_undefined: bool,
    /// Whether and when it starts again.
    pub watch: WatchSettings,
    /// Which files are tests.
    pub tests: TestSettings,
    /// Modules that run before the program, and those that it loads without an import naming them.
    pub further: Vec<PathBuf>,
    /// Files that flags name and the runner must read.
    pub named_files: Vec<NamedFile>,
    /// The network beside the policy.
    pub network: NetSettings,
    /// Who named the name servers and the proxy of `network`.
    pub upstream: UpstreamOrigins,
    /// The file denials are appended to.
    pub audit: Option<PathBuf>,
    /// Where reports of the run go.
    pub reports: Vec<PathBuf>,
    /// Denials are not told on standard error.
    pub quiet_denials: bool,
    /// What grants and denies beside the flags.
    pub sources: Sources,
    /// What nothing may grant more than; read when the sources are.
    pub ceilings: Vec<Ceiling>,
}

/// Who named what lookups and connections go through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamOrigins {
    /// Of each name server, in their order.
    pub name_servers: Vec<Origin>,
    /// Of the proxy.
    pub proxy: Option<Origin>,
}

/// What grants and denies beside the flags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// `-P`, or `-P=NAME`.
    pub permission_set: Option<Option<String>>,
    /// Each `--policy`: a file or the name of a preset.
    pub policies: Vec<String>,
    /// Each `--ceiling`.
    pub ceilings: Vec<PathBuf>,
    /// Inspectors that were asked for, and the value of their flag: their listeners need a grant of
    /// one of the sources.
    pub inspectors: Vec<(String, Option<String>)>,
}

impl Sources {
    /// Whether the flags are not all.
    pub fn any(&self) -> bool {
        self.permission_set.is_some() || !self.policies.is_empty()
    }
}

/// `--watch` and what belongs to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchSettings {
    /// It starts again on changes.
    pub on: bool,
    /// Files and directories beside the program's own.
    pub paths: Vec<PathBuf>,
    /// Files and directories that are not watched.
    pub excluded: Vec<PathBuf>,
    /// The screen stays as it is.
    pub keep_screen: bool,
    /// Where the watched process says which files its program has.
    pub report: Option<PathBuf>,
}

/// Which files `test` runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TestSettings {
    /// Finding none is no error.
    pub permit_none: bool,
    /// Files and directories that are not looked into.
    pub ignored: Vec<PathBuf>,
}

impl Settings {
    /// Files that Stockade itself reads or starts, with the flags that name them.
    pub fn read_files(&self) -> impl Iterator<Item = (&str, &Path)> {
        let env_files = self.env_files.iter().map(|path| ("--env-file", path));
        let ceilings = self.sources.ceilings.iter();
        let ceilings = ceilings.map(|path| ("--ceiling", path));
        let runner = self.runner.iter().map(|path| ("--runner", path));
        let named = self.named_files.iter();
        let named = named.map(|file| (file.flag.as_str(), &file.path));
        let files = env_files.chain(ceilings).chain(runner).chain(named);
        files.map(|(flag, path)| (flag, path.as_path()))
    }

    /// Files that it writes.
    pub fn written_files(&self) -> impl Iterator<Item = (&str, &Path)> {
        let audit = self.audit.iter().map(|path| ("--audit", path));
        let reports = self.reports.iter().map(|path| ("--report", path));
        audit
            .chain(reports)
            .map(|(flag, path)| (flag, path.as_path()))
    }
}

/// A file a flag names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// The flag's long name with its dashes.
    pub flag: String,
    /// As typed.
    pub path: PathBuf,
}

/// `explain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainArguments {
    /// What is explained; the script may be missing.
    pub run: RunArguments,
    /// As JSON.
    pub json: bool,
    /// One question instead of the whole Plan.
    pub why: Option<Question>,
}
