// SPDX-License-Identifier: MIT
//! Turns a Plan into walls: everything is opened, compiled and laid out first, then applied to the
//! process that becomes the target.
//!
//! Invariant: [`Confinement::prepare`] may fail for any reason and has changed nothing;
//! [`Confinement::apply_and_execute`] allocates nothing, only narrows, and returns only when the
//! target was not started.
#![forbid(unsafe_code)]

mod bpf;
mod error;
pub mod filter;
mod landlock;
mod open;
#[cfg(test)]
mod simulate;

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::fchdir;

pub use error::{ApplyFailure, ApplyStep, ConfineError};
pub use filter::FilterError;

use crate::host::Opened;
use crate::plan::limits::{LimitKind, Limits};
use crate::plan::syscalls::Architecture;
use crate::plan::{Plan, Program, syscalls};
use crate::sys::execute::Image;
use crate::sys::limits::{ResourceLimit, tasks_of};
use crate::sys::{self, handover, privileges};

/// Everything that is needed to become the target, ready.
#[derive(Debug)]
pub struct Confinement {
    /// Held open so that `image` can name it by number.
    _program: OwnedFd,
    directory: OwnedFd,
    image: Image,
    /// None when the Plan denies nothing that Landlock could hold.
    ruleset: Option<OwnedFd>,
    restrict_flags: u32,
    own_process: Vec<OwnProcessRule>,
    filter: filter::Filter,
    /// Whether some calls are answered by a supervisor.
    supervised: bool,
    kept: Vec<i32>,
    limits: Limits,
    resource_limits: Vec<ResourceLimit>,
}

/// A rule on a file of `/proc/self`, which names another directory before the fork.
#[derive(Debug)]
struct OwnProcessRule {
    path: CString,
    access: u64,
}

impl Confinement {
    /// Opens every path rule and the program, compares each with what the Plan was made from,
    /// creates the ruleset, compiles the filter and lays out the arguments. Allocates: call it
    /// before any fork. `environment` holds the final names and values in Plan order, `opened` what
    /// was opened for the Plan already; it is closed here.
    ///
    /// # Errors
    /// [`ConfineError`], each naming the path or the kernel feature; nothing was started.
    pub fn prepare(
        plan: &Plan,
        environment: &[(OsString, OsString)],
        opened: Opened,
    ) -> Result<Self, ConfineError> {
        let program = open::open_program(&plan.program)?;
        let directory = open::open_directory(&plan.program.directory)?;
        let ruleset = landlock::create(plan, &opened)?;
        drop(opened);
        let path = execute_path(&program, &plan.program)?;
        let image = Image::place(&path, &arguments(plan)?, &pairs(environment)?)
            .map_err(ConfineError::Layout)?;
        let table = syscalls::table(&plan.syscalls, Architecture::NATIVE);
        let filter = filter::compile(&table, Architecture::NATIVE, image.addresses())?;
        Ok(Self {
            _program: program,
            directory,
            image,
            ruleset,
            restrict_flags: landlock::restrict_flags(plan.filesystem.abi),
            own_process: landlock::own_process_rules(&plan.filesystem)?,
            filter,
            supervised: plan.syscalls.supervised.any(),
            kept: plan.kept.iter().map(|kept| kept.number).collect(),
            limits: plan.limits.clone(),
            resource_limits: resource_limits(&plan.limits),
        })
    }

    /// Confines the calling process, which must have one thread, and executes the program.
    /// Async-signal-safe, allocates nothing; returns only on failure, after which the process is
    /// partly confined and can do nothing but report and exit.
    ///
    /// A supervised target hands its listener over through `supervisor` and executes only after
    /// the word from there; without that socket it is not started.
    pub fn apply_and_execute(&mut self, supervisor: Option<BorrowedFd<'_>>) -> ApplyFailure {
        match self.apply(supervisor) {
            Err(failure) => failure,
            Ok(()) => {
                self.image.name_own_process();
                ApplyFailure::new(ApplyStep::Execute, self.image.execute())
            }
        }
    }

