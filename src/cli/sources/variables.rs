// SPDX-License-Identifier: MIT
//! What `${HOME}`, `${PROJECT}` and `${CACHE}` stand for.
//!
//! Invariant: each is an absolute path or has no value; nothing else of the environment can be named.

use std::path::{Path, PathBuf};

use crate::host::Host;
use crate::policy::file::Variables;

/// What makes a directory a project.
const MARKERS: [&str; 6] = [
    "deno.json",
    "deno.jsonc",
    "package.json",
    "Cargo.toml",
    "pyproject.toml",
    ".git",
];

/// More than any local user database.
const PASSWD_LIMIT: usize = 4 << 20;

/// The variables of every policy file. `start` is the directory of the program, or of the run.
pub(super) fn of(host: &dyn Host, start: &Path) -> Variables {
    let home = directory(host, "HOME");
    let cache =
        directory(host, "XDG_CACHE_HOME").or_else(|| home.as_ref().map(|home| home.join(".cache")));
    let project = project(host, start, home.as_deref());
    let variables = with(Variables::default(), "HOME", home, "`HOME` is not set");
    let variables = with(
        variables,
        "CACHE",
        cache,
        "neither `XDG_CACHE_HOME` nor `HOME` is set",
    );
    with(variables, "PROJECT", Some(project), "")
}

/// The variables of the system-wide ceiling: only what the caller has no say in.
pub(super) fn of_system(host: &dyn Host) -> Variables {
    const CHOSEN: &str = "in the system-wide ceiling it would be chosen by whoever starts Stockade";
    let home = home_of(host, host.user());
    let missing = "`/etc/passwd` has no home directory of this user";
    with(Variables::default(), "HOME", home, missing)
        .without("PROJECT", CHOSEN)
        .without("CACHE", CHOSEN)
}

/// The home directory of the user database (passwd(5)).
fn home_of(host: &dyn Host, user: u32) -> Option<PathBuf> {
    let bytes = host
        .read_file(Path::new("/etc/passwd"), PASSWD_LIMIT)
        .ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let home = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.nth(2)?.parse() == Ok(user);
        found.then(|| fields.nth(2)).flatten()
    })?;
    let home = PathBuf::from(home);
    home.is_absolute().then_some(home)
}

fn with(variables: Variables, name: &str, path: Option<PathBuf>, missing: &str) -> Variables {
    match path
        .map(PathBuf::into_os_string)
        .map(std::ffi::OsString::into_string)
    {
        Some(Ok(path)) => variables.with(name, path),
        Some(Err(_)) => variables.without(name, "its path is not UTF-8"),
        None => variables.without(name, missing),
    }
}

/// A directory that the environment names; relative ones are none (XDG base directories say so).
fn directory(host: &dyn Host, name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(host.variable(name)?);
    path.is_absolute().then_some(path)
}

/// The nearest directory at or above `start` that has a marker, else `start`. A marker in the home
/// directory or above makes no project of it, unless the program lies right there.
fn project(host: &dyn Host, start: &Path, home: Option<&Path>) -> PathBuf {
    let marked = |directory: &&Path| {
        MARKERS
            .iter()
            .any(|marker| host.exists(&directory.join(marker)))
    };
    let below_home = |directory: &&Path| home.is_none_or(|home| !home.starts_with(directory));
    start
        .ancestors()
        .take_while(|directory| *directory == start || below_home(directory))
        .find(marked)
        .filter(|directory| *directory != Path::new("/"))
        .unwrap_or(start)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;

    fn value(host: &FakeHost, start: &str, text: &str) -> Result<String, String> {
        of(host, Path::new(start))
            .substitute(text)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn directories_come_from_the_environment() {
        let host = FakeHost::new().with_environment(&[("HOME", "/home/a")]);
        assert_eq!(value(&host, "/w", "${HOME}/x").as_deref(), Ok("/home/a/x"));
        assert_eq!(
            value(&host, "/w", "${CACHE}").as_deref(),
            Ok("/home/a/.cache")
        );
        let other = FakeHost::new().with_environment(&[("HOME", "a"), ("XDG_CACHE_HOME", "/c")]);
        assert_eq!(value(&other, "/w", "${CACHE}").as_deref(), Ok("/c"));
        assert_eq!(
            value(&other, "/w", "${HOME}"),
            Err("`${HOME}` has no value: `HOME` is not set".to_owned())
        );
    }

    #[test]
    fn the_project_is_the_nearest_marked_directory_below_home() {
        let host = FakeHost::new()
            .with_environment(&[("HOME", "/home/a")])
            .with_file("/home/a/package.json", "")
            .with_file("/home/a/w/deno.json", "")
            .with_directory("/home/a/w/src/deep")
            .with_directory("/home/a/scratch")
            .with_file("/srv/app/.git/config", "")
            .with_directory("/srv/app/src")
            .with_file("/package.json", "");
        for (start, expected) in [
            ("/home/a/w/src/deep", "/home/a/w"),
            ("/home/a/w", "/home/a/w"),
            ("/home/a/scratch", "/home/a/scratch"),
            ("/home/a", "/home/a"),
            ("/srv/app/src", "/srv/app"),
            ("/srv", "/srv"),
        ] {
            assert_eq!(
                value(&host, start, "${PROJECT}").as_deref(),
                Ok(expected),
                "{start}"
            );
        }
    }
}
