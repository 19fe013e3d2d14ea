// SPDX-License-Identifier: MIT
//! What `stockade task` judged of what it starts: where paths led then, handed over in a variable.
//!
//! Invariant: what leads elsewhere by now is refused. The variable only narrows, whoever sets it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::SourceError;
use crate::cli::invocation::Settings;
use crate::host::Host;
use crate::policy::Policy;
use crate::policy::grammar::lexical;
use crate::task::leads::{Led, lead};

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
pub(in crate::cli) fn hold(policy: &mut Policy, led: &Led, host: &dyn Host) {
    if led.is_empty() {
        return;
    }
    for rules in [
        &mut policy.read.allow,
        &mut policy.write.allow,
        &mut policy.ffi.allow,
    ] {
        for entry in &mut rules.entries {
            let path = lexical(host.current_directory(), &entry.descriptor.path);
            if let Some(judged) = led.get(&path) {
                entry.descriptor.judged = Some(judged.clone());
            }
        }
    }
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
    for (flag, path) in files(settings) {
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

/// Files that Stockade itself reads, writes or starts, with the flags that name them.
pub(in crate::cli) fn files(settings: &Settings) -> impl Iterator<Item = (&'static str, &Path)> {
    let named = |flag: &'static str| move |path| (flag, path);
    let audit = settings.audit.as_deref().map(named("--audit"));
    let runner = settings.runner.as_deref().map(named("--runner"));
    let ceilings = settings.sources.ceilings.iter().map(PathBuf::as_path);
    let read = settings.env_files.iter().map(PathBuf::as_path);
    let reports = settings.reports.iter().map(PathBuf::as_path);
    audit
        .into_iter()
        .chain(runner)
        .chain(ceilings.map(named("--ceiling")))
        .chain(read.map(named("--env-file")))
        .chain(reports.map(named("--report")))
}
