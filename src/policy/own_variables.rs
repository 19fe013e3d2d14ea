// SPDX-License-Identifier: MIT
//! Environment variables that Stockade itself goes by: what they name becomes readable, is started,
//! asked or written to without a grant.
//!
//! Invariant: they are the caller's. A variable that makes a grant, or chooses a program, has its name
//! here and nowhere else, so that a line of a task cannot set it for what it starts.

/// Variables that name a file or directory of certificate authorities, for OpenSSL and for the tools
/// that have one of their own. Without them nothing can be trusted where a company has its own.
pub const CERTIFICATES: [&str; 11] = [
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "CURL_CA_BUNDLE",
    "DENO_CERT",
    "GIT_SSL_CAINFO",
    "NIX_SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
];

/// Where rustup keeps its toolchains; below the user's home without it.
pub const RUSTUP_HOME: &str = "RUSTUP_HOME";

/// Which toolchain the programs of rustup are.
pub const RUSTUP_TOOLCHAIN: &str = "RUSTUP_TOOLCHAIN";

/// Where cargo has its settings, which say where it downloads from.
pub const CARGO_HOME: &str = "CARGO_HOME";

/// The settings of pip, which say where it downloads from.
pub const PIP: &str = "PIP_*";

/// The file among them.
pub const PIP_CONFIG_FILE: &str = "PIP_CONFIG_FILE";

/// Which Python the shims of pyenv start.
pub const PYENV_VERSION: &str = "PYENV_VERSION";

/// Which Ruby the shims of rbenv start.
pub const RBENV_VERSION: &str = "RBENV_VERSION";

/// Which Node the shims of nodenv start.
pub const NODENV_VERSION: &str = "NODENV_VERSION";

/// Which Go the shims of goenv start.
pub const GOENV_VERSION: &str = "GOENV_VERSION";

/// Those that make grants and choose programs; a `*` at the end stands for whatever follows.
const GRANTING: [&str; 8] = [
    RUSTUP_HOME,
    RUSTUP_TOOLCHAIN,
    CARGO_HOME,
    PIP,
    PYENV_VERSION,
    RBENV_VERSION,
    NODENV_VERSION,
    GOENV_VERSION,
];

/// Where the cache and the user's configuration are, which programs a name means, where downloads come
/// from, and what a service manager says.
#[rustfmt::skip]
const OTHERS: [&str; 15] = [
    "ALL_PROXY", "HOME", "HTTPS_PROXY", "HTTP_PROXY", "JOURNAL_STREAM", "LISTEN_*", "NOTIFY_SOCKET", "NO_PROXY",
    "PATH", "PWD", "STOCKADE*", "TEMP", "TMP", "TMPDIR", "XDG_*",
];

/// Whether Stockade, or the preparation of a program, goes by a variable; in either case, as tools read
/// their proxies.
pub fn is_own_variable(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let mut patterns = CERTIFICATES.iter().chain(&GRANTING).chain(&OTHERS);
    patterns.any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => upper.starts_with(prefix),
        None => upper == *pattern,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grants_is_the_callers() {
        for name in CERTIFICATES.into_iter().chain([
            RUSTUP_HOME,
            RUSTUP_TOOLCHAIN,
            CARGO_HOME,
            PIP_CONFIG_FILE,
            PYENV_VERSION,
            "PIP_INDEX_URL",
            "http_proxy",
            "XDG_CACHE_HOME",
        ]) {
            assert!(is_own_variable(name), "{name}");
        }
        for name in [
            "",
            "PORT",
            "CARGO_TERM_COLOR",
            "RUSTUP_HOMES",
            "PYENV",
            "MY_PIP_CERT",
        ] {
            assert!(!is_own_variable(name), "{name}");
        }
    }
}
