// SPDX-License-Identifier: MIT
//! From a policy and the facts of the host to the Plan.
//!
//! Invariant: the machine is asked only through [`Host`] and nothing is changed; a rule this
//! kernel cannot hold is an error, or with `--best-effort` a [`Gap`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::built_in::{self, Condition};
use super::error::PlanError;
use super::exec::{Programs, resolve_interpreters, resolve_programs, search_path};
use super::paths::{Resolved, devices, normalize, resolve_grant, top_level};
use super::rules::{Denial, Finished, Rules};
use super::syscalls::Facts;
use super::{
    Access, CreatedPath, Execution, Filesystem, Gap, Holder, Lifetime, Network, Plan, Program,
    Variable, environment, gaps,
};
use crate::host::{FileKind, FileStamp, Host, Inspected, LandlockMissing};
use crate::policy::{
    Entry, NetDescriptor, Origin, PathDescriptor, Permission, Policy, Rules as PolicyRules,
};

/// The first Landlock ABI with which renaming between directories can be granted at all.
const FLOOR_ABI: u8 = 2;

/// Everything one Plan is made for.
#[derive(Debug)]
pub struct Request<'a> {
    /// What the user granted and denied.
    pub policy: &'a Policy,
    /// What is executed.
    pub program: Program,
    /// Paths the program cannot start without; denials do not reach them.
    pub required: Vec<RequiredPath>,
    /// Variables with fixed values.
    pub variables: Vec<Variable>,
    /// The names the `--env-file`s define.
    pub env_files: Vec<EnvFile>,
    /// What the kernel cannot hold becomes a gap instead of an error.
    pub best_effort: bool,
    /// When the run is ended.
    pub timeout: Option<Duration>,
    /// Whether Deno checks permissions, too; it does not in `eval`.
    pub runner_checks: bool,
    /// A preparation: collected output, so a waiter is always there.
    pub collected: bool,
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
    let abi = kernel_floor(request, host, &mut gaps)?;
    let network = network(policy)?;
    let (execution, programs) = execution(policy, host)?;
    if let Some(rule) = execution_rule(&execution)
        && abi < 6
    {
        degrade(
            request,
            &mut gaps,
            rule,
            "Landlock's signal scope (ABI 6)",
            "Linux 6.12 has it",
            "children can send signals to processes of the same user outside the run",
        )?;
    }
    let handled = Access::known_to(abi);
    let (finished, created) = filesystem(request, host, &execution, &network, &mut gaps)?;
    let Finished {
        rules,
        denied,
        notices,
    } = finished.finish(handled);
    let unix = policy.all.is_some() || (network != Network::None && abi >= 9);
    let netlink = network != Network::None
        || policy.all.is_some()
        || sys_granted(policy, "networkInterfaces");
    let processes = execution != Execution::None;
    let mut all_notices = programs.notices;
    all_notices.extend(notices);
    let mut plan = Plan {
        program: request.program.clone(),
        filesystem: Filesystem {
            abi,
            handled,
            rules,
            created,
            denied,
        },
        environment: environment::build(request, host, &programs.path_prefix, processes)?,
        execution,
        network,
        syscalls: Facts {
            processes,
            internet: false,
            unix,
            netlink,
            landlock_abi: abi,
        },
        scoped: abi >= 6,
        lifetime: Lifetime {
            waiter: false,
            timeout: request.timeout,
        },
        gaps,
        notices: all_notices,
    };
    plan.syscalls.internet = plan.network != Network::None;
    plan.lifetime.waiter = processes
        || request.collected
        || request.timeout.is_some()
        || !plan.filesystem.created.is_empty();
    let following = gaps::follow(&plan, request);
    plan.gaps.extend(following);
    plan.gaps.sort();
    plan.gaps.dedup();
    plan.notices.dedup();
    Ok(plan)
}

