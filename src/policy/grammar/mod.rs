// SPDX-License-Identifier: MIT
//! The text forms of permission entries, in Deno's grammar (measured on 2.9.6).
//!
//! Invariant: pure and total. Every text gives a descriptor or a [`GrammarError`] that says what is
//! wrong and, by [`GrammarError::hint`], what is accepted; nothing is looked up on the machine.

mod net;

use std::path::{Component, Path, PathBuf};

use super::{EnvDescriptor, PathDescriptor, RunDescriptor, SysDescriptor};

pub use net::{parse_import, parse_net};

/// What is wrong with one entry. The flag or the file line is named by the caller's error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    /// An empty list item: `a,`, `,a` or an empty value.
    #[error("an empty {0}")]
    Empty(Noun),
    /// A NUL character, which no name or path of the kernel can hold.
    #[error("a NUL character in {0}")]
    Nul(Noun),
    /// An environment name with `=`.
    #[error("`=` cannot be part of an environment variable name")]
    EqualsInName,
    /// A kind of system information Deno does not have.
    #[error("unknown kind of system information `{0}`")]
    UnknownSysKind(String),
    /// A host with a character no host name has.
    #[error("`{character}` cannot be part of the host `{host}`")]
    HostCharacter {
        /// The host part.
        host: String,
        /// The first wrong character.
        character: char,
    },
    /// Two dots in a row, or a dot in front.
    #[error("an empty label in the host `{0}`")]
    EmptyLabel(String),
    /// A label of more than 63 bytes or a name of more than 253, which DNS cannot carry.
    #[error("the host `{0}` is longer than DNS allows")]
    HostTooLong(String),
    /// `*` somewhere else than as the leading label.
    #[error("`*` can only be the first label, followed by a dot, in `{0}`")]
    Wildcard(String),
    /// A URL instead of a host.
    #[error("`{0}` is a URL, not a host")]
    Url(String),
    /// A path after the host.
    #[error("`{0}` has a path or an invalid CIDR mask")]
    PathAfterHost(String),
    /// A port that is no number between 0 and 65535.
    #[error("the port `{0}` is not a number from 0 to 65535")]
    Port(String),
    /// A colon with nothing behind it.
    #[error("an empty port in `{0}`")]
    EmptyPort(String),
    /// An IPv6 address without brackets.
    #[error("the IPv6 address in `{0}` is not in square brackets")]
    Brackets(String),
    /// Brackets around something that is no IPv6 address.
    #[error("`{0}` is not an IPv6 address")]
    Ipv6(String),
    /// Something behind `]` that is neither a mask nor a port.
    #[error("unexpected `{rest}` behind `]` in `{text}`")]
    AfterBracket {
        /// What stands there.
        rest: String,
        /// The whole entry.
        text: String,
    },
    /// A CIDR mask that is out of range.
    #[error("the mask `/{mask}` is not a number from 0 to {limit}")]
    Mask {
        /// What stands behind `/`.
        mask: String,
        /// 32 or 128.
        limit: u8,
    },
    /// `:8080` where only remote hosts make sense.
    #[error("`{0}` names no host")]
    PortOnly(String),
    /// `unix:` without an absolute path.
    #[error("the socket path in `{0}` is not absolute")]
    UnixPath(String),
    /// `vsock:` with anything but two numbers.
    #[error("`{0}` is not `vsock:CID:PORT`")]
    Vsock(String),
    /// `unix:` or `vsock:` for modules.
    #[error("`{0}` is not a host modules can be imported from")]
    NotImportable(String),
}

impl GrammarError {
    /// What is accepted instead.
    pub fn hint(&self) -> Option<String> {
        const NET: &str = "accepted: `example.com`, `*.example.com`, `10.0.0.0/8`, `[2001:db8::]/32`, each with an \
             optional `:PORT`, `:PORT` alone, `unix:/absolute/path`, `vsock:CID:PORT`";
        Some(match self {
            Self::Empty(_) => {
                "separate entries by single commas; `,,` stands for a comma inside an entry".to_owned()
            }
            Self::Nul(_) => "remove it".to_owned(),
            Self::EqualsInName => {
                "a permission names a variable; its value comes from the environment or `--env-file`".to_owned()
            }
            Self::UnknownSysKind(_) => format!("accepted: {}", SYS_KINDS.join(", ")),
            Self::Url(text) => match host_of_url(text) {
                Some(host) => format!("name the host only: `{host}`"),
                None => NET.to_owned(),
            },
            Self::Brackets(text) => {
                format!("write `[{text}]`, and a port as `[{text}]:PORT`")
            }
            Self::Wildcard(_) => {
                "`*.example.com` covers example.com and every name below it; every host is the flag without a value"
                    .to_owned()
            }
            Self::Port(_) => {
                "one decimal port an entry; ranges, lists and service names are not accepted".to_owned()
            }
            Self::PortOnly(_) => "put the host in front: `example.com:443`".to_owned(),
            Self::UnixPath(_) => "write `unix:/absolute/path`".to_owned(),
            Self::Vsock(_) => {
                "both parts are decimal numbers of 32 bits; CID -1 stands for any".to_owned()
            }
            Self::Mask { .. } => "write `10.0.0.0/8` or `[2001:db8::]/32`, a port behind the mask".to_owned(),
            Self::NotImportable(_) => {
                "accepted: `example.com`, `*.example.com`, an address or a CIDR block, each with an optional `:PORT`"
                    .to_owned()
            }
            Self::HostCharacter { host, .. } if !host.is_ascii() => {
                "write international names in their ASCII form (`xn--…`)".to_owned()
            }
            _ => NET.to_owned(),
        })
    }
}

