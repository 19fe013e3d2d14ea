// SPDX-License-Identifier: MIT
//! From a policy and the facts of the host to the Plan.
//!
//! Invariant: the machine is asked only through [`Host`] and nothing is changed; a rule this
//! kernel cannot hold is an error, or with `--best-effort` a [`Gap`].

use std::path::{Path, PathBuf};

use super::error::PlanError;
use super::exec::{Programs, denied_files, resolve_programs};
use super::filesystem::filesystem;
use super::network::{NetSettings, network};
use super::rules::Finished;
use super::syscalls::{Facts, Supervised};
use super::{
    Access, Execution, Filesystem, Gap, Holder, KeptDescriptor, Lifetime, Network, Plan, Program,
    Upstream, Variable, command, environment, gaps, protected,
};
use crate::host::{FileKind, FileStamp, Host, LandlockMissing};
use crate::policy::compose::sys_verdict;
use crate::policy::limits::{Limits, Timeout};
use crate::policy::void_grants::void_grants;
use crate::policy::{Origin, Permission, Policy};

/// The first Landlock ABI with which renaming between directories can be granted at all.
const FLOOR_ABI: u8 = 2;

/// Everything one Plan is made for.
#[derive(Debug)]
pub struct Request<'a> {
    /// What the user granted and denied.
    pub policy: &'a Policy,
    /// What is executed.
    pub program: Program,
    /// Whether that is the runner or a command of the user's.
    pub subject: Subject,
    /// Paths the program cannot start without; denials do not reach them.
    pub required: Vec<RequiredPath>,
    /// Variables with fixed values.
    pub variables: Vec<Variable>,
    /// The names the `--env-file`s define.
    pub env_files: Vec<EnvFile>,
    /// What is said about the network beside the policy.
    pub network: &'a NetSettings,
    /// What the kernel cannot hold becomes a gap instead of an error.
    pub best_effort: bool,
    /// Descriptors of the caller that the target gets.
    pub kept: &'a [KeptDescriptor],
    /// What the run may use of the machine.
    pub limits: &'a Limits,
    /// When the run is ended.
    pub timeout: Option<&'a Timeout>,
    /// A preparation: collected output, so a waiter is always there.
    pub collected: bool,
    /// There is something to do at its end, so a waiter is there.
    pub attended: bool,
}

/// What a Plan is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The runner, which executes a program of its own language.
    Runner,
    /// A command, for which nobody checks anything but the kernel and the supervisor.
    Command {
        /// The command as it was found; links are followed, but a version manager's shim is still
        /// its own.
        path: PathBuf,
        /// Where programs are looked up, from `command::search_path`.
        search: Vec<command::Searched>,
        /// The directory made for this run alone, removed after it; without one, nothing can be
        /// written that no grant names.
        private: Option<PathBuf>,
    },
}

impl Subject {
    /// The origin of what every run of this kind has.
    pub(super) fn origin(&self, reason: &'static str) -> Origin {
        let reason = reason.into();
        match self {
            Self::Runner => Origin::Runner { reason },
            Self::Command { .. } => Origin::Exec { reason },
        }
    }

    /// Whether it is a command.
    pub(super) fn is_command(&self) -> bool {
        matches!(self, Self::Command { .. })
    }

    /// The directory made for this run alone.
    pub(super) fn private(&self) -> Option<&Path> {
        match self {
            Self::Runner => None,
            Self::Command { private, .. } => private.as_deref(),
        }
    }
}

/// A path granted because the program cannot start without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredPath {
    /// The path without links.
    pub path: PathBuf,
    /// Its kind.
    pub kind: FileKind,
    /// The version that was judged.
    pub stamp: Option<FileStamp>,
    /// The rights it gets.
    pub access: Access,
    /// Why.
    pub origin: Origin,
}

/// The names one `--env-file` defines; values stay with the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvFile {
    /// The file as it was named.
    pub path: PathBuf,
    /// Its names, in order.
    pub names: Vec<String>,
}

