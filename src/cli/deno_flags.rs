// SPDX-License-Identifier: MIT
//! Every flag of `deno run`, `deno serve` and `deno eval` (2.9.6, hidden ones included), and what
//! Stockade does with it.
//!
//! Invariant: this table is the only place that knows flags: the parser, the help text and the
//! documentation are made from it, so none of them can miss a row.

use std::fmt;

use crate::policy::limits::LimitKind;

/// One flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlagRow {
    /// The long name without dashes.
    pub long: &'static str,
    /// Other long names.
    pub aliases: &'static [&'static str],
    /// The short name.
    pub short: Option<char>,
    /// Whether it takes a value, and how.
    pub value: ValueForm,
    /// Which values it takes.
    pub accepts: Accepts,
    /// The commands that have it.
    pub commands: Commands,
    /// What happens to it.
    pub decision: Decision,
    /// What it is for, or why it is not passed on; one line, also the help text.
    pub reason: &'static str,
}

impl FlagRow {
    /// The long name with its dashes.
    pub fn flag(&self) -> String {
        format!("--{}", self.long)
    }

    /// Whether `name`, without dashes, is a long name of this row.
    pub fn is_named(&self, name: &str) -> bool {
        self.long == name || self.aliases.contains(&name)
    }
}

/// How a flag takes its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueForm {
    /// None.
    None,
    /// Only behind `=`, so that a bare flag never swallows the script.
    Optional,
    /// Behind `=`, or as the next argument.
    Required,
}

/// Which values a flag takes, as far as the form can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepts {
    /// Whatever its handler, or the runner, makes of it.
    Any,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// A decimal number of 64 bits.
    Number,
}

impl Accepts {
    /// Whether `value` is one of them.
    pub fn includes(self, value: &str) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(values) => values.contains(&value),
            Self::Number => value.parse::<u64>().is_ok(),
        }
    }
}

impl fmt::Display for Accepts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => formatter.write_str("any value"),
            Self::OneOf(values) => formatter.write_str(&values.join(", ")),
            Self::Number => formatter.write_str("a number from 0 to 18446744073709551615"),
        }
    }
}

/// A set of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commands(u16);

impl Commands {
    /// `stockade run`.
    pub const RUN: Self = Self(1);
    /// `stockade serve`.
    pub const SERVE: Self = Self(2);
    /// `stockade eval`.
    pub const EVAL: Self = Self(4);
    /// `stockade explain`.
    pub const EXPLAIN: Self = Self(8);
    /// `stockade doctor`.
    pub const DOCTOR: Self = Self(16);
    /// `stockade exec`.
    pub const EXEC: Self = Self(32);
    /// `stockade test`.
    pub const TEST: Self = Self(64);
    /// `stockade check`.
    pub const CHECK: Self = Self(128);
    /// `stockade cache`.
    pub const CACHE: Self = Self(256);
    /// `stockade task`.
    pub const TASK: Self = Self(512);
    /// The three that start a program of the runner.
    pub const PROGRAMS: Self = Self(7);

    /// Members of either set.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the sets share a command.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Names of the members.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        [
            (Self::RUN, "run"),
            (Self::SERVE, "serve"),
            (Self::EVAL, "eval"),
            (Self::EXEC, "exec"),
            (Self::TEST, "test"),
            (Self::CHECK, "check"),
            (Self::CACHE, "cache"),
            (Self::TASK, "task"),
            (Self::EXPLAIN, "explain"),
            (Self::DOCTOR, "doctor"),
        ]
        .into_iter()
        .filter_map(move |(command, name)| self.intersects(command).then_some(name))
    }
}

/// What happens to a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Becomes a rule of the policy.
    Permission,
    /// Passed to the program's run.
    Passed,
    /// Passed to prepare and to the program's run.
    PassedToBoth,
    /// Passed to prepare only; it has no meaning once everything is in place.
    PassedToPrepare,
    /// Stockade does it itself.
    Handled(Handler),
    /// Accepted: it asks for what Stockade does anyway.
    Always,
    /// Accepted without effect, with a notice.
    Ignored,
    /// Passed on when `--allow-net` grants the listener it opens.
    NeedsNet,
    /// Refused for now.
    NotYet,
    /// Refused.
    Refused,
}