/// What an entry names, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noun {
    /// A file or directory.
    Path,
    /// A host.
    Host,
    /// An environment variable.
    Name,
    /// A program.
    Program,
    /// A kind of system information.
    SysKind,
}

impl std::fmt::Display for Noun {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Path => "path",
            Self::Host => "host",
            Self::Name => "environment variable name",
            Self::Program => "program name",
            Self::SysKind => "kind of system information",
        })
    }
}

/// The host of something that looks like a URL, for the hint.
fn host_of_url(text: &str) -> Option<&str> {
    let rest = text.split_once("://")?.1;
    let host = rest.split(['/', '?', '#']).next()?;
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    (!host.is_empty()).then_some(host)
}

/// Splits a flag value at its commas; `,,` is a comma inside an item (Deno up to 2.9.5; later
/// versions have no way to write one). An empty value is one empty item.
pub fn split_list(value: &str) -> Vec<String> {
    if !value.contains(",,") {
        return value.split(',').map(str::to_owned).collect();
    }
    let mut items = Vec::with_capacity(1);
    let mut item = String::new();
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        if character != ',' {
            item.push(character);
        } else if characters.next_if_eq(&',').is_some() {
            item.push(',');
        } else {
            items.push(std::mem::take(&mut item));
        }
    }
    items.push(item);
    items
}

/// Writes one item so that [`split_list`] reads it back.
pub fn render_list_item(item: &str) -> String {
    item.replace(',', ",,")
}

fn refuse_empty_and_nul(text: &str, noun: Noun) -> Result<(), GrammarError> {
    if text.is_empty() {
        Err(GrammarError::Empty(noun))
    } else if text.contains('\0') {
        Err(GrammarError::Nul(noun))
    } else {
        Ok(())
    }
}

