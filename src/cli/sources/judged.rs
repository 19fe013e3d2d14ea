// SPDX-License-Identifier: MIT
//! What `stockade task` judged of what it starts: where paths led then, handed over in a variable.
//!
//! Invariant: what leads elsewhere by now is refused. The variable only narrows, whoever sets it.

use std::ffi::OsString;
use std::path::PathBuf;

use super::SourceError;
use crate::cli::invocation::Settings;
use crate::host::Host;
use crate::host::leads::{Led, lead};
use crate::policy::Policy;
use crate::policy::grammar::lexical;

/// The variable: an object of JSON, paths with where they led.
pub(in crate::cli) const VARIABLE: &str = crate::host::JUDGED;

/// The value of the variable.
///
/// # Errors
/// A path that is no text.
pub(in crate::cli) fn written(led: &Led) -> Result<OsString, PathBuf> {
    let other = |path: &&PathBuf| path.to_str().is_none();
    if let Some(path) = led.iter().flat_map(|(path, lead)| [path, lead]).find(other) {
        return Err(path.clone());
    }
    // A map of texts always has a form.
    Ok(serde_json::to_string(led).unwrap_or_default().into())
}

/// What was handed over; nothing in a run that no task started.
///
/// # Errors
/// [`SourceError::Judged`].
pub(in crate::cli) fn read(host: &dyn Host) -> Result<Led, SourceError> {
    let Some(value) = host.judged() else {
        return Ok(Led::new());
    };
    let text = value.to_str().unwrap_or_default();
    serde_json::from_str(text).map_err(SourceError::Judged)
}

/// Holds grants to what was judged.
///
/// # Errors
/// [`SourceError::Moved`], when a ceiling has seen another place since.
pub(in crate::cli) fn hold(
    policy: &mut Policy,
    led: &Led,
    host: &dyn Host,
) -> Result<(), SourceError> {
    if led.is_empty() {
        return Ok(());
    }
    for rules in [
        &mut policy.read.allow,
        &mut policy.write.allow,
        &mut policy.ffi.allow,
    ] {
        for entry in &mut rules.entries {
            let path = lexical(host.current_directory(), &entry.descriptor.path);
            let Some(judged) = led.get(&path) else {
                continue;
            };
            match &entry.descriptor.judged {
                Some(now) if now != judged => {
                    return Err(SourceError::Moved {
                        what: entry.origin.to_string(),
                        judged: judged.clone(),
                        now: now.clone(),
                    });
                }
                _ => entry.descriptor.judged = Some(judged.clone()),
            }
        }
    }
    Ok(())
}

/// Refuses paths of a task that lead elsewhere by now.
///
/// # Errors
/// [`SourceError::Judged`] and [`SourceError::Moved`].
pub(in crate::cli) fn compare(now: &Led, host: &dyn Host) -> Result<(), SourceError> {
    let led = read(host)?;
    for (path, now) in now {
        if let Some(judged) = led.get(path).filter(|judged| *judged != now) {
            return Err(SourceError::Moved {
                what: path.display().to_string(),
                judged: judged.clone(),
                now: now.clone(),
            });
        }
    }
    Ok(())
}

/// Refuses files of settings that lead elsewhere by now.
///
/// # Errors
/// [`SourceError::Moved`].
pub(in crate::cli) fn refuse_moved(
    settings: &Settings,
    led: &Led,
    host: &dyn Host,
) -> Result<(), SourceError> {
    if led.is_empty() {
        return Ok(());
    }
    for (flag, path) in settings.read_files().chain(settings.written_files()) {
        let path = lexical(host.current_directory(), path);
        let Some(judged) = led.get(&path) else {
            continue;
        };
        let now = lead(host, &path);
        if now.as_ref() != Some(judged) {
            return Err(SourceError::Moved {
                what: flag.to_owned(),
                judged: judged.clone(),
                now: now.unwrap_or(path),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;
    use crate::policy::flags::{PermissionFlag, parse_flags};

    /// What a grant that a ceiling has seen at `ceiling` is held to, when a task has seen it at `/task`.
    fn held(ceiling: Option<&str>) -> Result<Option<PathBuf>, SourceError> {
        let read = PermissionFlag {
            flag: "--allow-read",
            value: Some("data"),
        };
        let mut policy = parse_flags([read]).unwrap();
        policy.read.allow.entries[0].descriptor.judged = ceiling.map(Into::into);
        let host = FakeHost::new().with_current_directory("/w");
        let led = Led::from([("/w/data".into(), "/task".into())]);
        hold(&mut policy, &led, &host)?;
        Ok(policy.read.allow.entries.remove(0).descriptor.judged)
    }

    #[test]
    fn what_two_have_seen_differently_is_refused() {
        assert_eq!(held(None).unwrap(), Some("/task".into()));
        assert_eq!(held(Some("/task")).unwrap(), Some("/task".into()));
        assert!(matches!(
            held(Some("/other")),
            Err(SourceError::Moved { .. })
        ));
    }
}