impl fmt::Display for Decision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Permission => "policy",
            Self::Passed => "passed",
            Self::PassedToBoth => "passed, also to prepare",
            Self::PassedToPrepare => "passed to prepare",
            Self::Handled(_) => "handled",
            Self::Always => "always so",
            Self::Ignored => "ignored",
            Self::NeedsNet => "needs --allow-net",
            Self::NotYet => "not yet",
            Self::Refused => "refused",
        })
    }
}

/// What handles a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handler {
    /// Parsed by `policy::env_file`.
    EnvFile,
    /// A file the runner reads: its path is recorded, so that the Plan grants it, and the flag is
    /// passed to prepare and to the run.
    File,
    /// A file the runner reads, or a URL.
    FileOrUrl,
    /// Recorded, and passed to prepare and to the run.
    NoConfig,
    /// The port of `serve`: recorded and passed.
    Port,
    /// The address of `serve`: recorded and passed.
    Host,
    /// Prints the help text.
    Help,
    /// Prints the version.
    Version,
    /// The run is ended after this long.
    Timeout,
    /// What the run may use of the machine.
    Limit(LimitKind),
    /// The user the run becomes.
    User,
    /// The group the run becomes.
    Group,
    /// A descriptor of the caller that is passed on.
    KeepDescriptor,
    /// Another Deno executable.
    Runner,
    /// Errors about missing kernel features become gaps.
    BestEffort,
    /// Names that may lead to private addresses.
    AllowPrivate,
    /// What is checked on connections to granted names.
    Verify,
    /// Name servers.
    Dns,
    /// The proxy connections go through.
    UpstreamProxy,
    /// The file denials are recorded in.
    Audit,
    /// Reports of the run.
    Report,
    /// No lines about denials on standard error.
    QuietDenials,
    /// Output as JSON.
    Json,
    /// Asks about one access.
    Why,
    /// Read by `task_arguments`.
    Task,
    /// A permission set of the configuration.
    PermissionSet,
    /// A policy file, or a preset.
    Policy,
    /// What is type-checked.
    Check,
    /// Nothing is type-checked.
    NoCheck,
    /// Modules before the program: recorded, and passed to its run.
    Preload,
    /// Modules that imports do not name: recorded.
    Include,
    /// Nothing is downloaded.
    CachedOnly,
    /// The lock file.
    Lock,
    /// No lock file.
    NoLock,
    /// Where packages lie.
    NodeModules,
    /// The lock file does not change.
    Frozen,
    /// What absent variables are.
    EnvMissing,
    /// Starts again on changes.
    Watch,
    /// Files that are not watched.
    WatchExclude,
    /// The screen stays as it is.
    NoClearScreen,
    /// Finding no tests is no error.
    PermitNoFiles,
    /// Files that are no tests.
    Ignore,
    /// `check --all`.
    CheckAll,
    /// A policy file that bounds every grant.
    Ceiling,
}

use Commands as C;
use Decision::{
    Always, Handled, Ignored, NeedsNet, NotYet, Passed, PassedToBoth, PassedToPrepare, Permission,
    Refused,
};
use ValueForm::{None as Bare, Optional, Required};

const ALL: Commands = C::PROGRAMS.or(C::TEST);
/// Commands that resolve modules.
const MODULES: Commands = ALL.or(C::CHECK).or(C::CACHE);
/// What a command has in common with the programs of the runner.
const EVERY: Commands = ALL.or(C::EXEC).or(C::TASK);
/// Flags of `exec` that a task does not hand on.
const EVERY_BUT_TASK: Commands = ALL.or(C::EXEC);
const SCRIPTS: Commands = C::RUN.or(C::SERVE);

const fn row(
    long: &'static str,
    value: ValueForm,
    commands: Commands,
    decision: Decision,
    reason: &'static str,
) -> FlagRow {
    FlagRow {
        long,
        aliases: &[],
        short: None,
        value,
        accepts: Accepts::Any,
        commands,
        decision,
        reason,
    }
}

impl FlagRow {
    const fn short(self, short: char) -> Self {
        Self {
            short: Some(short),
            ..self
        }
    }

    const fn one_of(self, values: &'static [&'static str]) -> Self {
        Self {
            accepts: Accepts::OneOf(values),
            ..self
        }
    }

    const fn number(self) -> Self {
        Self {
            accepts: Accepts::Number,
            ..self
        }
    }

    const fn alias(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }
}

