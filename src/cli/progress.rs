// SPDX-License-Identifier: MIT
//! What is shown while the runner is unpacked and modules are downloaded.
//!
//! Invariant: bars are for terminals; elsewhere each download is a line, as Deno prints it.

use std::cell::RefCell;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::render;
use crate::host::Host;
use crate::runner::unpack::Progress;

/// A bar that appears with the first step and disappears with the last.
#[derive(Debug, Default)]
pub(super) struct Bar {
    bar: Option<ProgressBar>,
}

impl Bar {
    /// Shows one step.
    pub(super) fn show(&mut self, host: &dyn Host, progress: Progress) {
        if !host.terminals().1 {
            return;
        }
        match progress {
            Progress::Started(total) => {
                let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
                let style = ProgressStyle::with_template(
                    "unpacking Deno, once {wide_bar} {bytes}/{total_bytes}",
                );
                self.bar = Some(match style {
                    Ok(style) => bar.with_style(style),
                    Err(_) => bar,
                });
            }
            Progress::At(done) => {
                if let Some(bar) = &self.bar {
                    bar.set_position(done);
                }
            }
            Progress::Finished => {
                if let Some(bar) = self.bar.take() {
                    bar.finish_and_clear();
                }
            }
        }
    }
}

/// What is downloaded. The bar moves with each URL only: a thread that moved it would keep the program
/// from being started.
#[derive(Debug)]
pub(super) struct Downloads {
    terminal: bool,
    bar: RefCell<Option<ProgressBar>>,
}

impl Downloads {
    pub(super) fn new(host: &dyn Host) -> Self {
        Self {
            terminal: host.terminals().1,
            bar: RefCell::default(),
        }
    }

    /// Shows that `url` is asked for.
    pub(super) fn show(&self, url: &str) {
        if !self.terminal {
            render::line(&format!("Download {url}"));
            return;
        }
        let mut shown = self.bar.borrow_mut();
        let bar = shown.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{spinner} downloading {pos}: {wide_msg}");
            match style {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        bar.inc(1);
        bar.set_message(url.to_owned());
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        if let Some(bar) = self.bar.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }
}