/// The Landlock ABI to plan for; below the floor only `--best-effort` goes on, without rules.
fn kernel_floor(
    request: &Request<'_>,
    host: &dyn Host,
    gaps: &mut Vec<Gap>,
) -> Result<u8, PlanError> {
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
        Some(LandlockMissing::Refused) => {
            "an outer sandbox refuses Landlock's system calls: run outside it, or let it allow them"
        }
        Some(LandlockMissing::NotBuilt) | None => {
            "Linux 5.19 or newer with CONFIG_SECURITY_LANDLOCK has it"
        }
    };
    degrade(
        request,
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
    request: &Request<'_>,
    gaps: &mut Vec<Gap>,
    rule: String,
    feature: &'static str,
    since: &'static str,
    loss: &str,
) -> Result<(), PlanError> {
    if !request.best_effort {
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

/// Which sockets: all or none. A rule for one host is refused, since nothing could hold it.
fn network(policy: &Policy) -> Result<Network, PlanError> {
    let Permission { allow, deny, .. } = &policy.net;
    if deny.all.is_some() {
        return Ok(Network::None);
    }
    let refuse = |entries: &[Entry<NetDescriptor>]| match entries.first() {
        Some(entry) => Err(PlanError::HostRule {
            origin: entry.origin.clone(),
        }),
        None => Ok(()),
    };
    let all = allow.all.as_ref().or(policy.all.as_ref());
    match all {
        Some(origin) => {
            refuse(&deny.entries)?;
            Ok(Network::Any(origin.clone()))
        }
        None => {
            refuse(&allow.entries)?;
            Ok(Network::None)
        }
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
    let denied = resolve_programs(host, &deny.entries).unwrap_or_default();
    let mut programs = resolve_programs(host, &allow.entries)?;
    programs.granted.retain(|program| {
        !denied
            .granted
            .iter()
            .any(|other| other.path == program.path || other.name == program.name)
    });
    if programs.granted.is_empty() {
        return Ok((Execution::None, programs));
    }
    Ok((Execution::List(programs.granted.clone()), programs))
}

fn filesystem(
    request: &Request<'_>,
    host: &dyn Host,
    execution: &Execution,
    network: &Network,
    gaps: &mut Vec<Gap>,
) -> Result<(Rules, Vec<CreatedPath>), PlanError> {
    let policy = request.policy;
    let mut denials = Vec::new();
    resolve_denials(host, &policy.read.deny, Access::READ, &mut denials, gaps);
    resolve_denials(host, &policy.read.ignore, Access::READ, &mut denials, gaps);
    resolve_denials(host, &policy.write.deny, Access::WRITE, &mut denials, gaps);
    denied_programs(host, policy, execution, &mut denials);
    let mut rules = Rules::new(denials);
    let mut created = Vec::new();

    let mut read = Access::READ;
    if matches!(execution, Execution::Any(_)) {
        read |= Access::EXECUTE;
    }
    let mut write = Access::WRITE;
    if *network != Network::None {
        write |= Access::RESOLVE_UNIX;
    }
    // Write grants first: what they create is there for a read grant of the same path.
    grant_paths(
        host,
        &mut rules,
        &policy.write,
        policy.all.as_ref(),
        write,
        &mut created,
    )?;
    grant_paths(
        host,
        &mut rules,
        &policy.read,
        policy.all.as_ref(),
        read,
        &mut created,
    )?;
    grant_paths(
        host,
        &mut rules,
        &policy.ffi,
        None,
        Access::READ_FILE,
        &mut created,
    )?;
    if let (Some(origin), None) = (&policy.all, &policy.read.deny.all) {
        for path in ["/proc", "/sys", "/dev"] {
            if let Ok(found) = host.inspect(Path::new(path)) {
                rules.grant(host, &found, Access::READ, origin)?;
            }
        }
    }
    if let (Some(origin), None) = (&policy.all, &policy.write.deny.all) {
        for found in devices(host, Path::new("/dev"), origin)? {
            rules.grant(host, &found, Access::WRITE | Access::IOCTL_DEV, origin)?;
        }
        rules.own_process(
            Path::new("/proc/self"),
            Access::READ | Access::WRITE_FILE,
            origin,
        );
    }
    grant_execution(request, host, &mut rules, execution)?;
    grant_built_in(request, host, &mut rules, execution, network)?;
    for required in &request.required {
        let found = Inspected {
            real_path: required.path.clone(),
            kind: required.kind,
            stamp: required.stamp.unwrap_or(FileStamp {
                device: 0,
                inode: 0,
                size: 0,
                modified_ns: 0,
                changed_ns: 0,
            }),
            mode: 0,
            uid: 0,
        };
        rules.require(&found, required.access, required.stamp, &required.origin);
    }
    Ok((rules, created))
}

fn resolve_denials(
    host: &dyn Host,
    list: &PolicyRules<PathDescriptor>,
    access: Access,
    denials: &mut Vec<Denial>,
    gaps: &mut Vec<Gap>,
) {
    for entry in &list.entries {
        let path = normalize(host.current_directory(), &entry.descriptor.path);
        match host.inspect(&path) {
            Ok(found) => denials.push(Denial {
                found,
                access,
                origin: entry.origin.clone(),
            }),
            Err(_) => gaps.push(Gap {
                what: format!(
                    "`{}` does not exist now: if it appears during the run inside a grant, native \
                     code can reach it",
                    path.display()
                ),
                held_by: Holder::Runner,
                origin: Some(entry.origin.clone()),
            }),
        }
    }
}

/// Denied programs are not executed, and granted ones are not written: their inode keeps its
/// right to be executed whatever its content.
fn denied_programs(
    host: &dyn Host,
    policy: &Policy,
    execution: &Execution,
    denials: &mut Vec<Denial>,
) {
    if let Ok(programs) = resolve_programs(host, &policy.run.deny.entries) {
        for program in programs.granted {
            denials.extend(host.inspect(&program.path).ok().map(|found| Denial {
                found,
                access: Access::EXECUTE,
                origin: program.origin.clone(),
            }));
        }
    }
    if let Execution::List(programs) = execution {
        for program in programs {
            for path in program.interpreters.iter().chain([&program.path]) {
                denials.extend(host.inspect(path).ok().map(|found| Denial {
                    found,
                    access: Access::WRITE,
                    origin: program.origin.clone(),
                }));
            }
        }
    }
}

fn grant_paths(
    host: &dyn Host,
    rules: &mut Rules,
    permission: &Permission<PathDescriptor>,
    all: Option<&Origin>,
    access: Access,
    created: &mut Vec<CreatedPath>,
) -> Result<(), PlanError> {
    if permission.deny.all.is_some() || permission.ignore.all.is_some() {
        return Ok(());
    }
    if let Some(origin) = permission.allow.all.as_ref().or(all) {
        grant_everything(host, rules, access, origin)?;
    }
    for entry in &permission.allow.entries {
        match resolve_grant(host, entry, access)? {
            Resolved::Found(found) if found.real_path == Path::new("/") => {
                grant_everything(host, rules, access, &entry.origin)?;
            }
            Resolved::Found(found)
                if access.intersects(Access::WRITE) && found.real_path == Path::new("/dev") =>
            {
                for device in devices(host, &found.real_path, &entry.origin)? {
                    rules.grant(host, &device, access | Access::IOCTL_DEV, &entry.origin)?;
                }
            }
            Resolved::Found(found) => {
                let device = found.kind == FileKind::CharacterDevice;
                let access = if device {
                    access | Access::IOCTL_DEV
                } else {
                    access
                };
                rules.grant(host, &found, access, &entry.origin)?;
            }
            Resolved::Create(path) => {
                rules.created(&path.path, path.directory, access, &entry.origin);
                created.push(path);
            }
            Resolved::OwnProcess(path) => rules.own_process(&path, access, &entry.origin),
        }
    }
    Ok(())
}

fn grant_everything(
    host: &dyn Host,
    rules: &mut Rules,
    access: Access,
    origin: &Origin,
) -> Result<(), PlanError> {
    for found in top_level(host, origin)? {
        rules.grant(host, &found, access, origin)?;
    }
    Ok(())
}

/// The program itself with its loader, and the programs it may start with theirs.
fn grant_execution(
    request: &Request<'_>,
    host: &dyn Host,
    rules: &mut Rules,
    execution: &Execution,
) -> Result<(), PlanError> {
    let origin = Origin::Runner {
        reason: "the program that is run".to_owned(),
    };
    let program = open(host, &request.program.path, &origin)?;
    let execute = Access::EXECUTE | Access::READ_FILE;
    rules.require(&program, execute, request.program.stamp, &origin);
    let loader = Origin::Runner {
        reason: "loads the program".to_owned(),
    };
    let libraries = Origin::Runner {
        reason: "the program's shared libraries".to_owned(),
    };
    for path in resolve_interpreters(host, &program, &origin, &mut Vec::new())? {
        let found = open(host, &path, &loader)?;
        rules.require(&found, execute, None, &loader);
        if let Some(directory) = found.real_path.parent() {
            let found = open(host, directory, &libraries)?;
            rules.require(&found, Access::READ, None, &libraries);
        }
    }
    match execution {
        Execution::None => {}
        Execution::List(programs) => {
            for program in programs {
                for path in program.interpreters.iter().chain([&program.path]) {
                    let found = open(host, path, &program.origin)?;
                    rules.grant(host, &found, execute, &program.origin)?;
                }
                for directory in own_libraries(&program.path) {
                    if let Ok(found) = host.inspect(&directory) {
                        rules.grant(host, &found, Access::READ, &program.origin)?;
                    }
                }
            }
        }
        Execution::Any(origin) => {
            let system = ["/usr", "/bin", "/sbin", "/lib", "/lib64"].map(PathBuf::from);
            for path in system.into_iter().chain(search_path(host)) {
                if let Ok(found) = host.inspect(&path) {
                    rules.grant(host, &found, Access::READ | Access::EXECUTE, origin)?;
                }
            }
        }
    }
    Ok(())
}

/// Where a program outside the system directories keeps its libraries: `P/lib` for `P/bin/NAME`.
fn own_libraries(program: &Path) -> Vec<PathBuf> {
    let Some(prefix) = program
        .parent()
        .filter(|directory| directory.file_name().is_some_and(|name| name == "bin"))
        .and_then(Path::parent)
    else {
        return Vec::new();
    };
    ["lib", "lib64", "libexec"]
        .iter()
        .map(|name| prefix.join(name))
        .collect()
}

fn grant_built_in(
    request: &Request<'_>,
    host: &dyn Host,
    rules: &mut Rules,
    execution: &Execution,
    network: &Network,
) -> Result<(), PlanError> {
    let policy = request.policy;
    let ffi =
        policy.ffi.deny.all.is_none() && (policy.all.is_some() || !policy.ffi.allow.is_empty());
    for rule in built_in::rules()? {
        let applies = match &rule.when {
            Condition::Always => true,
            Condition::Net => *network != Network::None,
            Condition::Run => *execution != Execution::None,
            Condition::Ffi => ffi,
            Condition::Sys(kind) => sys_granted(policy, kind),
        };
        if !applies {
            continue;
        }
        if rule.path.starts_with("/proc/self") {
            rules.own_process(&rule.path, rule.access, &rule.origin);
        } else if let Ok(found) = host.inspect(&rule.path) {
            rules.grant(host, &found, rule.access, &rule.origin)?;
        }
    }
    Ok(())
}

/// Whether a kind of system information is granted and not denied.
pub(super) fn sys_granted(policy: &Policy, kind: &str) -> bool {
    let Permission { allow, deny, .. } = &policy.sys;
    let named = |entries: &[Entry<crate::policy::SysDescriptor>]| {
        entries.iter().any(|entry| entry.descriptor.0 == kind)
    };
    let granted = policy.all.is_some() || allow.all.is_some() || named(&allow.entries);
    granted && deny.all.is_none() && !named(&deny.entries)
}

fn open(host: &dyn Host, path: &Path, origin: &Origin) -> Result<Inspected, PlanError> {
    host.inspect(path).map_err(|source| PlanError::OpenGrant {
        origin: origin.clone(),
        path: path.to_path_buf(),
        source,
    })
}
