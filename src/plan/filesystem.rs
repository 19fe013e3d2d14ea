// SPDX-License-Identifier: MIT
//! The file rules of a Plan: grants, denials, the program with its loader, the shipped lists.
//!
//! Invariant: what the target needs to start is `require`d; everything else goes through `grant`,
//! which respects every denial.

use std::path::{Path, PathBuf};

use super::build::{Request, sys_granted};
use super::built_in::{self, Condition};
use super::error::PlanError;
use super::exec::{denied_files, inspect_denied, resolve_interpreters, search_path};
use super::links::Written;
use super::paths::{Resolved, devices, normalize, resolve_grant, top_level};
use super::rules::{Denial, Rules};
use super::{Access, CreatedPath, Execution, Gap, Holder, Network, command};
use crate::host::{FileKind, FileStamp, Host, Inspected};
use crate::policy::{Origin, PathDescriptor, Permission, Policy, Rules as PolicyRules};

/// All file rules of one request, and the paths to create before the start.
///
/// # Errors
/// When a grant cannot be opened or may never be granted, or a denial cannot be held.
pub(super) fn filesystem(
    request: &Request<'_>,
    host: &dyn Host,
    execution: &Execution,
    network: &Network,
    gaps: &mut Vec<Gap>,
) -> Result<(Rules, Vec<CreatedPath>), PlanError> {
    let policy = request.policy;
    let mut denials = Vec::new();
    resolve_denials(host, &policy.read.deny, Access::READ, &mut denials, gaps)?;
    resolve_denials(host, &policy.read.ignore, Access::READ, &mut denials, gaps)?;
    resolve_denials(host, &policy.write.deny, Access::WRITE, &mut denials, gaps)?;
    denied_programs(host, policy, execution, &mut denials)?;
    let mut rules = Rules::new(denials);
    let mut created = Vec::new();

    let mut read = Access::READ;
    if matches!(execution, Execution::Any(_)) {
        read |= Access::EXECUTE;
    }
    let mut write = Access::WRITE;
    if network.grants_something() {
        write |= Access::RESOLVE_UNIX;
    }
    let written = Written::of(host, policy);
    // Write grants first: what they create is there for a read grant of the same path.
    grant_paths(
        host,
        &mut rules,
        &policy.write,
        policy.all.as_ref(),
        write,
        &mut created,
        &written,
    )?;
    grant_paths(
        host,
        &mut rules,
        &policy.read,
        policy.all.as_ref(),
        read,
        &mut created,
        &written,
    )?;
    grant_libraries(host, &mut rules, &policy.ffi, &written)?;
    if let (Some(origin), None) = (&policy.all, &policy.read.deny.all) {
        for path in ["/proc", "/sys"] {
            if let Ok(found) = host.inspect(Path::new(path)) {
                rules.grant(host, &found, Access::READ, origin)?;
            }
        }
        grant_devices(host, &mut rules, Access::READ, origin)?;
    }
    if let (Some(origin), None) = (&policy.all, &policy.write.deny.all) {
        grant_devices(host, &mut rules, Access::WRITE, origin)?;
        rules.own_process(
            Path::new("/proc/self"),
            FileKind::Directory,
            Access::READ | Access::WRITE_FILE,
            origin,
        );
    }
    grant_execution(request, host, &mut rules, execution)?;
    command::grant(request, host, &mut rules, execution)?;
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
) -> Result<(), PlanError> {
    for entry in &list.entries {
        let path = normalize(host.current_directory(), &entry.descriptor.path);
        match inspect_denied(host, &path, &entry.origin)? {
            Some(found) => denials.push(Denial {
                found,
                access,
                origin: entry.origin.clone(),
            }),
            None => gaps.push(Gap {
                what: format!(
                    "`{}` does not exist or cannot be reached now: if it appears during the run inside a grant, native \
                     code can reach it",
                    path.display()
                ),
                held_by: Holder::Runner,
                origin: Some(entry.origin.clone()),
            }),
        }
    }
    Ok(())
}

/// Denied programs are not executed, and granted ones are not written: their inode keeps its
/// right to be executed whatever its content.
fn denied_programs(
    host: &dyn Host,
    policy: &Policy,
    execution: &Execution,
    denials: &mut Vec<Denial>,
) -> Result<(), PlanError> {
    for (found, origin) in denied_files(host, &policy.run.deny.entries)? {
        denials.push(Denial {
            found,
            access: Access::EXECUTE,
            origin,
        });
    }
    if let Execution::List(programs) = execution {
        for program in programs {
            for path in program.interpreters.iter().chain([&program.path]) {
                denials.push(Denial {
                    found: open(host, path, &program.origin)?,
                    access: Access::WRITE,
                    origin: program.origin.clone(),
                });
            }
        }
    }
    Ok(())
}