    fn apply(&mut self, supervisor: Option<BorrowedFd<'_>>) -> Result<(), ApplyFailure> {
        let at = |step| move |errno| ApplyFailure::new(step, errno);
        fchdir(&self.directory).map_err(at(ApplyStep::ChangeDirectory))?;
        privileges::forbid_core_dumps().map_err(at(ApplyStep::CoreLimit))?;
        privileges::drop_capabilities().map_err(at(ApplyStep::Capabilities))?;
        privileges::set_no_new_privileges().map_err(at(ApplyStep::NoNewPrivileges))?;
        if let Some(ruleset) = &self.ruleset {
            for rule in &self.own_process {
                add_own_process_rule(ruleset, rule).map_err(at(ApplyStep::OwnProcessRule))?;
            }
            sys::landlock::restrict_self(ruleset.as_fd(), self.restrict_flags)
                .map_err(at(ApplyStep::Landlock))?;
        }
        let program = self.filter.for_process(std::process::id());
        if self.supervised {
            let supervisor = supervisor
                .ok_or(Errno::EBADF)
                .map_err(at(ApplyStep::Handover))?;
            let listener = sys::notify::install(program).map_err(at(ApplyStep::Listener))?;
            handover::send(supervisor, listener.as_fd()).map_err(at(ApplyStep::Handover))?;
            drop(listener);
            handover::await_word(supervisor).map_err(at(ApplyStep::Handover))?;
        } else {
            sys::seccomp::install(program).map_err(at(ApplyStep::Filter))?;
        }
        privileges::close_descriptors_on_execute(&self.kept).map_err(at(ApplyStep::Descriptors))?;
        // Last: what stands above needs descriptors.
        for limit in &self.resource_limits {
            limit.apply().map_err(at(ApplyStep::Limits))?;
        }
        Ok(())
    }

    /// What the target may use of the machine; what a control group holds is the caller's to do.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether the target needs a supervisor.
    pub fn is_supervised(&self) -> bool {
        self.supervised
    }
}

/// The resource limits of each process.
fn resource_limits(limits: &Limits) -> Vec<ResourceLimit> {
    let of_processes = limits
        .held
        .iter()
        .filter_map(|held| Some((held.limit.kind, held.process?)));
    of_processes
        .filter_map(|(kind, value)| {
            Some(match kind {
                LimitKind::Memory => ResourceLimit::memory(value),
                LimitKind::CpuTime => ResourceLimit::processor_time(value),
                LimitKind::Processes => {
                    let others = tasks_of(sys::facts::effective_user());
                    ResourceLimit::processes(value.saturating_add(others))
                }
                LimitKind::OpenFiles => ResourceLimit::open_files(value),
                LimitKind::FileSize => ResourceLimit::file_size(value),
                // Counted where it is passed on.
                LimitKind::OutputSize => return None,
            })
        })
        .collect()
}

/// A missing file is skipped: that only narrows.
fn add_own_process_rule(ruleset: &OwnedFd, rule: &OwnProcessRule) -> Result<(), Errno> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    match openat(AT_FDCWD, rule.path.as_c_str(), flags, Mode::empty()) {
        Ok(file) => sys::landlock::add_path_rule(ruleset.as_fd(), file.as_fd(), rule.access),
        Err(Errno::ENOENT | Errno::EACCES) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// The name to execute: the descriptor that was checked. A `#!` script goes by its path, since
/// its interpreter opens the name again, when the descriptor is closed; what is found there then
/// still needs the Landlock rule, which belongs to the file that was checked.
///
/// A command goes by the name the user gave it, too: programs and `ps` see it. Another file put
/// there meanwhile runs inside the same walls.
fn execute_path(opened: &OwnedFd, program: &Program) -> Result<CString, ConfineError> {
    let script = || open::is_script(opened).then_some(&program.path);
    if let Some(path) = program.invoked_as.as_ref().or_else(script) {
        return c_string(path.as_os_str().as_bytes().to_vec(), || {
            "the program path".to_owned()
        });
    }
    open::check_descriptor_directory(opened)?;
    c_string(
        format!("/proc/self/fd/{}", opened.as_raw_fd()).into_bytes(),
        String::new,
    )
}

fn arguments(plan: &Plan) -> Result<Vec<CString>, ConfineError> {
    let arguments = plan.program.arguments.iter().enumerate();
    arguments
        .map(|(index, one)| c_string(one.clone().into_bytes(), || format!("argument {index}")))
        .collect()
}

fn pairs(environment: &[(OsString, OsString)]) -> Result<Vec<CString>, ConfineError> {
    let pairs = environment.iter();
    pairs
        .map(|(name, value)| {
            let mut pair = name.clone();
            pair.push("=");
            pair.push(value);
            c_string(pair.into_vec(), || {
                format!("environment variable `{}`", name.display())
            })
        })
        .collect()
}

fn c_string(bytes: Vec<u8>, what: impl FnOnce() -> String) -> Result<CString, ConfineError> {
    CString::new(bytes).map_err(|_| ConfineError::NulByte { what: what() })
}
