// SPDX-License-Identifier: MIT
//! Version-manager shims: small scripts that start a shell and a dozen programs to find the real
//! one. The real one is found here, at start, so that the grant is one program.
//!
//! Invariant: a shim whose program cannot be told is an error, never a grant of the shim's shell.

use std::path::{Path, PathBuf};

use super::error::PlanError;
use crate::host::{FileKind, Host, Inspected};
use crate::policy::Origin;
use crate::policy::own_variables::{GOENV_VERSION, NODENV_VERSION, PYENV_VERSION, RBENV_VERSION};

/// Shims are short; anything larger is a program of its own.
const SHIM_BYTES: usize = 4096;

/// A version manager that keeps `ROOT/shims/NAME` and `ROOT/versions/VERSION/bin/NAME`.
struct Family {
    tool: &'static str,
    version_variable: &'static str,
    version_file: &'static str,
}

const FAMILIES: [Family; 4] = [
    Family {
        tool: "pyenv",
        version_variable: PYENV_VERSION,
        version_file: ".python-version",
    },
    Family {
        tool: "rbenv",
        version_variable: RBENV_VERSION,
        version_file: ".ruby-version",
    },
    Family {
        tool: "nodenv",
        version_variable: NODENV_VERSION,
        version_file: ".node-version",
    },
    Family {
        tool: "goenv",
        version_variable: GOENV_VERSION,
        version_file: ".go-version",
    },
];

/// Launchers that are one executable under many names and start another program.
const LAUNCHERS: [(&str, &str); 3] = [
    ("mise", "mise"),
    ("volta-shim", "volta"),
    ("rustup", "rustup"),
];

/// The real program behind `path`, when it is a shim.
///
/// # Errors
/// When it is a shim and the real program cannot be told.
pub(super) fn resolve(
    host: &dyn Host,
    path: &Path,
    found: &Inspected,
    origin: &Origin,
) -> Result<Option<Inspected>, PlanError> {
    let Some(name) = path.file_name() else {
        return Ok(None);
    };
    let shim = |tool, why: String| PlanError::Shim {
        origin: origin.clone(),
        path: path.to_path_buf(),
        tool,
        why,
    };
    for (launcher, tool) in LAUNCHERS {
        if found
            .real_path
            .file_name()
            .is_some_and(|real| real == launcher)
            && name != launcher
        {
            return Err(shim(
                tool,
                "it starts another program that only it knows".to_owned(),
            ));
        }
    }
    let Some(directory) = path.parent() else {
        return Ok(None);
    };
    if directory.file_name().is_none_or(|last| last != "shims") {
        return Ok(None);
    }
    let Some(root) = directory.parent() else {
        return Ok(None);
    };
    let Ok(bytes) = host.read_file(&found.real_path, SHIM_BYTES) else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes);
    if !text.starts_with("#!") {
        return Ok(None);
    }
    for family in &FAMILIES {
        if !text.contains(family.tool) {
            continue;
        }
        let versions = versions(host, root, family);
        for version in &versions {
            let real = root.join("versions").join(version).join("bin").join(name);
            if let Ok(real) = host.inspect(&real)
                && real.kind == FileKind::File
            {
                return Ok(Some(real));
            }
        }
        let why = if versions.is_empty() {
            format!(
                "no version is chosen by {} or `{}`",
                family.version_variable, family.version_file
            )
        } else {
            format!(
                "the chosen version {} has no such program",
                versions.join(", ")
            )
        };
        return Err(shim(family.tool, why));
    }
    // asdf names the plugin and the versions in comments: `# asdf-plugin: nodejs 20.1.0`.
    let mut asdf = false;
    for line in text
        .lines()
        .filter_map(|line| line.strip_prefix("# asdf-plugin: "))
    {
        asdf = true;
        let mut words = line.split_whitespace();
        if let (Some(plugin), Some(version)) = (words.next(), words.next()) {
            let real = root
                .join("installs")
                .join(plugin)
                .join(version)
                .join("bin")
                .join(name);
            if let Ok(real) = host.inspect(&real) {
                return Ok(Some(real));
            }
        }
    }
    if asdf {
        return Err(shim(
            "asdf",
            "the version it names is not installed".to_owned(),
        ));
    }
    Ok(None)
}

/// Whether a path is in a version manager's directory of shims.
pub(super) fn is_one(path: &Path) -> bool {
    path.parent()
        .and_then(Path::file_name)
        .is_some_and(|directory| directory == "shims")
}

/// The directories of the programs that a directory of shims leads to now: found once, so that a
/// child started by name needs no version manager.
pub(super) fn chosen(host: &dyn Host, shims: &Path) -> Vec<PathBuf> {
    if shims.file_name().is_none_or(|name| name != "shims") {
        return Vec::new();
    }
    let Some(root) = shims.parent() else {
        return Vec::new();
    };
    let family = FAMILIES.iter().find(|family| {
        host.inspect(&root.join("libexec").join(family.tool))
            .is_ok()
    });
    let versions = family.map(|family| versions(host, root, family));
    versions
        .into_iter()
        .flatten()
        .map(|version| root.join("versions").join(version).join("bin"))
        .filter(|directory| host.exists(directory))
        .collect()
}

/// The versions chosen by the variable, the nearest version file, or the global file, in the
/// order these tools ask them; one source may name several. A name that is a path leads elsewhere,
/// and the file may be the project's: it is none.
fn versions(host: &dyn Host, root: &Path, family: &Family) -> Vec<String> {
    let mut versions = named_versions(host, root, family);
    versions.retain(|version| !version.contains('/') && version != "..");
    versions
}

fn named_versions(host: &dyn Host, root: &Path, family: &Family) -> Vec<String> {
    if let Some(value) = host
        .variable(family.version_variable)
        .and_then(|value| value.to_str())
    {
        return value.split(':').map(str::to_owned).collect();
    }
    let local = host
        .current_directory()
        .ancestors()
        .map(|path| path.join(family.version_file));
    let global: PathBuf = root.join("version");
    for file in local.chain([global]) {
        if let Ok(bytes) = host.read_file(&file, SHIM_BYTES) {
            let text = String::from_utf8_lossy(&bytes);
            let found: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            if !found.is_empty() {
                return found;
            }
        }
    }
    Vec::new()
}
