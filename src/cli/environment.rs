// SPDX-License-Identifier: MIT
//! The values of the variables a Plan names: the Plan itself carries no secret.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::host::Host;
use crate::plan::{Plan, VariableSource};
use crate::sys::execute::OWN_PROCESS;

/// One `--env-file`, read and parsed.
#[derive(Debug)]
pub(super) struct EnvironmentFile {
    /// As named.
    pub path: PathBuf,
    /// Names and values in the order of the file.
    pub values: Vec<(String, String)>,
}

/// The environment block of the target, in the Plan's order.
pub(super) fn resolve(
    plan: &Plan,
    host: &dyn Host,
    files: &[EnvironmentFile],
) -> Vec<(OsString, OsString)> {
    plan.environment
        .iter()
        .filter_map(|variable| {
            let value = match &variable.source {
                VariableSource::Set(value) => Some(OsString::from(value)),
                VariableSource::TargetProcess => Some(OsString::from(OWN_PROCESS)),
                VariableSource::Inherited => {
                    host.variable(&variable.name).map(|value| value.to_owned())
                }
                VariableSource::EnvFile(path) => files
                    .iter()
                    .filter(|file| file.path == *path)
                    .flat_map(|file| &file.values)
                    .find(|(name, _)| *name == variable.name)
                    .map(|(_, value)| OsString::from(value)),
            };
            Some((OsString::from(&variable.name), value?))
        })
        .collect()
}