#[rustfmt::skip]
static DENO_FLAGS: &[FlagRow] = &[
    // Permissions.
    row("allow-all", Bare, EVERY, Permission, "grant every permission; denials still apply, and so does the hardening").short('A'),
    row("allow-read", Optional, EVERY, Permission, "files and directories that may be read").short('R'),
    row("deny-read", Optional, EVERY, Permission, "files and directories that may not be read"),
    row("ignore-read", Optional, ALL, Permission, "files and directories that are reported as absent"),
    row("allow-write", Optional, EVERY, Permission, "files and directories that may be written").short('W'),
    row("deny-write", Optional, EVERY, Permission, "files and directories that may not be written"),
    row("allow-net", Optional, EVERY, Permission, "hosts that may be connected to and addresses to listen on").short('N'),
    row("deny-net", Optional, EVERY, Permission, "hosts and addresses that may not be used"),
    row("allow-env", Optional, EVERY, Permission, "environment variables the program gets").short('E'),
    row("deny-env", Optional, EVERY, Permission, "environment variables the program does not get"),
    row("ignore-env", Optional, ALL, Permission, "environment variables that are reported as absent"),
    row("allow-run", Optional, EVERY, Permission, "programs that may be started, inside the same walls"),
    row("deny-run", Optional, EVERY, Permission, "programs that may not be started"),
    row("allow-sys", Optional, EVERY, Permission, "kinds of system information").short('S'),
    row("deny-sys", Optional, ALL.or(C::TASK), Permission, "kinds of system information that are withheld"),
    row("allow-ffi", Optional, ALL.or(C::TASK), Permission, "libraries that may be loaded"),
    row("deny-ffi", Optional, ALL.or(C::TASK), Permission, "libraries that may not be loaded"),
    row("allow-import", Optional, MODULES.or(C::TASK), Permission, "hosts modules may be imported from").short('I'),
    row("deny-import", Optional, MODULES.or(C::TASK), Permission, "hosts modules may not be imported from"),
    row("permission-set", Optional, ALL, Handled(Handler::PermissionSet), "add a permission set of deno.json; without a name, `default`").short('P'),
    row("no-prompt", Bare, EVERY, Always, "nothing is ever prompted"),
    row("allow-hrtime", Bare, ALL, Ignored, "Deno 2 has no such permission"),
    row("deny-hrtime", Bare, ALL, Ignored, "Deno 2 has no such permission"),

    // The program and how it is executed.
    row("ext", Required, ALL, PassedToBoth, "content type of the script").one_of(&["ts", "tsx", "js", "jsx", "mts", "mjs", "cts", "cjs"]),
    row("location", Required, ALL, Passed, "globalThis.location"),
    row("seed", Required, ALL, Passed, "seed of Math.random").number(),
    row("v8-flags", Optional, ALL, Passed, "switches of the engine; yours, not the program's, and the kernel holds whatever they loosen"),
    row("conditions", Required, MODULES, PassedToBoth, "conditions of package exports"),
    row("no-code-cache", Bare, SCRIPTS, Passed, "do not cache compiled code"),
    row("print", Bare, C::EVAL, Passed, "print the value of the code").short('p'),
    row("use-env-proxy", Bare, C::RUN, Passed, "node:http uses the proxy variables that --allow-env lets through"),
    row("no-use-env-proxy", Bare, C::RUN, Passed, "node:http does not use proxy variables"),
    row("trace-ops", Optional, ALL, Passed, "print the runtime's operations").alias(&["strace-ops"]),
    row("log-level", Required, MODULES, PassedToBoth, "how much is told on stderr").short('L').one_of(&["trace", "debug", "info"]),
    row("quiet", Bare, MODULES, PassedToBoth, "no diagnostic output").short('q'),
    row("env-file", Optional, EVERY, Handled(Handler::EnvFile), "read variables from a file (.env), as far as --allow-env lets them through").alias(&["env"]),
    row("check", Optional, MODULES, Handled(Handler::Check), "type-check before the run, which is done anyway; =all checks modules of other hosts, too").one_of(&["all"]),
    row("no-check", Optional, MODULES, Handled(Handler::NoCheck), "do not type-check; =remote checks the program's own modules").one_of(&["remote"]),
    row("preload", Required, ALL, Handled(Handler::Preload), "modules executed before the program").alias(&["import"]),
    row("require", Required, ALL, Handled(Handler::Preload), "CommonJS modules executed before the program"),
    row("watch", Optional, SCRIPTS.or(C::TEST), Handled(Handler::Watch), "prepare and start again when a file of the program changes, or one named here"),
    row("hmr", Optional, SCRIPTS, Refused, "it replaces modules without preparing them; `--watch` starts again").alias(&["watch-hmr", "unstable-hmr"]),
    row("watch-exclude", Optional, SCRIPTS.or(C::TEST), Handled(Handler::WatchExclude), "files and directories that are not watched"),
    row("no-clear-screen", Bare, SCRIPTS.or(C::TEST), Handled(Handler::NoClearScreen), "start again without clearing the screen"),
    row("port", Required, C::SERVE, Handled(Handler::Port), "the port to serve on (8000)"),
    row("host", Required, C::SERVE, Handled(Handler::Host), "the address to serve on (0.0.0.0)"),
    row("parallel", Bare, C::SERVE.or(C::TEST), Passed, "serve, or test, with several workers"),
    row("open", Bare, C::SERVE, Refused, "it starts a browser, which is outside the walls"),
    row("tunnel", Bare, SCRIPTS, Refused, "it connects the program to a remote service, past the net rules").short('t').alias(&["connected"]),

    // Where modules come from.
    row("config", Required, MODULES.or(C::TASK), Handled(Handler::File), "the configuration file").short('c'),
    row("no-config", Bare, MODULES, Handled(Handler::NoConfig), "no configuration file is looked for"),
    row("import-map", Required, MODULES, Handled(Handler::FileOrUrl), "the import map").alias(&["importmap"]),
    row("no-remote", Bare, MODULES, PassedToBoth, "no remote modules"),
    row("no-npm", Bare, MODULES, PassedToBoth, "no npm packages"),
    row("node-modules-dir", Optional, MODULES, Handled(Handler::NodeModules), "where packages lie: auto, in a node_modules that is made before the start; manual, in the one that is there; none, in Stockade's cache").one_of(&["auto", "manual", "none", "true", "false"]),
    row("node-modules-linker", Required, MODULES, NotYet, "how node_modules is laid out").alias(&["linker"]).one_of(&["isolated", "hoisted"]),
    row("vendor", Optional, MODULES, Refused, "modules of other hosts are kept in Stockade's cache, which no program writes").one_of(&["true", "false"]),
    row("reload", Optional, MODULES, PassedToPrepare, "download modules again").short('r'),
    row("cached-only", Bare, MODULES, Handled(Handler::CachedOnly), "download nothing; the program's own run never downloads"),
    row("min-dep-age", Required, MODULES, PassedToPrepare, "the least age of downloaded packages").alias(&["minimum-dependency-age"]),
    row("lock", Optional, MODULES, Handled(Handler::Lock), "the lock file (deno.lock beside the configuration)"),
    row("no-lock", Bare, MODULES, Handled(Handler::NoLock), "no lock file is read or written"),
    row("frozen-lockfile", Optional, MODULES, Handled(Handler::Frozen), "a lock file that would change is an error").alias(&["frozen"]).one_of(&["true", "false"]),
    row("cert", Required, MODULES, Handled(Handler::File), "certificate authorities"),
    row("unsafely-ignore-certificate-errors", Optional, ALL, Passed, "do not verify certificates in the program; prepare always verifies"),
    row("allow-scripts", Optional, SCRIPTS, Refused, "npm lifecycle scripts never run"),

    // Tests.
    row("filter", Required, C::TEST, Passed, "run tests whose names contain this, or match /this/"),
    row("fail-fast", Optional, C::TEST, Passed, "stop after this many failures (1)").alias(&["failfast"]),
    row("shuffle", Optional, C::TEST, Passed, "run tests in another order"),
    row("reporter", Required, C::TEST, Passed, "how results are printed").one_of(&["pretty", "dot", "junit", "tap"]),
    row("junit-path", Required, C::TEST, Passed, "a JUnit report, in a file that --allow-write grants"),
    row("permit-no-files", Bare, C::TEST, Handled(Handler::PermitNoFiles), "finding no tests is no error"),
    row("ignore", Optional, C::TEST, Handled(Handler::Ignore), "files and directories that are not looked into for tests"),
    row("no-run", Bare, C::TEST, Passed, "load the tests and run none"),
    row("trace-leaks", Bare, C::TEST, Passed, "where leaked operations began"),
    row("sanitize-ops", Bare, C::TEST, Passed, "tests end all operations they begin"),
    row("sanitize-resources", Bare, C::TEST, Passed, "tests close everything they open"),
    row("hide-stacktraces", Bare, C::TEST, Passed, "no stack traces of failures"),
    row("retry", Required, C::TEST, Passed, "how often a failing test is tried again").number(),
    row("repeats", Required, C::TEST, Passed, "how often each test is repeated").number(),
    row("update-snapshots", Bare, C::TEST, Passed, "update snapshots, where --allow-write grants them").short('u'),
    row("clean", Bare, C::TEST, Passed, "empty the coverage directory first"),
    row("coverage-raw-data-only", Bare, C::TEST, Passed, "coverage profiles without a report"),
    row("coverage-threshold", Required, C::TEST, Passed, "fail below this coverage, in percent").number(),
    row("doc", Bare, C::TEST.or(C::CHECK), NotYet, "code in comments and Markdown"),
    row("shard", Required, C::TEST, NotYet, "a part of the tests"),
    row("changed", Optional, C::TEST, Refused, "it starts git, outside the walls"),
    row("related", Required, C::TEST, NotYet, "tests that depend on these files"),
    row("all", Bare, C::CHECK, Handled(Handler::CheckAll), "check modules of other hosts, too"),

    // Inspection.
    row("inspect", Optional, ALL, NeedsNet, "the inspector listens on host:port (127.0.0.1:9229)"),
    row("inspect-brk", Optional, ALL, NeedsNet, "the inspector listens, and the program waits at its first statement"),
    row("inspect-wait", Optional, ALL, NeedsNet, "the inspector listens, and the program waits for it"),
    row("inspect-publish-uid", Required, ALL, Passed, "where the inspector tells its address: stderr, http"),
    row("coverage", Optional, C::RUN.or(C::TEST), Passed, "coverage profiles, in a directory that --allow-write grants (coverage)"),
    row("cpu-prof", Bare, ALL, NotYet, "CPU profiles; the runner would write them"),
    row("cpu-prof-dir", Required, ALL, NotYet, "the directory of CPU profiles"),
    row("cpu-prof-name", Required, ALL, NotYet, "the file name of CPU profiles"),
    row("cpu-prof-interval", Required, ALL, NotYet, "the sampling interval of CPU profiles"),
    row("cpu-prof-md", Bare, ALL, NotYet, "CPU profiles as markdown"),
    row("cpu-prof-flamegraph", Bare, ALL, NotYet, "CPU profiles as flame graphs"),
    row("enable-testing-features-do-not-use", Bare, ALL, Refused, "internal to Deno's own tests").alias(&["enable-testing-features"]),
    row("eszip-internal-do-not-use", Bare, ALL, Refused, "internal to Deno's own tests"),

    // Unstable features: all of them are interfaces inside the program, and the walls do not move.
    row("unstable", Bare, ALL, Passed, "removed in Deno 2, which says so"),
    row("unstable-bare-node-builtins", Bare, MODULES, PassedToBoth, "bare names of Node's built-in modules"),
    row("unstable-broadcast-channel", Bare, ALL, Passed, "BroadcastChannel"),
    row("unstable-bundle", Bare, ALL, Passed, "Deno.bundle"),
    row("unstable-byonm", Bare, MODULES, PassedToBoth, "node_modules as it is"),
    row("unstable-cron", Bare, ALL, Passed, "Deno.cron"),
    row("unstable-detect-cjs", Bare, MODULES, PassedToBoth, "more files count as CommonJS"),
    row("unstable-ffi", Bare, ALL, Passed, "unstable parts of Deno.dlopen"),
    row("unstable-fs", Bare, ALL, Passed, "unstable file system interfaces"),
    row("unstable-http", Bare, ALL, Passed, "unstable HTTP interfaces"),
    row("unstable-kv", Bare, ALL, Passed, "Deno.openKv"),
    row("unstable-lazy-dynamic-imports", Bare, ALL, PassedToBoth, "dynamic imports are loaded late"),
    row("unstable-lockfile-v5", Bare, MODULES, PassedToBoth, "version 5 of the lock file"),
    row("unstable-net", Bare, ALL, Passed, "unstable network interfaces"),
    row("unstable-no-legacy-abort", Bare, ALL, Passed, "abort signals of Deno.serve"),
    row("unstable-node-globals", Bare, MODULES, PassedToBoth, "Node's globals"),
    row("unstable-npm-lazy-caching", Bare, MODULES, PassedToBoth, "only used npm packages are installed"),
    row("unstable-otel", Bare, ALL, Passed, "OpenTelemetry, to where the net rules let it go"),
    row("unstable-process", Bare, ALL, Passed, "unstable process interfaces"),
    row("unstable-raw-imports", Bare, MODULES, PassedToBoth, "text and bytes imports, judged by --allow-read"),
    row("unstable-sloppy-imports", Bare, MODULES, PassedToBoth, "specifiers without extension").alias(&["sloppy-imports"]),
    row("unstable-subdomain-wildcards", Bare, ALL, Passed, "host wildcards, which are always on here"),
    row("unstable-temporal", Bare, ALL, Passed, "Temporal"),
    row("unstable-tsgo", Bare, ALL, PassedToPrepare, "the native type checker"),
    row("unstable-unsafe-proto", Bare, ALL, Passed, "Object.prototype.__proto__; the walls do not depend on it").alias(&["unsafe-proto"]),
    row("unstable-vsock", Bare, ALL, Passed, "vsock interfaces"),
    row("unstable-webgpu", Bare, ALL, Passed, "WebGPU"),
    row("unstable-worker-options", Bare, ALL, Passed, "options of workers"),

    row("help", Optional, EVERY.or(C::CHECK).or(C::CACHE).or(C::EXPLAIN).or(C::DOCTOR), Handled(Handler::Help), "this text").short('h'),
    row("version", Bare, EVERY.or(C::CHECK).or(C::CACHE).or(C::EXPLAIN).or(C::DOCTOR), Handled(Handler::Version), "the version").short('V'),
];

