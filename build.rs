// SPDX-License-Identifier: MIT
//! Turns the shipped path lists into a table, obtains the pinned official Deno executable, checks its
//! digest and compresses it for embedding, and tells the linker how to pack relocations.
//!
//! Invariant: whatever it was obtained from, only an executable with the SHA-256 pinned in
//! `policies/runner-digests` is embedded; every other one stops the build.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a build script is told everything by its environment and answers on its output"
)]

#[path = "build/lists.rs"]
mod lists;
#[path = "build/obtain.rs"]
mod obtain;
#[path = "build/presets.rs"]
mod presets;
#[path = "build/relocations.rs"]
mod relocations;

use std::env;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use sha2::{Digest, Sha256};

const DIGESTS: &str = "policies/runner-digests";

/// Measured on the 95.6 MB executable, two threads: level 9 takes 1.3 s and gives 36.3 MB, level 15
/// 8.5 s and 35.8 MB, level 19 30 s and 32.6 MB.
const COMPRESSION_LEVEL: i32 = 9;

/// One line of the digest file.
pub(crate) struct Pinned {
    pub(crate) version: String,
    pub(crate) npm_package: String,
    pub(crate) wheel_platform: String,
    pub(crate) sha256: String,
}

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed={DIGESTS}");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build/obtain.rs");
    println!("cargo::rerun-if-changed=build/lists.rs");
    for list in lists::LISTS {
        println!("cargo::rerun-if-changed={list}");
    }
    println!("cargo::rerun-if-changed={}", presets::DIRECTORY);
    println!("cargo::rerun-if-changed=build/presets.rs");
    println!("cargo::rerun-if-changed=build/relocations.rs");
    println!("cargo::rerun-if-env-changed={}", obtain::PATH_VARIABLE);
    relocations::pack();
    match generate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            for line in message.lines() {
                println!("cargo::error={line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn generate() -> Result<(), String> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo gave no OUT_DIR")?);
    lists::generate(&out.join("built_in.rs"))?;
    presets::generate(&out.join("presets.rs"))?;
    match env::var_os("CARGO_FEATURE_EMBEDDED_RUNNER") {
        Some(_) => embed(&out),
        None => Ok(()),
    }
}

fn embed(out: &Path) -> Result<(), String> {
    let text = fs::read_to_string(DIGESTS).map_err(|error| format!("`{DIGESTS}`: {error}"))?;
    let architecture = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let pinned = parse_pinned(&text, &architecture)?;

    // target/<profile>/build/<package>/out: the archive is kept in target/ and shared by profiles.
    let kept_directory = out.ancestors().nth(4).unwrap_or(out).join("runner");
    let kept = kept_directory.join(format!("deno-{}-{architecture}.zst", pinned.version));
    if env::var_os(obtain::PATH_VARIABLE).is_some() || !is_archive_of(&kept, &pinned.sha256) {
        let work = out.join("obtain");
        drop(fs::remove_dir_all(&work));
        let executable = obtain::executable(&pinned, &work)?;
        drop(fs::remove_dir_all(&work));
        compress(&executable, &kept)
            .map_err(|error| format!("cannot write `{}`: {error}", kept.display()))?;
    }
    // A link of its own, so that emptying the shared directory does not break this build.
    let archive = out.join("runner.zst");
    drop(fs::remove_file(&archive));
    fs::hard_link(&kept, &archive)
        .or_else(|_| fs::copy(&kept, &archive).map(drop))
        .map_err(|error| format!("cannot write `{}`: {error}", archive.display()))?;

    println!(
        "cargo::rustc-env=STOCKADE_RUNNER_ARCHIVE={}",
        archive.display()
    );
    println!("cargo::rustc-env=STOCKADE_RUNNER_SHA256={}", pinned.sha256);
    println!(
        "cargo::rustc-env=STOCKADE_RUNNER_VERSION={}",
        pinned.version
    );
    Ok(())
}

fn parse_pinned(text: &str, architecture: &str) -> Result<Pinned, String> {
    let mut version = None;
    let mut known = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields[..] {
            [] | ["#", ..] => {}
            ["version", value] => version = Some(value),
            [name, npm_package, wheel_platform, sha256] => {
                let version =
                    version.ok_or_else(|| format!("`{DIGESTS}`: no version above `{line}`"))?;
                if name == architecture {
                    return Ok(Pinned {
                        version: version.to_owned(),
                        npm_package: npm_package.to_owned(),
                        wheel_platform: wheel_platform.to_owned(),
                        sha256: sha256.to_owned(),
                    });
                }
                known.push(name);
            }
            _ => return Err(format!("`{DIGESTS}`: cannot read the line `{line}`")),
        }
    }
    Err(format!(
        "no Deno executable is pinned for `{architecture}` (pinned: {})\n{}",
        known.join(", "),
        obtain::WITHOUT_EMBEDDING
    ))
}

/// Whether `path` is a compressed file whose content has this digest.
fn is_archive_of(path: &Path, sha256: &str) -> bool {
    let Ok(file) = File::open(path) else {
        return false;
    };
    let Ok(decoder) = zstd::Decoder::new(file) else {
        return false;
    };
    digest(decoder).is_ok_and(|found| found == sha256)
}

fn compress(executable: &[u8], target: &Path) -> io::Result<()> {
    let archive = zstd::bulk::compress(executable, COMPRESSION_LEVEL)?;
    if let Some(directory) = target.parent() {
        fs::create_dir_all(directory)?;
    }
    // Two profiles may build at once: each writes its own file, the rename decides.
    let temporary = target.with_extension(format!("{}.tmp", std::process::id()));
    File::create(&temporary)?.write_all(&archive)?;
    fs::rename(&temporary, target)
}

/// The SHA-256 of everything `source` yields, in lower case hexadecimal.
pub(crate) fn digest(mut source: impl Read) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match source.read(&mut buffer)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