/// Builds the Plan.
///
/// # Errors
/// When a grant cannot be opened, names something that may never be granted, or needs what this
/// kernel does not have.
pub fn build(request: &Request<'_>, host: &dyn Host) -> Result<Plan, PlanError> {
    let policy = request.policy;
    let mut gaps = Vec::new();
    let abi = kernel_floor(request.best_effort, host, &mut gaps)?;
    let network = network(policy, request.network);
    let (execution, programs) = execution(policy, host)?;
    if let Some(rule) = execution_rule(&execution)
        && abi < 6
    {
        degrade(
            request.best_effort,
            &mut gaps,
            rule,
            "Landlock's signal scope (ABI 6)",
            "Linux 6.12 has it",
            "children can send signals to processes of the same user outside the run",
        )?;
    }
    let limits = super::limits::build(request, host, &execution, &mut gaps)?;
    let handled = Access::known_to(abi);
    let (rules, created) = filesystem(request, host, &execution, &network, &mut gaps)?;
    let Finished {
        mut rules,
        denied,
        notices,
    } = rules.finish(handled);
    // Without Landlock nothing would hold what the supervisor does not see, and what prepares a
    // program has no grants of the user's.
    let protected = if abi >= FLOOR_ABI && !request.collected {
        protected::withhold(request, host, &mut rules)
    } else {
        Vec::new()
    };
    // A denial of what does not exist yet is held where the supervisor makes what comes.
    gaps.retain(|gap| {
        !protected
            .iter()
            .any(|one| one.denied && gap.origin.is_some() && one.origin == gap.origin)
    });
    let internet = network != Network::None;
    let supervised_network = matches!(network, Network::Rules(_));
    let any_network = matches!(network, Network::Any(_));
    // Below that ABI bare `--allow-net` cannot be held to the granted paths; with `-A` nothing has
    // to be.
    let unix = supervised_network || (any_network && (abi >= 9 || policy.all.is_some()));
    let netlink = any_network || sys_granted(policy, "networkInterfaces");
    let processes = execution != Execution::None;
    let mut all_notices = programs.notices;
    all_notices.extend(void_grants(policy).into_iter().map(|grant| {
        format!(
            "`{}` has no effect: `{}` wins over it",
            grant.allow, grant.deny
        )
    }));
    all_notices.extend(notices);
    if !supervised_network && request.network.upstream != Upstream::default() {
        all_notices.push(
            "`--dns` and `--upstream-proxy` have no effect: no rule for a host is in force"
                .to_owned(),
        );
    }
    let environment = environment::build(
        request,
        host,
        &environment::Facts {
            path_prefix: &programs.path_prefix,
            rules: &rules,
            processes,
            judged_network: supervised_network,
        },
    )?;
    let mut plan = Plan {
        program: request.program.clone(),
        filesystem: Filesystem {
            abi,
            handled,
            rules,
            created,
            denied,
            protected,
        },
        environment,
        private: request.subject.private().map(Path::to_path_buf),
        execution,
        network,
        upstream: request.network.upstream.clone(),
        syscalls: Facts {
            processes,
            internet,
            kept: !request.kept.is_empty(),
            supervised: Supervised {
                network: supervised_network,
                attributes: false,
                writes: false,
                injected: supervised_network && !host.takes_descriptors(),
            },
            unix,
            netlink,
            devices: false,
            landlock_abi: abi,
        },
        scoped: abi >= 6,
        lifetime: Lifetime {
            waiter: false,
            timeout: request.timeout.cloned(),
        },
        limits,
        kept: request.kept.to_vec(),
        gaps,
        notices: all_notices,
    };
    plan.syscalls.devices = plan
        .filesystem
        .rules
        .iter()
        .any(|rule| rule.access.contains(Access::IOCTL_DEV));
    plan.syscalls.supervised.attributes = changes_attributes(&plan, request).is_some();
    plan.syscalls.supervised.writes = !plan.filesystem.protected.is_empty();
    plan.lifetime.waiter = processes
        || plan.syscalls.supervised.any()
        || request.collected
        || request.attended
        || request.timeout.is_some()
        || plan.private.is_some()
        || !plan.limits.held.is_empty()
        || !plan.filesystem.created.is_empty();
    let following = gaps::follow(&plan, request);
    plan.gaps.extend(following);
    plan.kept.sort();
    plan.gaps.sort();
    plan.gaps.dedup();
    plan.notices.dedup();
    Ok(plan)
}

/// Whether this kernel has what every Plan needs, asked before anything is written or unpacked.
///
/// # Errors
/// [`PlanError::Kernel`]: no seccomp filters, or no Landlock and no `--best-effort`.
pub fn check_kernel(best_effort: bool, host: &dyn Host) -> Result<(), PlanError> {
    kernel_floor(best_effort, host, &mut Vec::new()).map(drop)
}