#[rustfmt::skip]
static OWN_FLAGS: &[FlagRow] = &[
    row("timeout", Required, EVERY, Handled(Handler::Timeout), "end the run after this long (30s, 2m, 500ms), with exit 124"),
    row("memory", Required, EVERY, Handled(Handler::Limit(LimitKind::Memory)), "end the run when it needs more memory (512m, 2g); of all processes together in a delegated control group, else of each one"),
    row("cpu-time", Required, EVERY, Handled(Handler::Limit(LimitKind::CpuTime)), "end the run after this much processor time (30s, 2m); together or of each process, as for --memory"),
    row("processes", Required, EVERY, Handled(Handler::Limit(LimitKind::Processes)), "the most processes and threads at a time; Deno itself needs about 20"),
    row("open-files", Required, EVERY, Handled(Handler::Limit(LimitKind::OpenFiles)), "the most open files of each process; Deno itself needs about 24"),
    row("file-size", Required, EVERY, Handled(Handler::Limit(LimitKind::FileSize)), "the longest file that may be written (100k, 1g)"),
    row("output-size", Required, EVERY, Handled(Handler::Limit(LimitKind::OutputSize)), "end the run, with exit 123, when it has written more than this to standard output and error together (1m, 100m); both are pipes for it, and no terminal"),
    row("uid", Required, EVERY_BUT_TASK, Handled(Handler::User), "become this user first, by number or name; from root"),
    row("gid", Required, EVERY_BUT_TASK, Handled(Handler::Group), "become this group first, by number or name; the user's own without it"),
    row("keep-fd", Required, EVERY_BUT_TASK, Handled(Handler::KeepDescriptor), "pass on this descriptor of the caller, as it was opened; repeatable"),
    row("runner", Required, ALL.or(C::CHECK).or(C::CACHE).or(C::TASK), Handled(Handler::Runner), "another Deno executable, 2.0 or later"),
    row("best-effort", Bare, EVERY.or(C::CHECK).or(C::CACHE), Handled(Handler::BestEffort), "run with what this kernel can hold, and say what it cannot"),
    row("allow-private", Required, EVERY_BUT_TASK, Handled(Handler::AllowPrivate), "host names that may lead to private addresses"),
    row("verify", Required, EVERY_BUT_TASK, Handled(Handler::Verify), "what is checked on connections to a granted name: HOST[:PORT]=sni, the TLS server name, or =none; else by port, 443 and 80"),
    row("dns", Required, EVERY_BUT_TASK.or(C::CHECK).or(C::CACHE), Handled(Handler::Dns), "name servers to ask instead of resolv.conf's, for rules for hosts"),
    row("upstream-proxy", Required, EVERY_BUT_TASK.or(C::CHECK).or(C::CACHE), Handled(Handler::UpstreamProxy), "the HTTP proxy that granted connections go through: http://[user:password@]host:port; it looks names up, --dns only its own"),
    row("audit", Required, EVERY, Handled(Handler::Audit), "append every denial to this file, as a line of JSON; the program is supervised then"),
    row("report", Required, EVERY, Handled(Handler::Report), "write a report of the run to FILE.json or FILE.md: what held it, what was denied, whom it talked to; repeatable; the program is supervised then"),
    row("quiet-denials", Bare, EVERY.or(C::CHECK).or(C::CACHE), Handled(Handler::QuietDenials), "no `denied:` lines on standard error"),
    row("include", Required, ALL, Handled(Handler::Include), "a module that the program loads under a computed name, or as a worker"),
    row("env-missing", Required, ALL, Handled(Handler::EnvMissing), "variables that are not granted are undefined instead of an error").one_of(&["undefined"]),
    row("policy", Required, EVERY, Handled(Handler::Policy), "add what a policy file (YAML) or a preset grants, denies and sets; repeatable"),
    row("ceiling", Required, EVERY, Handled(Handler::Ceiling), "a policy file that no grant may exceed; repeatable. /etc/stockade/ceiling.yaml is always one, where it exists"),
    row("cwd", Required, C::TASK, Handled(Handler::Task), "the directory the lines run in, and from which the configuration is searched"),
    row("jobs", Required, C::TASK, Handled(Handler::Task), "the most tasks at the same time (DENO_JOBS, else the number of processors)").short('j'),
    row("eval", Bare, C::TASK, Handled(Handler::Task), "the name is a command line, run as if it were a task"),
    row("no-prefix", Bare, C::TASK, Handled(Handler::Task), "do not tell output of simultaneous tasks by the name of the task"),
    row("if-present", Bare, C::TASK, Handled(Handler::Task), "exit with 0 when there is no such task"),
    row("json", Bare, C::EXPLAIN.or(C::DOCTOR), Handled(Handler::Json), "print JSON"),
    row("why", Required, C::EXPLAIN, Handled(Handler::Why), "say who decides about one access: read:/etc/passwd, net:example.com:443, env:HOME"),
];