fn grant_paths(
    host: &dyn Host,
    rules: &mut Rules,
    permission: &Permission<PathDescriptor>,
    all: Option<&Origin>,
    access: Access,
    created: &mut Vec<CreatedPath>,
    written: &Written,
) -> Result<(), PlanError> {
    if permission.deny.all.is_some() || permission.ignore.all.is_some() {
        return Ok(());
    }
    if let Some(origin) = permission.allow.all.as_ref().or(all) {
        grant_everything(host, rules, access, origin)?;
    }
    for entry in &permission.allow.entries {
        match resolve_grant(host, entry, access, created, written)? {
            Resolved::Found(found) if found.real_path.as_os_str() == "/" => {
                grant_everything(host, rules, access, &entry.origin)?;
            }
            Resolved::Found(found) if found.real_path.as_os_str() == "/dev" => {
                grant_devices(host, rules, access, &entry.origin)?;
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
                if !created.iter().any(|other| other.path == path.path) {
                    created.push(path);
                }
            }
            Resolved::OwnProcess(path, kind) => {
                rules.own_process(&path, kind, access, &entry.origin);
            }
        }
    }
    Ok(())
}

/// Libraries named by `--allow-ffi`: readable, which is all that loading needs. A bare name is
/// looked up by the loader in the system's directories, which the shipped list grants; the bare
/// flag adds nothing, since a library must be readable by some other grant.
fn grant_libraries(
    host: &dyn Host,
    rules: &mut Rules,
    ffi: &Permission<PathDescriptor>,
    written: &Written,
) -> Result<(), PlanError> {
    if ffi.deny.all.is_some() {
        return Ok(());
    }
    for entry in &ffi.allow.entries {
        let bare_name = entry.descriptor.path.components().count() == 1;
        match resolve_grant(host, entry, Access::READ_FILE, &[], written) {
            Ok(Resolved::Found(found)) => {
                rules.grant(host, &found, Access::READ_FILE, &entry.origin)?;
            }
            Ok(_) => {}
            Err(PlanError::OpenGrant { .. }) if bare_name => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// `/dev` without its block devices: reading or writing a disk goes around every file rule.
fn grant_devices(
    host: &dyn Host,
    rules: &mut Rules,
    access: Access,
    origin: &Origin,
) -> Result<(), PlanError> {
    let directory = Path::new("/dev");
    for device in devices(host, directory, origin)? {
        rules.grant(host, &device, access | Access::IOCTL_DEV, origin)?;
    }
    if access.intersects(Access::READ_DIR) {
        let found = open(host, directory, origin)?;
        rules.grant(host, &found, Access::READ_DIR, origin)?;
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
    let origin = request.subject.origin("the program that is run");
    let program = open(host, &request.program.path, &origin)?;
    let execute = Access::EXECUTE | Access::READ_FILE;
    rules.require(&program, execute, request.program.stamp, &origin);
    let loader = request.subject.origin("loads the program");
    let libraries = request.subject.origin("the program's shared libraries");
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
                    for (directory, access) in own_directories(path) {
                        if let Ok(found) = host.inspect(&directory) {
                            rules.grant(host, &found, access, &program.origin)?;
                        }
                    }
                }
            }
        }
        Execution::Any(origin) => {
            let mut directories = SYSTEM.map(PathBuf::from).to_vec();
            // A command's were looked at by `command::search_path`.
            if !request.subject.is_command() {
                directories.extend(search_path(host));
            }
            for path in directories {
                if let Ok(found) = host.inspect(&path) {
                    rules.grant(host, &found, Access::READ | Access::EXECUTE, origin)?;
                }
            }
        }
    }
    Ok(())
}

/// Where the system keeps its programs.
const SYSTEM: [&str; 5] = ["/usr", "/bin", "/sbin", "/lib", "/lib64"];

/// Directories of helper programs that a program is useless without, below its prefix.
const HELPERS: [(&str, &str); 2] = [("git", "libexec/git-core"), ("git", "lib/git-core")];

/// Where a program keeps its libraries and helper programs: `P/lib` for `P/bin/NAME`.
fn own_directories(program: &Path) -> Vec<(PathBuf, Access)> {
    let Some(prefix) = program
        .parent()
        .filter(|directory| directory.file_name().is_some_and(|name| name == "bin"))
        .and_then(Path::parent)
    else {
        return Vec::new();
    };
    let libraries = ["lib", "lib64", "libexec"]
        .iter()
        .map(|name| (prefix.join(name), Access::READ));
    let helpers = HELPERS
        .iter()
        .filter(|(name, _)| program.file_name().is_some_and(|file| file == *name))
        .map(|(_, directory)| (prefix.join(directory), Access::READ | Access::EXECUTE));
    libraries.chain(helpers).collect()
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
    for line in built_in::lines(request.subject.is_command()) {
        let applies = match line.when {
            Condition::Always => true,
            Condition::Net => network.grants_something(),
            // What children need is what commands need, and stands in their own list.
            Condition::Run => *execution != Execution::None && !request.subject.is_command(),
            Condition::Ffi => ffi,
            Condition::Sys(kind) => sys_granted(policy, kind),
        };
        let path = line.path();
        if !applies {
            continue;
        }
        if path.starts_with("/proc/self") {
            rules.own_process(path, FileKind::File, line.access(), &line.origin());
        } else if let Ok(found) = host.inspect(path) {
            rules.grant(host, &found, line.access(), &line.origin())?;
        }
    }
    Ok(())
}

fn open(host: &dyn Host, path: &Path, origin: &Origin) -> Result<Inspected, PlanError> {
    host.inspect(path).map_err(|source| PlanError::OpenGrant {
        origin: origin.clone(),
        path: path.to_path_buf(),
        source,
    })
}
