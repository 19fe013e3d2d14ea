// SPDX-License-Identifier: MIT
//! From permission flags as typed to one [`Policy`].
//!
//! Invariant: repeated flags accumulate and nothing typed is lost: a bare flag beside a listed one
//! keeps both (Deno keeps the list alone, and 2.9.6 loses a bare denial), so that explain can name
//! either. Every entry's [`Origin`] carries the long flag name, whatever was typed.

use std::sync::Arc;

use super::grammar::{self, GrammarError};
use super::{Entry, Origin, Permission, Policy, Rules};

/// One permission flag as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionFlag<'a> {
    /// The long name with its dashes, also when the short form was typed: `--allow-read`.
    pub flag: &'a str,
    /// The text behind `=`, commas and all; none for a bare flag.
    pub value: Option<&'a str>,
}

/// Why permission flags make no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// One entry is malformed.
    #[error("invalid entry `{entry}` of `{flag}`")]
    Entry {
        /// The flag.
        flag: String,
        /// The entry, one item of the list.
        entry: String,
        /// What is wrong with it.
        #[source]
        cause: GrammarError,
    },
    /// `-A` beside `--allow-x`.
    #[error("`--allow-all` conflicts with `{flag}`")]
    AllWithAllow {
        /// The other flag.
        flag: String,
    },
    /// `-A` takes no list.
    #[error("`--allow-all` takes no value, but `{value}` was given")]
    AllWithValue {
        /// What was given.
        value: String,
    },
    /// Not a permission flag; the command line's table and this one disagree.
    #[error("`{flag}` is not a permission flag")]
    Unknown {
        /// The flag.
        flag: String,
    },
}

impl FlagError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Entry { cause, .. } => cause.hint(),
            Self::AllWithAllow { flag } => Some(format!(
                "leave out `-A` to grant only what is listed, or leave out `{flag}`; `--deny-*` flags go with `-A`"
            )),
            Self::AllWithValue { .. } => Some("name a permission: `--allow-read=PATH`".to_owned()),
            Self::Unknown { .. } => None,
        }
    }
}

/// The policy of these flags.
///
/// # Errors
/// The first malformed entry, or `-A` beside an `--allow-x`.
pub fn parse_flags<'a>(
    flags: impl IntoIterator<Item = PermissionFlag<'a>>,
) -> Result<Policy, FlagError> {
    let mut policy = Policy::default();
    let mut first_allow: Option<&str> = None;
    for given in flags {
        let PermissionFlag { flag, value } = given;
        if flag == "--allow-all" {
            if let Some(value) = value {
                return Err(FlagError::AllWithValue {
                    value: value.to_owned(),
                });
            }
            policy.all.get_or_insert_with(|| Origin::flag(flag, None));
            continue;
        }
        if flag.starts_with("--allow-") {
            first_allow.get_or_insert(flag);
        }
        add(&mut policy, flag, value)?;
    }
    match (&policy.all, first_allow) {
        (Some(_), Some(flag)) => Err(FlagError::AllWithAllow {
            flag: flag.to_owned(),
        }),
        _ => Ok(policy),
    }
}

fn add(policy: &mut Policy, flag: &str, value: Option<&str>) -> Result<(), FlagError> {
    let unknown = || FlagError::Unknown {
        flag: flag.to_owned(),
    };
    let (list, kind) = flag
        .strip_prefix("--")
        .and_then(|name| name.split_once('-'))
        .ok_or_else(unknown)?;
    if list == "ignore" && !matches!(kind, "read" | "env") {
        return Err(unknown());
    }
    match kind {
        "read" => extend(
            rules(&mut policy.read, list),
            flag,
            value,
            grammar::parse_path,
        ),
        "write" => extend(
            rules(&mut policy.write, list),
            flag,
            value,
            grammar::parse_path,
        ),
        "ffi" => extend(
            rules(&mut policy.ffi, list),
            flag,
            value,
            grammar::parse_path,
        ),
        "net" => extend(
            rules(&mut policy.net, list),
            flag,
            value,
            grammar::parse_net,
        ),
        "env" => extend(
            rules(&mut policy.env, list),
            flag,
            value,
            grammar::parse_env,
        ),
        "run" => extend(
            rules(&mut policy.run, list),
            flag,
            value,
            grammar::parse_run,
        ),
        "sys" => extend(
            rules(&mut policy.sys, list),
            flag,
            value,
            grammar::parse_sys,
        ),
        "import" => extend(
            rules(&mut policy.import, list),
            flag,
            value,
            grammar::parse_import,
        ),
        _ => Err(unknown()),
    }
}

fn rules<'p, D>(permission: &'p mut Permission<D>, list: &str) -> Option<&'p mut Rules<D>> {
    match list {
        "allow" => Some(&mut permission.allow),
        "deny" => Some(&mut permission.deny),
        "ignore" => Some(&mut permission.ignore),
        _ => None,
    }
}