/// The flags of Deno.
pub fn rows() -> &'static [FlagRow] {
    DENO_FLAGS
}

/// Stockade's own flags.
pub fn own_rows() -> &'static [FlagRow] {
    OWN_FLAGS
}

/// Both.
pub fn all_rows() -> impl Iterator<Item = &'static FlagRow> {
    DENO_FLAGS.iter().chain(OWN_FLAGS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names = BTreeSet::new();
        for row in all_rows() {
            for name in std::iter::once(&row.long).chain(row.aliases) {
                assert!(names.insert(*name), "--{name} is there twice");
            }
        }
        let shorts: Vec<_> = all_rows().filter_map(|row| row.short).collect();
        assert_eq!(shorts.iter().collect::<BTreeSet<_>>().len(), shorts.len());
    }

    #[test]
    fn rows_are_well_formed() {
        for row in all_rows() {
            let well_formed =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            assert!(row.long.bytes().all(well_formed), "--{}", row.long);
            assert!(
                !row.reason.is_empty() && !row.reason.ends_with('.'),
                "--{}",
                row.long
            );
            assert!(row.commands.names().next().is_some(), "--{}", row.long);
            if row.decision == Permission && row.long != "allow-all" {
                assert_eq!(
                    row.value, Optional,
                    "--{} would swallow the script",
                    row.long
                );
            }
        }
    }
}
