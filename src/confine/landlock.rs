// SPDX-License-Identifier: MIT
//! The Landlock ruleset of a Plan.
//!
//! Invariant: the ruleset denies exactly what the Plan says is denied: a right the kernel does
//! not know is an error (`HardRequirement`), never dropped silently, which is the crate's default.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use landlock::{
    AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreated,
    RulesetError, Scope,
};
use nix::errno::Errno;

use super::open::{self, Change};
use super::{ConfineError, OwnProcessRule, c_string};
use crate::host::{FileKind, Opened};
use crate::plan::{Access, Filesystem, Network, PathRule, Plan};
use crate::sys;

/// The first ABI with TCP rights (Linux 6.7).
const NETWORK_ABI: u8 = 4;
/// The first ABI with logging flags (Linux 6.15).
const LOGGING_ABI: u8 = 7;

/// Creates the ruleset with every rule that can be added before the fork; none when the Plan
/// denies nothing that Landlock could hold.
pub(super) fn create(plan: &Plan, opened: &Opened) -> Result<Option<OwnedFd>, ConfineError> {
    let Some(ruleset) = create_empty(plan).map_err(ConfineError::Ruleset)? else {
        return Ok(None);
    };
    let Some(ruleset) = Option::<OwnedFd>::from(ruleset) else {
        return Ok(None);
    };
    let rules = &plan.filesystem.rules;
    for rule in rules.iter().filter(|rule| !rule.own_process) {
        add(&ruleset, rule, plan.filesystem.handled, opened)?;
    }
    Ok(Some(ruleset))
}

fn create_empty(plan: &Plan) -> Result<Option<RulesetCreated>, RulesetError> {
    let filesystem = flags(plan.filesystem.handled);
    // With rules the supervisor connects and listens itself, outside this ruleset.
    let network = !matches!(plan.network, Network::Any(_)) && plan.filesystem.abi >= NETWORK_ABI;
    if filesystem.is_empty() && !network && !plan.scoped {
        return Ok(None);
    }
    let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    if !filesystem.is_empty() {
        ruleset = ruleset.handle_access(filesystem)?;
    }
    if network {
        ruleset = ruleset.handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?;
    }
    if plan.scoped {
        ruleset = ruleset.scope(Scope::AbstractUnixSocket | Scope::Signal)?;
    }
    ruleset.create().map(Some)
}

/// Adds one rule. The kernel refuses one with a right that is not handled, or with a directory's
/// right on a file, so nothing needs to be asked of the file again for that.
fn add(
    ruleset: &OwnedFd,
    rule: &PathRule,
    handled: Access,
    opened: &Opened,
) -> Result<(), ConfineError> {
    let failed = |source| ConfineError::Rule {
        path: rule.path.clone(),
        origins: rule.origins.clone(),
        source,
    };
    let changed = |change| ConfineError::RuleChanged {
        path: rule.path.clone(),
        origins: rule.origins.clone(),
        change,
    };
    let access = effective(rule, handled);
    if access.is_empty() {
        return Ok(());
    }
    let add = |file| {
        sys::landlock::add_path_rule(ruleset.as_fd(), file, access.bits()).map_err(|source| {
            ConfineError::AddRule {
                path: rule.path.clone(),
                origins: rule.origins.clone(),
                source,
            }
        })
    };
    // The file that the grant was judged by, whatever has its name by now.
    if let Some(file) = opened.descriptor(&rule.path, rule.kind)
        && rule.stamp.is_none()
    {
        return add(file);
    }
    let file = match open::open_without_links(&rule.path) {
        Ok(file) => file,
        // Busy directories change between the listing and now.
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EACCES) if rule.listed => {
            return Ok(());
        }
        Err(Errno::ELOOP) => return Err(changed(Change::Link)),
        Err(errno) => return Err(failed(errno)),
    };
    let status = open::status(&file).map_err(failed)?;
    if let Some(change) = open::compare(&status, rule.kind, rule.stamp.as_ref()) {
        return if rule.listed {
            Ok(())
        } else {
            Err(changed(change))
        };
    }
    add(file.as_fd())
}

/// The rights a rule gives: a right that is not handled is not denied and cannot be granted, and
/// on a file only some rights mean anything.
fn effective(rule: &PathRule, handled: Access) -> Access {
    let access = rule.access.and(handled);
    if rule.kind == FileKind::Directory {
        access
    } else {
        access.and(Access::ON_FILE)
    }
}

/// Both types have the kernel's bits. A bit the crate does not know cannot get here: `Access` has
/// none above ABI 9's.
fn flags(access: Access) -> BitFlags<AccessFs> {
    BitFlags::from_bits_truncate(access.bits())
}

/// The rules that the confined process adds itself.
pub(super) fn own_process_rules(
    filesystem: &Filesystem,
) -> Result<Vec<OwnProcessRule>, ConfineError> {
    let rules = filesystem.rules.iter().filter(|rule| rule.own_process);
    rules
        .map(|rule| (rule, effective(rule, filesystem.handled)))
        .filter(|(_, access)| !access.is_empty())
        .map(|(rule, access)| {
            let bytes = rule.path.as_os_str().as_bytes().to_vec();
            let path = c_string(bytes, || format!("path `{}`", rule.path.display()))?;
            Ok(OwnProcessRule {
                path,
                access: access.bits(),
            })
        })
        .collect()
}

/// The flags of `landlock_restrict_self`.
pub(super) fn restrict_flags(abi: u8) -> u32 {
    if abi >= LOGGING_ABI {
        sys::landlock::LOG_NEW_EXEC_ON
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use landlock::AccessFs;

    use super::{effective, flags, restrict_flags};
    use crate::host::FileKind;
    use crate::plan::{Access, PathRule};

    #[test]
    fn every_right_survives_the_crate() {
        for abi in 0..=9 {
            assert_eq!(
                flags(Access::known_to(abi)).bits(),
                Access::known_to(abi).bits()
            );
        }
        assert_eq!(flags(Access::RESOLVE_UNIX), AccessFs::ResolveUnix);
        assert_eq!(flags(Access::TRUNCATE), AccessFs::Truncate);
    }

    #[test]
    fn files_get_no_directory_rights_and_nothing_unhandled() {
        let rule = |kind| PathRule {
            path: "/x".into(),
            kind,
            access: Access::READ | Access::WRITE,
            brokered: Access::NONE,
            stamp: None,
            own_process: false,
            listed: false,
            origins: Vec::new(),
        };
        let handled = Access::known_to(2);
        assert_eq!(
            effective(&rule(FileKind::File), handled),
            Access::READ_FILE | Access::WRITE_FILE
        );
        let on_directory = effective(&rule(FileKind::Directory), handled);
        assert!(on_directory.contains(Access::READ_DIR | Access::MAKE_REG));
        assert!(!on_directory.intersects(Access::TRUNCATE));
    }

    #[test]
    fn logging_flags_start_with_their_abi() {
        assert_eq!((restrict_flags(6), restrict_flags(7)), (0, 2));
    }
}
