// SPDX-License-Identifier: MIT
//! Lines for people on standard error: `error:`, `hint:`, `warning:`.
//!
//! Invariant: printing never fails the run; a closed standard error is the caller's choice.

use std::error::Error;
use std::io::{self, Write};

use super::journal;

/// An error with its causes joined by `: `, and the fix on its own line; `quoted` when the message is
/// another program's, which has said `error:` itself.
pub(super) fn error(error: &dyn Error, quoted: bool, hint: Option<&str>) {
    let mut text = chain(error);
    if !quoted {
        text.insert_str(0, "error: ");
    }
    if let Some(hint) = hint {
        text.push_str("\nhint: ");
        text.push_str(hint);
    }
    line(&text);
}

/// Something the user should know about this run.
pub(super) fn warning(text: &str) {
    line(&format!("warning: {text}"));
}

/// An empty terminal.
pub(super) fn clear_screen() {
    line("\u{1b}[2J\u{1b}[1;1H");
}

/// One line on standard error. Nobody is left to tell when this fails, or when nobody reads and the
/// write is interrupted: a supervisor does not wait for readers (`sys::interrupt`).
pub(super) fn line(text: &str) {
    let text = if journal::is_read() {
        journal::with_levels(text)
    } else {
        format!("{text}\n")
    };
    let mut rest = text.as_bytes();
    while let Ok(written @ 1..) = io::stderr().write(rest) {
        rest = rest.get(written..).unwrap_or_default();
        if rest.is_empty() {
            return;
        }
    }
}

/// An error and its causes, each said once: some sources repeat what the error above them says.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::chain;
    use std::io;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open `x`")]
    struct Outer(#[source] io::Error);

    #[test]
    fn causes_are_joined() {
        let error = Outer(io::Error::other("no luck"));
        assert_eq!(chain(&error), "cannot open `x`: no luck");
    }
}
