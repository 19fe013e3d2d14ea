// SPDX-License-Identifier: MIT
//! What the runner's type checker says: whether it stops the run.
//!
//! Invariant: an error in the program's own types stops it; types that cannot be found do not.

use super::printable;

/// TypeScript's numbers for types that are not there: a module or its declarations are not found, a
/// type library is missing, a global of Node's would need its types.
const MISSING: [u32; 6] = [2307, 2580, 2591, 2688, 2792, 7016];

/// What Deno says before the name of a package of types it does not find.
const TYPES: &str = "Could not find a matching package for 'npm:@types/";

/// What comes of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was found.
    Passed,
    /// Only missing types were found: the checker's words.
    Warned(String),
    /// The checker's words, as it printed them.
    Failed(String),
    /// The program could not be checked: a module is missing, or is no TypeScript.
    Stopped(String),
}

/// Judges the output of `deno check`.
pub fn judge(exit: Option<u8>, stderr: &[u8]) -> Verdict {
    if exit == Some(0) {
        return Verdict::Passed;
    }
    let text = String::from_utf8_lossy(stderr);
    let said: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("Check ") && !line.starts_with("Download "))
        .take_while(|line| *line != "Stack backtrace:")
        .collect();
    let said = printable(said.join("\n").trim_end());
    let numbers: Vec<Option<u32>> = said.lines().filter_map(diagnostic).collect();
    let missing = |number: &Option<u32>| number.is_some_and(|number| MISSING.contains(&number));
    // With `node_modules` as the user made it, Deno wants Node's own types there as well.
    let no_types = numbers.is_empty() && said.contains(TYPES);
    if no_types || !numbers.is_empty() && numbers.iter().all(missing) {
        Verdict::Warned(said)
    } else if numbers.is_empty() {
        Verdict::Stopped(said.strip_prefix("error: ").unwrap_or(&said).to_owned())
    } else {
        Verdict::Failed(said)
    }
}

/// The number of a diagnostic's first line, `TS2322 [ERROR]: …`; none inside for one without number.
fn diagnostic(line: &str) -> Option<Option<u32>> {
    let (head, _) = line.split_once(" [ERROR]: ")?;
    let number = head.strip_prefix("TS").map(str::parse::<u32>);
    Some(number.and_then(Result::ok))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_are_wrong_stop_and_types_that_are_missing_do_not() {
        assert_eq!(judge(Some(0), b"Check a.ts\n"), Verdict::Passed);
        let wrong = "Check a.ts\nTS2322 [ERROR]: Type 'string' is not assignable to type 'number'.\n    at file:///w/a.ts:1:7\n\nerror: Type checking failed.\n\nStack backtrace:\n   0: <unknown>\n";
        let Verdict::Failed(text) = judge(Some(1), wrong.as_bytes()) else {
            panic!("passed");
        };
        assert!(
            text.starts_with("TS2322") && text.ends_with("failed."),
            "{text}"
        );
        let missing = "TS7016 [ERROR]: Could not find a declaration file for module 'x'.\n    at file:///w/a.ts:1:7\n\nerror: Type checking failed.\n";
        assert!(matches!(
            judge(Some(1), missing.as_bytes()),
            Verdict::Warned(_)
        ));
        let both = format!("{missing}{wrong}");
        assert!(matches!(
            judge(Some(1), both.as_bytes()),
            Verdict::Failed(_)
        ));
        assert!(matches!(
            judge(Some(1), b"error: Module not found"),
            Verdict::Stopped(_)
        ));
        assert!(matches!(judge(None, b""), Verdict::Stopped(_)));
    }
}
