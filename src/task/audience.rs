// SPDX-License-Identifier: MIT
//! Whom the service of tasks tells what happens, and whom it asks.
//!
//! Invariant: nothing here prints or judges; `cli` does.

use std::ffi::OsString;
use std::path::Path;

use super::line::Sibling;

/// Which stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// Why a sibling may not start, and what would let it.
#[derive(Debug)]
pub struct Excess {
    /// What it asks for.
    pub why: String,
    /// The `hint:` line.
    pub hint: Option<String>,
}

/// Who knows what siblings may be granted.
pub trait Judge {
    /// The variable that holds a sibling to what was judged. What its grants lead to can have changed
    /// since its line was judged: the line may make links.
    ///
    /// # Errors
    /// Why it may not start in this directory now.
    fn judge(
        &self,
        task: &str,
        sibling: &Sibling,
        directory: &Path,
    ) -> Result<(OsString, OsString), Excess>;
}

/// Who is told what happens.
pub trait Audience {
    /// A line starts; a task without lines is told with none.
    fn started(&mut self, name: &str, line: Option<&str>);

    /// Whole lines of a task that runs beside others, or what is left at its end.
    fn output(&mut self, name: &str, stream: Stream, bytes: &[u8]);

    /// Something the user should know, and the `hint:` line below it.
    fn warned(&mut self, text: &str, hint: Option<&str>);
}
