// SPDX-License-Identifier: MIT
//! Where denials go: lines on standard error, and the file of `--audit`.
//!
//! Invariant: the file is open before the program starts, so that a run that was to be recorded is
//! recorded or refused; later failures are told once and end nothing.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::arguments::Settings;
use super::failure::Failure;
use super::output_file;
use super::render;
use crate::audit::json::Lines;
use crate::audit::report::Report;
use crate::audit::summary::Summary;
use crate::audit::{Contact, Event, Sink};
use crate::host::Host;
use crate::plan::links::Written;

/// Takes denials during one run.
#[derive(Debug)]
pub(super) struct Denials {
    started: Instant,
    terminal: Option<Summary>,
    file: Option<(PathBuf, Lines<File>)>,
    lost: u64,
    report: Option<Report>,
}

impl Denials {
    /// Opens what `--audit` names; `written` is what programs may write to.
    ///
    /// # Errors
    /// [`Failure::Audit`], [`Failure::AuditKind`] and [`Failure::Sources`].
    pub(super) fn open(
        settings: &Settings,
        written: &Written,
        host: &dyn Host,
    ) -> Result<Self, Failure> {
        let file = match &settings.audit {
            Some(path) => Some((path.clone(), Lines::new(open(path, written, host)?))),
            None => None,
        };
        Ok(Self {
            started: Instant::now(),
            terminal: (!settings.quiet_denials).then(Summary::default),
            file,
            lost: 0,
            report: (!settings.reports.is_empty()).then(Report::default),
        })
    }

    /// What a report tells, when one was asked for.
    pub(super) fn take_report(&mut self) -> Option<Report> {
        self.report.take()
    }

    /// Says what was not said yet, when the run is over.
    pub(super) fn finish(&mut self) {
        if let Some(line) = self.terminal.take().and_then(|summary| summary.finish()) {
            render::line(&line);
        }
        if let (Some((path, _)), 1..) = (&self.file, self.lost) {
            render::warning(&format!(
                "{} denials could not be written to `{}`",
                self.lost,
                path.display()
            ));
        }
    }
}

impl Sink for Denials {
    fn contacted(&mut self, contact: Contact) {
        if let Some(report) = &mut self.report {
            report.contacted(contact);
        }
    }

    fn denied(&mut self, event: Event) {
        if let Some(report) = &mut self.report {
            report.denied(&event);
        }
        if let Some((path, lines)) = &mut self.file
            && let Err(error) = lines.write(&event)
        {
            if self.lost == 0 {
                render::warning(&format!(
                    "cannot write a denial to `{}`: {error}",
                    path.display()
                ));
            }
            self.lost = self.lost.saturating_add(1);
        }
        if let Some(summary) = &mut self.terminal
            && let Some(line) = summary.denied(&event, self.started.elapsed())
        {
            render::line(&line);
        }
    }
}

/// Opens a file or pipe for appending; a new file is for its owner alone. Without waiting: a pipe
/// that nobody reads, now or later, must not stop the answers to the program.
fn open(path: &Path, written: &Written, host: &dyn Host) -> Result<File, Failure> {
    let failed = |source: io::Error| Failure::Audit {
        path: path.to_path_buf(),
        source,
    };
    let flags =
        OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let of_kernel = |path, source| Failure::Audit { path, source };
    let how = (flags, Mode::S_IRUSR | Mode::S_IWUSR);
    let file = output_file::open(("--audit", path), how, written, host, of_kernel)?;
    let kind = file.metadata().map_err(failed)?.file_type();
    if kind.is_file() || kind.is_fifo() {
        Ok(file)
    } else {
        Err(Failure::AuditKind {
            path: path.to_path_buf(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::audit::tests::event;
    use crate::host::fake::FakeHost;

    fn settings(path: &Path) -> Settings {
        Settings {
            audit: Some(path.to_path_buf()),
            quiet_denials: true,
            ..Settings::default()
        }
    }

    #[test]
    fn denials_are_appended_to_a_private_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("denials");
        for lines in 1..3 {
            let mut denials =
                Denials::open(&settings(&path), &Written::default(), &FakeHost::new()).unwrap();
            denials.denied(event());
            assert_eq!(denials.lost, 0);
            denials.finish();
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(text.lines().count(), lines);
        }
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing/denials");
        assert!(matches!(
            Denials::open(&settings(&missing), &Written::default(), &FakeHost::new()),
            Err(Failure::Audit { .. })
        ));
        assert!(matches!(
            Denials::open(
                &settings(directory.path()),
                &Written::default(),
                &FakeHost::new()
            ),
            Err(Failure::Audit { .. })
        ));
        assert!(matches!(
            Denials::open(
                &settings(Path::new("/dev/null")),
                &Written::default(),
                &FakeHost::new()
            ),
            Err(Failure::AuditKind { .. })
        ));
    }
}
