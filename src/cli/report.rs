// SPDX-License-Identifier: MIT
//! `--report`: files that are open before the start and written at the end, and annotations for CI.
//!
//! Invariant: a report that was asked for can be written, or nothing is started.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use sha2::{Digest, Sha256};

use super::arguments::Settings;
use super::failure::Failure;
use super::output_file;
use super::render;
use crate::audit::report::{End, Layer, Machine, Open, Report, Run};
use crate::host::Host;
use crate::launch::{Ending, Finished, LaunchError};
use crate::plan::links::Written;
use crate::plan::{Holder, Plan, explain};
use crate::policy::Policy;

/// The form of a report, by its file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Markdown,
}

/// The reports of one run.
#[derive(Debug)]
pub(super) struct Reports {
    files: Vec<(PathBuf, Form, File)>,
    run: Run,
    /// Whether GitHub reads what is printed.
    annotate: bool,
}

/// The digest of what was granted and denied; none without a report that names it: it would be
/// the costliest step of a start with many rules.
pub(super) fn digest(settings: &Settings, policy: &Policy) -> Option<String> {
    if settings.reports.is_empty() {
        return None;
    }
    let text = serde_json::to_vec(policy).unwrap_or_default();
    let digest = Sha256::digest(&text);
    Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether a file's name says which form it is to have.
pub(super) fn is_named_well(path: &Path) -> bool {
    form(path).is_some()
}

fn form(path: &Path) -> Option<Form> {
    match path.extension()?.to_str()? {
        "json" => Some(Form::Json),
        "md" => Some(Form::Markdown),
        _ => None,
    }
}

impl Reports {
    /// Opens what `--report` names; none without that flag. `written` is what programs may write to.
    ///
    /// # Errors
    /// [`Failure::Report`] and [`Failure::Sources`].
    pub(super) fn open(
        paths: &[PathBuf],
        plan: &Plan,
        policy_digest: Option<String>,
        written: &Written,
        host: &dyn Host,
    ) -> Result<Option<Self>, Failure> {
        let Some(policy_digest) = policy_digest else {
            return Ok(None);
        };
        let mut files = Vec::new();
        for path in paths {
            let Some(form) = form(path) else { continue };
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC;
            let how = (flags, Mode::from_bits_truncate(0o644));
            let of_kernel = |path, source| Failure::Report { path, source };
            let file = output_file::open(("--report", path), how, written, host, of_kernel)?;
            files.push((path.clone(), form, file));
        }
        let kernel = host.kernel();
        let layers = explain::layers(plan)
            .into_iter()
            .map(|(what, held_by)| Layer { what, held_by });
        let gaps = plan.gaps.iter().map(|gap| Open {
            what: gap.what.clone(),
            held_by: match gap.held_by {
                Holder::Runner => "runner",
                Holder::Nobody => "nobody",
                Holder::Refused => "refused",
            }
            .to_owned(),
            origin: gap.origin.as_ref().map(ToString::to_string),
        });
        Ok(Some(Self {
            files,
            run: Run {
                stockade: env!("CARGO_PKG_VERSION"),
                command: plan.program.arguments.clone(),
                policy_digest,
                host: Machine {
                    release: kernel.release.clone(),
                    machine: kernel.machine.clone(),
                    landlock_abi: plan.filesystem.abi,
                    user: host.user(),
                },
                layers: layers.collect(),
                gaps: gaps.collect(),
            },
            annotate: host
                .variable("GITHUB_ACTIONS")
                .is_some_and(|value| value == "true"),
        }))
    }

    /// Writes them. What cannot be written is told and ends nothing: the run is over.
    pub(super) fn write(
        &mut self,
        report: &Report,
        finished: &Result<Finished, LaunchError>,
        plan: &Plan,
    ) {
        let ending = ending(finished, plan);
        for (path, form, file) in &mut self.files {
            let text = match form {
                Form::Json => report.json(&self.run, &ending).map_err(io::Error::from),
                Form::Markdown => Ok(report.markdown(&self.run, &ending)),
            };
            if let Err(error) = text.and_then(|text| file.write_all(text.as_bytes())) {
                render::warning(&format!(
                    "cannot write the report `{}`: {error}",
                    path.display()
                ));
            }
        }
        if self.annotate {
            for line in report.annotations() {
                render::line(&line);
            }
        }
    }
}

fn ending(finished: &Result<Finished, LaunchError>, plan: &Plan) -> End {
    let finished = match finished {
        Ok(finished) => finished,
        Err(error) => {
            return End {
                failed: error.ended_run(),
                ..End::default()
            };
        }
    };
    let limit = finished.limit.and_then(|kind| plan.limits.get(kind));
    let timeout = plan.lifetime.timeout.as_ref();
    let origin = match finished.ending {
        Ending::TimedOut => timeout.map(|timeout| &timeout.origin),
        _ => limit.map(|held| &held.limit.origin),
    };
    let (code, signal) = match finished.ending {
        Ending::Exited(code) => (Some(code), None),
        Ending::Signalled(signal) => (None, Some(signal)),
        Ending::TimedOut | Ending::TooMuchOutput => (None, None),
    };
    End {
        code,
        signal,
        timed_out: finished.ending == Ending::TimedOut,
        limit: limit.map(|held| held.limit.kind.name()),
        by: origin.map(ToString::to_string),
        failed: false,
    }
}
