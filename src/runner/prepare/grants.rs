// SPDX-License-Identifier: MIT
//! From what prepare found to what the program is granted and told.
//!
//! Invariant: every rule carries the stamp of the version that was judged, so that something else
//! under the same name is an error.

use std::path::{Path, PathBuf};

use super::super::deno_dir::{self, PrivateDirectory};
use super::super::sources::JSR;
use super::super::stamp::{Role, Seen};
use super::{Modules, Prepared, nearest_configuration};
use crate::host::FileKind;
use crate::plan::{Access, RequiredPath};
use crate::policy::Origin;

/// The grants of a program.
pub(super) fn prepared(
    root: PathBuf,
    present: &[Seen],
    directory: &PrivateDirectory,
    modules: Modules,
) -> Prepared {
    let file = |seen: &Seen| {
        let (kind, access, reason) = match seen.role {
            Role::Watched => return None,
            Role::Module => (FileKind::File, Access::READ_FILE, ""),
            Role::Configuration => (
                FileKind::File,
                Access::READ_FILE,
                "configuration of the project",
            ),
            Role::Download => (FileKind::File, Access::READ_FILE, "downloaded module"),
            Role::Package => (FileKind::Directory, Access::READ, "package of the program"),
            Role::Lock => (FileKind::File, Access::READ_FILE, "lock of the program"),
        };
        Some(RequiredPath {
            path: seen.real_path.clone(),
            kind,
            stamp: Some(seen.stamp),
            access,
            origin: match seen.role {
                Role::Module => Origin::Module {
                    importer: seen.importer.clone(),
                },
                _ => Origin::Runner {
                    reason: reason.into(),
                },
            },
        })
    };
    let own = |path: &Path, kind: FileKind, rights: &[Access], reason: &'static str| RequiredPath {
        path: path.to_owned(),
        kind,
        stamp: None,
        access: rights.iter().fold(Access::NONE, |all, right| all | *right),
        origin: Origin::Runner {
            reason: reason.into(),
        },
    };
    let mut rules: Vec<RequiredPath> = present.iter().filter_map(file).collect();
    rules.push(own(
        &directory.path,
        FileKind::Directory,
        &deno_dir::DIRECTORY,
        "the program's private DENO_DIR",
    ));
    let (generated, data) = (&deno_dir::GENERATED, &deno_dir::DATA);
    rules.push(own(
        &directory.generated,
        FileKind::Directory,
        generated,
        "transpiled modules",
    ));
    rules.push(own(
        &directory.data,
        FileKind::Directory,
        data,
        "localStorage, Cache API and KV",
    ));
    let configuration = present
        .iter()
        .filter(|seen| seen.role == Role::Configuration);
    let configuration = nearest_configuration(configuration.map(|seen| seen.path.as_path()));
    Prepared {
        rules,
        deno_dir: directory.path.clone(),
        root,
        configuration: configuration.map(Path::to_owned),
        modules,
        watched: present
            .iter()
            .filter(|seen| !matches!(seen.role, Role::Download | Role::Package | Role::Lock))
            .map(|seen| (seen.path.clone(), Some(seen.stamp)))
            .collect(),
        notices: Vec::new(),
        late: Vec::new(),
        idle_code_cache: false,
    }
}

/// The variables that tell the runner which registry its packages came from: it names directories
/// after it.
pub(in crate::runner) fn registry_variables(
    registries: &[(String, String)],
) -> impl Iterator<Item = (String, String)> {
    registries.iter().filter_map(|(key, url)| {
        let name = match key.as_str() {
            "registry" => "NPM_CONFIG_REGISTRY",
            JSR => "JSR_URL",
            _ => return None,
        };
        Some((name.to_owned(), url.clone()))
    })
}
