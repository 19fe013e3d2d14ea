// SPDX-License-Identifier: MIT
//! Where the Deno executable comes from: a given path, else the machine's npm, else its pip.
//!
//! Invariant: an executable is returned only when its SHA-256 is the pinned one.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Pinned;

/// When set, the executable at this path is the only one tried.
pub(crate) const PATH_VARIABLE: &str = "STOCKADE_RUNNER_PATH";

/// The way out that is always open.
pub(crate) const WITHOUT_EMBEDDING: &str = "hint: `--no-default-features` builds without an \
     embedded runner; `deno` (2.0 or newer) is then taken from PATH";

/// The name of the executable inside the npm package and inside the wheel.
const EXECUTABLE: &str = "deno";

/// Obtains the executable; `work` is a directory of its own for what the clients write.
pub(crate) fn executable(pinned: &Pinned, work: &Path) -> Result<Vec<u8>, String> {
    if let Some(path) = env::var_os(PATH_VARIABLE) {
        let path = PathBuf::from(path);
        let bytes = fs::read(&path).map_err(|error| {
            format!("{PATH_VARIABLE}: cannot read `{}`: {error}", path.display())
        })?;
        return checked(
            bytes,
            &format!("`{}` (from {PATH_VARIABLE})", path.display()),
            pinned,
        );
    }
    let mut failures = Vec::new();
    for (name, obtain) in [("npm", from_npm as Client), ("pip", from_pip as Client)] {
        let directory = work.join(name);
        let obtained = fs::create_dir_all(&directory)
            .map_err(|error| format!("cannot create `{}`: {error}", directory.display()))
            .and_then(|()| obtain(pinned, &directory));
        match obtained {
            Ok((bytes, file)) => {
                return checked(bytes, &format!("`{EXECUTABLE}` in `{file}`"), pinned);
            }
            Err(failure) => failures.push(format!("{name}: {failure}")),
        }
    }
    Err(format!(
        "cannot obtain the Deno {} executable that is embedded\n{}\n\
         hint: install npm or pip, or set {PATH_VARIABLE} to a Deno {} executable\n{WITHOUT_EMBEDDING}",
        pinned.version,
        failures.join("\n"),
        pinned.version,
    ))
}

/// Returns the executable and the name of the package file it was in.
type Client = fn(&Pinned, &Path) -> Result<(Vec<u8>, String), String>;

fn checked(bytes: Vec<u8>, what: &str, pinned: &Pinned) -> Result<Vec<u8>, String> {
    let found = crate::digest(bytes.as_slice()).map_err(|error| error.to_string())?;
    if found == pinned.sha256 {
        return Ok(bytes);
    }
    Err(format!(
        "{what} is not the pinned Deno {}: SHA-256 expected {}, found {found}\n\
         hint: the expected digest is in `{}`; remove a damaged download from the cache of npm or pip",
        pinned.version,
        pinned.sha256,
        crate::DIGESTS,
    ))
}

fn from_npm(pinned: &Pinned, directory: &Path) -> Result<(Vec<u8>, String), String> {
    let package = format!("{}@{}", pinned.npm_package, pinned.version);
    let mut command = Command::new("npm");
    command.args(["pack", "--silent", "--prefer-offline", &package]);
    run(command, directory)?;
    let file = downloaded(directory, "tgz")?;
    let read = || -> io::Result<Option<Vec<u8>>> {
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(File::open(&file)?));
        for entry in archive.entries()? {
            let mut entry = entry?;
            if entry.path()?.file_name() == Some(OsStr::new(EXECUTABLE)) {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    };
    found(read().map_err(|error| error.to_string()), &file)
}

fn from_pip(pinned: &Pinned, directory: &Path) -> Result<(Vec<u8>, String), String> {
    let requirement = format!("deno=={}", pinned.version);
    let mut command = Command::new("python3");
    command.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
    ]);
    command.args([
        "--only-binary=:all:",
        "--platform",
        &pinned.wheel_platform,
        &requirement,
    ]);
    run(command, directory)?;
    let file = downloaded(directory, "whl")?;
    let read = || -> zip::result::ZipResult<Option<Vec<u8>>> {
        let mut archive = zip::ZipArchive::new(File::open(&file)?)?;
        let suffix = format!("/scripts/{EXECUTABLE}");
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index)?;
            if entry.name()?.ends_with(&suffix) {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    };
    found(read().map_err(|error| error.to_string()), &file)
}

fn found(read: Result<Option<Vec<u8>>, String>, file: &Path) -> Result<(Vec<u8>, String), String> {
    let name = file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    match read {
        Ok(Some(bytes)) => Ok((bytes, name)),
        Ok(None) => Err(format!("`{name}` holds no `{EXECUTABLE}`")),
        Err(error) => Err(format!("cannot unpack `{name}`: {error}")),
    }
}

fn run(mut command: Command, directory: &Path) -> Result<(), String> {
    // A directory of its own: no configuration file of a project is read.
    command.current_dir(directory);
    if !env::var_os("HOME").is_some_and(|home| Path::new(&home).is_dir()) {
        command.env("HOME", directory);
    }
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("`{program}` is not installed"),
        _ => format!("cannot start `{program}`: {error}"),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let reason: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let reason = reason
        .iter()
        .rev()
        .take(3)
        .rev()
        .copied()
        .collect::<Vec<_>>()
        .join("; ");
    Err(format!("`{program}` failed ({}): {reason}", output.status))
}

fn downloaded(directory: &Path, extension: &str) -> Result<PathBuf, String> {
    fs::read_dir(directory)
        .map_err(|error| error.to_string())?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension() == Some(OsStr::new(extension)))
        .ok_or_else(|| format!("the client succeeded and left no .{extension} file"))
}
