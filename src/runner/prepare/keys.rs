// SPDX-License-Identifier: MIT
//! Names for programs, contents and data, by everything they depend on.
//!
//! Invariant: two programs that differ in anything that may change what is granted have different
//! names.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::super::config_chain::{ConfigChain, ConfigFlags};
use super::super::file_set::FileSet;
use super::super::{hexadecimal, stamp};
use super::Request;
use super::resolve::Resolved;
use crate::host::Host;

/// A name for the program under this policy, before its files are looked at.
pub(super) fn program(host: &dyn Host, request: &Request<'_>, entry: &str) -> String {
    use std::os::unix::ffi::OsStrExt;
    let ConfigFlags {
        none,
        config,
        import_map,
    } = request.config;
    let bytes = |path: Option<&Path>| path.map(|path| path.as_os_str().as_bytes().to_vec());
    let mut parts = vec![
        request.runner.id.clone().into_bytes(),
        request.policy_name.as_bytes().to_vec(),
        entry.as_bytes().to_vec(),
        bytes(Some(host.current_directory())).unwrap_or_default(),
        vec![
            u8::from(*none),
            u8::from(config.is_some()),
            u8::from(import_map.is_some()),
        ],
        bytes(config.as_deref()).unwrap_or_default(),
        bytes(import_map.as_deref()).unwrap_or_default(),
    ];
    parts.extend(
        request
            .further
            .iter()
            .map(|path| path.as_os_str().as_bytes().to_vec()),
    );
    // Separates the lists: no path and no flag is empty.
    parts.push(Vec::new());
    parts.extend(
        request
            .resolution_flags
            .iter()
            .map(|flag| flag.clone().into_bytes()),
    );
    parts.push(Vec::new());
    parts.push(format!("{:?}{:?}", request.lock, request.node_modules).into_bytes());
    stamp::key(parts.iter().map(Vec::as_slice))
}

/// A name for the contents of every file the program is made of.
pub(super) fn content(
    host: &dyn Host,
    chain: &ConfigChain,
    set: &FileSet,
    resolved: &Resolved,
    lock: Option<&[u8]>,
) -> String {
    const LIMIT: usize = 256 << 20;
    let configuration = chain
        .present
        .iter()
        .map(|file| (&file.path, &file.real_path));
    let loaded = set.files.iter().map(|file| (&file.path, &file.real_path));
    let records = resolved.records.iter().map(|path| (path, path));
    let mut hasher = Sha256::new();
    for (path, real_path) in configuration.chain(loaded).chain(records) {
        let content = host.read_file(real_path, LIMIT).unwrap_or_default();
        hasher.update(path.as_os_str().as_encoded_bytes());
        hasher.update([0]);
        hasher.update(Sha256::digest(content));
    }
    hasher.update(lock.unwrap_or_default());
    for link in &resolved.links {
        for path in [&link.name, &link.target] {
            hasher.update(path.as_os_str().as_encoded_bytes());
            hasher.update([0]);
        }
    }
    hexadecimal(&hasher.finalize()[..16])
}

/// A name for whom the program's data belongs to: as in Deno the project with its configuration,
/// else the script.
pub(super) fn data(chain: &ConfigChain, entry: &Path) -> String {
    let config = nearest_configuration(chain.present.iter().map(|file| file.path.as_path()));
    stamp::key([config.unwrap_or(entry).as_os_str().as_encoded_bytes()])
}

/// The first Deno configuration of a chain, which starts at the program.
pub fn nearest_configuration<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Option<&'a Path> {
    paths.into_iter().find(|path| {
        path.file_name()
            .is_some_and(|name| name == "deno.json" || name == "deno.jsonc")
    })
}