/// Joins `path` to `directory` and removes `.` and `..` without looking at the disk, as Deno does.
pub fn lexical(directory: &Path, path: &Path) -> PathBuf {
    let joined = directory.join(path);
    let bytes = joined.as_os_str().as_encoded_bytes();
    let mut names = bytes.split(|byte| *byte == b'/').skip(1);
    // Nearly all have nothing to remove; taking ten thousand apart costs milliseconds.
    if joined.is_absolute() && names.all(|name| !matches!(name, b"" | b"." | b"..")) {
        return joined;
    }
    let mut normal = PathBuf::new();
    for component in joined.components() {
        match component {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

/// A path of `--allow-read`, `--allow-write` or `--allow-ffi`. No globs, no `~`, no `file:` URLs:
/// every character is literal, as in Deno.
///
/// # Errors
/// An empty path, or one with a NUL character.
pub fn parse_path(text: &str) -> Result<PathDescriptor, GrammarError> {
    refuse_empty_and_nul(text, Noun::Path)?;
    Ok(PathDescriptor {
        path: PathBuf::from(text),
        trailing_slash: text.ends_with('/'),
        within: None,
        judged: None,
        optional: false,
    })
}

/// A name of `--allow-env`. Only a `*` at the end is a wildcard; elsewhere it is literal.
///
/// # Errors
/// An empty name, or one with `=` or NUL.
pub fn parse_env(text: &str) -> Result<EnvDescriptor, GrammarError> {
    refuse_empty_and_nul(text, Noun::Name)?;
    if text.contains('=') {
        return Err(GrammarError::EqualsInName);
    }
    Ok(match text.strip_suffix('*') {
        Some(prefix) => EnvDescriptor::Prefix(prefix.to_owned()),
        None => EnvDescriptor::Name(text.to_owned()),
    })
}

/// A program of `--allow-run`: a path when it holds a `/`, else a name looked up in PATH at start.
///
/// # Errors
/// An empty name, or one with NUL.
pub fn parse_run(text: &str) -> Result<RunDescriptor, GrammarError> {
    refuse_empty_and_nul(text, Noun::Program)?;
    Ok(if text.contains('/') {
        RunDescriptor::Path(PathBuf::from(text))
    } else {
        RunDescriptor::Name(text.to_owned())
    })
}

/// Kinds of system information, by Deno's names. The last seven are refused by the command line
/// of 2.9.6 alone; its neighbours and deno.json accept them.
pub const SYS_KINDS: &[&str] = &[
    "hostname",
    "osRelease",
    "osUptime",
    "loadavg",
    "networkInterfaces",
    "systemMemoryInfo",
    "uid",
    "gid",
    "cpus",
    "homedir",
    "getegid",
    "statfs",
    "getPriority",
    "setPriority",
    "userInfo",
    "inspector",
    "setuid",
    "seteuid",
    "setgid",
    "setegid",
    "ca",
    "umask",
];

/// A kind of `--allow-sys`; `username` is another name of `userInfo`.
///
/// # Errors
/// A name that is not one of [`SYS_KINDS`].
pub fn parse_sys(text: &str) -> Result<SysDescriptor, GrammarError> {
    if text.is_empty() {
        return Err(GrammarError::Empty(Noun::SysKind));
    }
    let name = if text == "username" { "userInfo" } else { text };
    if SYS_KINDS.contains(&name) {
        Ok(SysDescriptor(name.to_owned()))
    } else {
        Err(GrammarError::UnknownSysKind(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_split_at_single_commas() {
        for (value, items) in [
            ("", &[""][..]),
            ("a", &["a"]),
            ("a,b", &["a", "b"]),
            ("a,,b", &["a,b"]),
            ("a,,,b", &["a,", "b"]),
            (",a", &["", "a"]),
            ("a,", &["a", ""]),
            (",", &["", ""]),
            (",,", &[","]),
        ] {
            assert_eq!(split_list(value), items, "{value:?}");
        }
    }

    #[test]
    fn paths_are_literal() {
        let path = |text: &str| parse_path(text).map(|found| (found.path, found.trailing_slash));
        assert_eq!(path("/tmp/*"), Ok((PathBuf::from("/tmp/*"), false)));
        assert_eq!(path("~/x/"), Ok((PathBuf::from("~/x/"), true)));
        assert_eq!(path("file:///x"), Ok((PathBuf::from("file:///x"), false)));
        assert_eq!(path(""), Err(GrammarError::Empty(Noun::Path)));
        assert_eq!(path("a\0b"), Err(GrammarError::Nul(Noun::Path)));
    }

    #[test]
    fn only_a_trailing_star_is_a_wildcard_of_names() {
        let name = |text: &str| EnvDescriptor::Name(text.to_owned());
        let prefix = |text: &str| EnvDescriptor::Prefix(text.to_owned());
        for (text, expected) in [
            ("HOME", Ok(name("HOME"))),
            ("home", Ok(name("home"))),
            ("AWS_*", Ok(prefix("AWS_"))),
            ("*", Ok(prefix(""))),
            ("A*B", Ok(name("A*B"))),
            ("*KEY", Ok(name("*KEY"))),
            ("A**", Ok(prefix("A*"))),
            ("a b", Ok(name("a b"))),
            ("", Err(GrammarError::Empty(Noun::Name))),
            ("A=B", Err(GrammarError::EqualsInName)),
            ("A\0", Err(GrammarError::Nul(Noun::Name))),
        ] {
            assert_eq!(parse_env(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_slash_makes_a_program_a_path() {
        for (text, expected) in [
            ("cat", Ok(RunDescriptor::Name("cat".to_owned()))),
            ("./x", Ok(RunDescriptor::Path("./x".into()))),
            (
                "/usr/bin/cat",
                Ok(RunDescriptor::Path("/usr/bin/cat".into())),
            ),
            ("", Err(GrammarError::Empty(Noun::Program))),
        ] {
            assert_eq!(parse_run(text), expected, "{text:?}");
        }
    }

    #[test]
    fn system_kinds_are_exact() {
        for kind in SYS_KINDS {
            assert_eq!(parse_sys(kind), Ok(SysDescriptor((*kind).to_owned())));
        }
        assert_eq!(
            parse_sys("username"),
            Ok(SysDescriptor("userInfo".to_owned()))
        );
        for text in ["Hostname", "host", "hostname "] {
            assert_eq!(
                parse_sys(text),
                Err(GrammarError::UnknownSysKind(text.to_owned()))
            );
        }
        assert_eq!(parse_sys(""), Err(GrammarError::Empty(Noun::SysKind)));
    }

    #[test]
    fn a_url_is_hinted_to_its_host() {
        let hint = |text: &str| GrammarError::Url(text.to_owned()).hint();
        let expected = Some("name the host only: `a.com:8`".to_owned());
        assert_eq!(hint("https://me@a.com:8/x?y"), expected);
        assert!(hint("https://").is_some_and(|text| text.starts_with("accepted")));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = (parse_path(&text), parse_env(&text), parse_run(&text), parse_sys(&text));
            if let Err(error) = parse_net(&text) {
                proptest::prop_assert!(error.hint().is_some());
            }
        }

        #[test]
        fn escaped_items_are_read_back(items in proptest::collection::vec("[a,]{0,1}[a-c]|[a-c,]?[a-c]", 1..5)) {
            // An item that starts with a comma cannot be told from an escape at its left border
            // (`a,` + `,b`), in Deno's grammar as well.
            proptest::prop_assume!(items.iter().skip(1).all(|item| !item.starts_with(',')));
            let text = items.iter().map(|item| render_list_item(item)).collect::<Vec<_>>().join(",");
            proptest::prop_assert_eq!(split_list(&text), items);
        }
    }
}