/// The Landlock ABI to plan for; below the floor only `--best-effort` goes on, without rules.
fn kernel_floor(best_effort: bool, host: &dyn Host, gaps: &mut Vec<Gap>) -> Result<u8, PlanError> {
    let kernel = host.kernel();
    if !kernel.seccomp_filter {
        return Err(PlanError::Kernel {
            rule: "every run".to_owned(),
            feature: "seccomp filters",
            since: "Linux 3.17 built with CONFIG_SECCOMP_FILTER, not refused by an outer sandbox",
            degradable: false,
        });
    }
    if kernel.landlock_abi >= FLOOR_ABI {
        return Ok(kernel.landlock_abi);
    }
    let since = match kernel.landlock_missing {
        Some(LandlockMissing::Disabled) => {
            "this kernel has Landlock switched off: add `landlock` to the `lsm=` boot parameter"
        }
        // Not what the kernel lacks, so nothing that `--best-effort` may go on without.
        Some(LandlockMissing::NoDescriptors) => return Err(PlanError::NoDescriptors),
        Some(LandlockMissing::Refused) => {
            "an outer sandbox refuses Landlock's system calls: run outside it, or let it allow them"
        }
        Some(LandlockMissing::NotBuilt) | None => {
            "Linux 5.19 or newer with CONFIG_SECURITY_LANDLOCK has it"
        }
    };
    degrade(
        best_effort,
        gaps,
        "every run".to_owned(),
        "Landlock (ABI 2)",
        since,
        "no file rule is held by the kernel",
    )?;
    Ok(0)
}

/// An error, or with `--best-effort` a gap.
fn degrade(
    best_effort: bool,
    gaps: &mut Vec<Gap>,
    rule: String,
    feature: &'static str,
    since: &'static str,
    loss: &str,
) -> Result<(), PlanError> {
    if !best_effort {
        return Err(PlanError::Kernel {
            rule,
            feature,
            since,
            degradable: true,
        });
    }
    gaps.push(Gap {
        what: format!("{loss}, because this kernel lacks {feature}"),
        held_by: Holder::Nobody,
        origin: Some(Origin::flag("--best-effort", None)),
    });
    Ok(())
}

fn execution_rule(execution: &Execution) -> Option<String> {
    match execution {
        Execution::None => None,
        Execution::List(programs) => programs.first().map(|program| program.origin.to_string()),
        Execution::Any(origin) => Some(origin.to_string()),
    }
}

fn execution(policy: &Policy, host: &dyn Host) -> Result<(Execution, Programs), PlanError> {
    let Permission { allow, deny, .. } = &policy.run;
    if deny.all.is_some() {
        return Ok((Execution::None, Programs::default()));
    }
    if let Some(origin) = allow.all.as_ref().or(policy.all.as_ref()) {
        return Ok((Execution::Any(origin.clone()), Programs::default()));
    }
    if allow.entries.is_empty() {
        return Ok((Execution::None, Programs::default()));
    }
    let denied = denied_files(host, &deny.entries)?;
    let mut programs = resolve_programs(host, &allow.entries)?;
    programs.granted.retain(|program| {
        let file = denied
            .iter()
            .any(|(found, _)| found.real_path == program.path);
        let name = deny.entries.iter().any(|entry| entry.text == program.name);
        !file && !name
    });
    if programs.granted.is_empty() {
        return Ok((Execution::None, programs));
    }
    Ok((Execution::List(programs.granted.clone()), programs))
}

/// What lets something be written, if anything does: modes, owners, times and attributes inside it
/// are changed by the supervisor, since neither Landlock nor a filter can judge them.
pub(super) fn changes_attributes(plan: &Plan, request: &Request<'_>) -> Option<Origin> {
    let private = || {
        let reason = "the directory made for this run alone";
        plan.private
            .is_some()
            .then(|| request.subject.origin(reason))
    };
    written(plan, request).or_else(private)
}

/// The first user grant that lets something be written, if any.
pub(super) fn written(plan: &Plan, request: &Request<'_>) -> Option<Origin> {
    let policy = request.policy;
    if policy.write.deny.all.is_some() {
        return None;
    }
    let allow = &policy.write.allow;
    let first = allow.entries.first().map(|entry| &entry.origin);
    let granted = policy.all.as_ref().or(allow.all.as_ref()).or(first)?;
    plan.filesystem
        .rules
        .iter()
        .any(|rule| (rule.access | rule.brokered).intersects(Access::WRITE))
        .then(|| granted.clone())
}

/// Whether a kind of system information is granted and not denied.
pub(super) fn sys_granted(policy: &Policy, kind: &str) -> bool {
    sys_verdict(policy, kind).allowed().is_some()
}