fn extend<D>(
    rules: Option<&mut Rules<D>>,
    flag: &str,
    value: Option<&str>,
    parse: impl Fn(&str) -> Result<D, GrammarError>,
) -> Result<(), FlagError> {
    let rules = rules.ok_or_else(|| FlagError::Unknown {
        flag: flag.to_owned(),
    })?;
    let Some(value) = value else {
        rules.all.get_or_insert_with(|| Origin::flag(flag, None));
        return Ok(());
    };
    let name: Arc<str> = flag.into();
    let texts = grammar::split_list(value);
    rules.entries.reserve(texts.len());
    for text in texts {
        let descriptor = parse(&text).map_err(|cause| FlagError::Entry {
            flag: flag.to_owned(),
            entry: text.clone(),
            cause,
        })?;
        let origin = Origin::flag(Arc::clone(&name), Some(&text));
        rules.entries.push(Entry {
            descriptor,
            text,
            origin,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[(&str, Option<&str>)]) -> Result<Policy, FlagError> {
        parse_flags(flags.iter().map(|(flag, value)| PermissionFlag {
            flag,
            value: *value,
        }))
    }

    fn texts<D>(rules: &Rules<D>) -> Vec<&str> {
        rules
            .entries
            .iter()
            .map(|entry| entry.text.as_str())
            .collect()
    }

    #[test]
    fn every_kind_and_list_lands_in_its_place() {
        let policy = parse(&[
            ("--allow-read", Some("r")),
            ("--deny-read", Some("dr")),
            ("--ignore-read", Some("ir")),
            ("--allow-write", Some("w")),
            ("--deny-write", Some("dw")),
            ("--allow-ffi", Some("f")),
            ("--deny-ffi", Some("df")),
            ("--allow-net", Some("n")),
            ("--deny-net", Some("dn")),
            ("--allow-env", Some("E")),
            ("--deny-env", Some("DE")),
            ("--ignore-env", Some("IE")),
            ("--allow-run", Some("x")),
            ("--deny-run", Some("dx")),
            ("--allow-sys", Some("uid")),
            ("--deny-sys", Some("gid")),
            ("--allow-import", Some("i")),
            ("--deny-import", Some("di")),
        ])
        .unwrap();
        assert_eq!(texts(&policy.read.allow), ["r"]);
        assert_eq!(texts(&policy.read.deny), ["dr"]);
        assert_eq!(texts(&policy.read.ignore), ["ir"]);
        assert_eq!(texts(&policy.write.allow), ["w"]);
        assert_eq!(texts(&policy.write.deny), ["dw"]);
        assert_eq!(texts(&policy.ffi.allow), ["f"]);
        assert_eq!(texts(&policy.ffi.deny), ["df"]);
        assert_eq!(texts(&policy.net.allow), ["n"]);
        assert_eq!(texts(&policy.net.deny), ["dn"]);
        assert_eq!(texts(&policy.env.allow), ["E"]);
        assert_eq!(texts(&policy.env.deny), ["DE"]);
        assert_eq!(texts(&policy.env.ignore), ["IE"]);
        assert_eq!(texts(&policy.run.allow), ["x"]);
        assert_eq!(texts(&policy.run.deny), ["dx"]);
        assert_eq!(texts(&policy.sys.allow), ["uid"]);
        assert_eq!(texts(&policy.sys.deny), ["gid"]);
        assert_eq!(texts(&policy.import.allow), ["i"]);
        assert_eq!(texts(&policy.import.deny), ["di"]);
    }

    #[test]
    fn repeated_flags_accumulate_and_a_bare_one_joins() {
        let policy = parse(&[
            ("--allow-read", Some("a,b")),
            ("--allow-read", None),
            ("--allow-read", Some("c,,d")),
        ])
        .unwrap();
        assert_eq!(texts(&policy.read.allow), ["a", "b", "c,d"]);
        assert_eq!(
            policy.read.allow.all,
            Some(Origin::flag("--allow-read", None))
        );
        assert_eq!(
            policy.read.allow.entries[1].origin,
            Origin::flag("--allow-read", Some("b")),
            "an origin names its own item only"
        );
        let denied = parse(&[("--deny-net", None), ("--deny-net", Some("a.com"))]).unwrap();
        assert!(denied.net.deny.all.is_some(), "the bare denial is not lost");
    }

    #[test]
    fn all_goes_with_denials_only() {
        assert!(parse(&[("--allow-all", None), ("--deny-net", None)]).is_ok());
        assert!(parse(&[("--allow-all", None), ("--ignore-env", Some("A"))]).is_ok());
        assert!(parse(&[("--allow-all", None), ("--allow-all", None)]).is_ok());
        for order in [
            ["--allow-all", "--allow-net"],
            ["--allow-net", "--allow-all"],
        ] {
            let error = parse(&order.map(|flag| (flag, None))).unwrap_err();
            assert_eq!(
                error.to_string(),
                "`--allow-all` conflicts with `--allow-net`"
            );
        }
        assert!(parse(&[("--allow-all", Some("x"))]).is_err());
    }

    #[test]
    fn errors_name_flag_entry_and_cause() {
        let error = parse(&[("--allow-net", Some("a.com,b.com:x"))]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid entry `b.com:x` of `--allow-net`"
        );
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(source, "the port `x` is not a number from 0 to 65535");
        assert!(error.hint().is_some());
        assert!(
            parse(&[("--allow-read", Some(""))]).is_err(),
            "`--allow-read=` lists nothing"
        );
        assert!(parse(&[("--allow-import", Some(":80"))]).is_err());
        for flag in [
            "--allow-hrtime",
            "--ignore-net",
            "--permit-read",
            "--read",
            "read",
            "--allow",
        ] {
            assert!(
                matches!(parse(&[(flag, None)]), Err(FlagError::Unknown { .. })),
                "{flag}"
            );
        }
    }
}
