// SPDX-License-Identifier: MIT
//! The bar that shows the first unpacking of the runner, on a terminal only.
//!
//! Invariant: nothing is printed when standard error is no terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

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
