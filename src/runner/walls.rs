// SPDX-License-Identifier: MIT
//! Walls around the runner's own helper runs (`--version`, the module graph, downloads, first use of a
//! cache): no other program, no environment but what the request says, and no network but the hosts
//! of a download.
//!
//! Invariant: a helper run is planned, confined and ended by the same code as the program itself.

use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::fetch::{self, FetchRequest, Fetched};
use super::sources::Sources;
use super::{Captured, Confined, ConfinedRequest};
use crate::confine::Confinement;
use crate::host::{FileKind, Host, Opened};
use crate::launch::{self, Ending};
use crate::plan::{
    self, Access, NetSettings, Plan, Program, Request, RequiredPath, Subject, Upstream, Variable,
    VariableSource,
};
use crate::policy::limits::{Limits, Timeout};
use crate::policy::{Origin, Policy};

/// A helper run says more than this only when something is wrong: the graph of 5,000 modules takes
/// about 5 MB.
const OUTPUT_LIMIT: usize = 256 * 1024 * 1024;

/// Far above what the largest graph needs on a slow machine.
const TIME_LIMIT: Duration = Duration::from_secs(300);

/// Downloads of the largest projects over a slow line.
const FETCH_LIMIT: Duration = Duration::from_secs(1800);

/// Names and values, in the Plan's order.
pub type Environment = Vec<(OsString, OsString)>;

/// Runs helper requests behind walls.
#[derive(Clone, Copy)]
pub struct Walls<'a> {
    host: &'a dyn Host,
    best_effort: bool,
    upstream: &'a Upstream,
    announce: &'a dyn Fn(&str),
}

/// As the host has it.
static OWN_UPSTREAM: Upstream = Upstream {
    name_servers: Vec::new(),
    proxy: None,
};

impl std::fmt::Debug for Walls<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Walls")
            .field("best_effort", &self.best_effort)
            .finish_non_exhaustive()
    }
}

impl<'a> Walls<'a> {
    /// Walls on this host; with `best_effort`, as far as its kernel has them.
    pub fn new(host: &'a dyn Host, best_effort: bool) -> Self {
        Self {
            host,
            best_effort,
            upstream: &OWN_UPSTREAM,
            announce: &|_| (),
        }
    }

    /// Downloads go by these name servers and this proxy; `announce` hears of each URL.
    #[must_use]
    pub fn fetching(self, upstream: &'a Upstream, announce: &'a dyn Fn(&str)) -> Self {
        Self {
            upstream,
            announce,
            ..self
        }
    }

    fn require(
        &self,
        path: &Path,
        access: Access,
    ) -> Result<RequiredPath, Box<dyn Error + Send + Sync>> {
        let found = self
            .host
            .inspect(path)
            .map_err(|error| format!("cannot open `{}`: {error}", path.display()))?;
        let access = if found.kind == FileKind::Directory {
            access
        } else {
            access.and(Access::ON_FILE)
        };
        Ok(RequiredPath {
            path: found.real_path,
            kind: found.kind,
            stamp: None,
            access,
            origin: Origin::Runner {
                reason: "prepares the program".into(),
            },
        })
    }

    /// Plans a helper run; `policy` and `network` say what it reaches.
    ///
    /// # Errors
    /// A file of the request cannot be opened, or the Plan cannot be built.
    fn plan(
        &self,
        request: &ConfinedRequest,
        policy: &Policy,
        network: &NetSettings,
        timeout: Option<&Timeout>,
    ) -> Result<(Plan, Environment), Box<dyn Error + Send + Sync>> {
        let mut required = Vec::new();
        for path in &request.read {
            required.push(self.require(path, Access::READ)?);
        }
        for path in &request.write {
            required.push(self.require(path, Access::READ | Access::WRITE)?);
        }
        let variables = request
            .environment
            .iter()
            .map(|(name, value)| Variable {
                name: name.clone(),
                source: VariableSource::Set(value.clone()),
                origin: Origin::Runner {
                    reason: "prepares the program".into(),
                },
            })
            .collect();
        let mut plan = plan::build(
            &Request {
                policy,
                program: Program {
                    path: request.runner.path.clone(),
                    stamp: Some(request.runner.stamp),
                    arguments: request.arguments.clone(),
                    invoked_as: None,
                    directory: request.directory.clone(),
                },
                subject: Subject::Runner,
                required,
                variables,
                env_files: Vec::new(),
                network,
                best_effort: self.best_effort,
                limits: &Limits::default(),
                kept: &[],
                timeout,
                collected: true,
                attended: false,
            },
            self.host,
        )?;
        // The fixed minimum of a run (language, terminal) is not for helper runs.
        plan.environment
            .retain(|variable| matches!(variable.source, VariableSource::Set(_)));
        let environment = plan
            .environment
            .iter()
            .filter_map(|variable| match &variable.source {
                VariableSource::Set(value) => Some((variable.name.clone().into(), value.into())),
                _ => None,
            })
            .collect();
        Ok((plan, environment))
    }
}

impl Confined for Walls<'_> {
    fn capture(&self, request: &ConfinedRequest) -> Result<Captured, Box<dyn Error + Send + Sync>> {
        let policy = Policy::default();
        let (plan, environment) = self.plan(request, &policy, &NetSettings::default(), None)?;
        let confinement = Confinement::prepare(&plan, &environment, Opened::default())?;
        let captured = launch::capture(confinement, OUTPUT_LIMIT, TIME_LIMIT)?;
        let exit = match captured.ending {
            Ending::Exited(code) => Some(code),
            Ending::Signalled(_) | Ending::TimedOut | Ending::TooMuchOutput => None,
        };
        Ok(Captured {
            exit,
            stdout: captured.stdout,
            stderr: captured.stderr,
        })
    }

    fn fetch(
        &self,
        request: &ConfinedRequest,
        sources: &Sources,
        scratch: &Path,
    ) -> Result<Fetched, Box<dyn Error + Send + Sync>> {
        let mut request = FetchRequest::new(request, sources, self.upstream);
        request.best_effort = self.best_effort;
        fetch::run(request, scratch, self.announce)
    }
}

/// Plans what a [`FetchRequest`] asks for, in the process that exists for it.
///
/// # Errors
/// A file of the request cannot be opened, or the Plan cannot be built.
pub fn plan_fetch(
    request: &FetchRequest,
    host: &dyn Host,
) -> Result<(Plan, Environment), Box<dyn Error + Send + Sync>> {
    let walls = Walls::new(host, request.best_effort);
    let (policy, network) = (request.policy(), request.settings());
    let timeout = Timeout {
        after: FETCH_LIMIT,
        origin: Origin::Runner {
            reason: "downloads end some time".into(),
        },
    };
    walls.plan(&request.run, &policy, &network, Some(&timeout))
}
