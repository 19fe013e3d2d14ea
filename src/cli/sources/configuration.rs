// SPDX-License-Identifier: MIT
//! `-P`: permission sets of the configuration that belongs to a program.
//!
//! Invariant: the files are the ones Deno uses: the nearest deno.json at or above the program, whose
//! sets come before those of its workspace's root.

use std::path::{Path, PathBuf};

use super::SourceError;
use crate::cli::invocation::Settings;
use crate::host::Host;
use crate::plan::ReadRules;
use crate::policy::Policy;
use crate::policy::file::Granted;
use crate::policy::file::deno_json::{Configuration, Section, SectionSet};
use crate::policy::grammar::lexical;
use crate::runner::config_chain::{self, ConfigFlags};

/// More than any real configuration.
const LIMIT: usize = 4 << 20;

/// The set that is meant when none is named.
const DEFAULT: &str = "default";

/// The flag, in messages.
const FLAG: &str = "-P";

/// The configurations of one program, the nearest first.
pub(super) struct Found {
    files: Vec<Configuration>,
}

/// Looks for them. `known` says which files may be read where a link leads out of the project.
///
/// # Errors
/// When there is none, or one cannot be read.
pub(super) fn find(
    settings: &Settings,
    start: &Path,
    known: &Policy,
    host: &dyn Host,
) -> Result<Found, SourceError> {
    if settings.no_config {
        return Err(SourceError::ConfigurationExcluded);
    }
    let named = settings
        .named_files
        .iter()
        .find(|named| named.flag == "--config")
        .map(|named| named.path.clone());
    let named_path = named
        .as_ref()
        .map(|path| lexical(host.current_directory(), path));
    let flags = ConfigFlags {
        config: named,
        ..ConfigFlags::default()
    };
    let reads = ReadRules::resolve(known, host);
    let chain = config_chain::resolve(host, start, &flags, &|path| reads.rule(path))?;
    let is_configuration = |path: &Path| {
        path.file_name()
            .is_some_and(|name| name == "deno.json" || name == "deno.jsonc")
    };
    let mut paths: Vec<PathBuf> = Vec::new();
    match named_path {
        Some(path) => paths.push(path),
        None => {
            let above = |path: &Path| path.parent().is_some_and(|above| start.starts_with(above));
            let nearest = chain
                .present
                .iter()
                .find(|file| is_configuration(&file.path) && above(&file.path));
            let root = chain.present.iter().find(|file| {
                is_configuration(&file.path) && file.real_path.parent() == Some(&chain.root)
            });
            for file in nearest.into_iter().chain(root) {
                if !paths.contains(&file.path) {
                    paths.push(file.path.clone());
                }
            }
        }
    }
    if paths.is_empty() {
        return Err(SourceError::NoConfiguration {
            directory: start.to_owned(),
        });
    }
    let files = paths.iter().map(|path| read(path, host));
    Ok(Found {
        files: files.collect::<Result<_, _>>()?,
    })
}

/// Reads every set and every section of one file.
///
/// # Errors
/// When something is wrong with one.
pub(super) fn check(path: &Path, host: &dyn Host) -> Result<(), SourceError> {
    let file = read(path, host)?;
    for name in file.names() {
        file.set(name)?;
    }
    for section in [Section::Test, Section::Bench, Section::Compile] {
        if let Some(SectionSet::Named(name)) = file.section(section)?
            && file.set(&name)?.is_none()
        {
            let names = file.names().into_iter().map(str::to_owned).collect();
            let path = file.source().shown.clone();
            return Err(SourceError::UnknownSet { name, path, names });
        }
    }
    Ok(())
}

fn read(path: &Path, host: &dyn Host) -> Result<Configuration, SourceError> {
    let source = super::read(path, FLAG, LIMIT, host)?;
    Ok(Configuration::parse(source)?)
}

impl Found {
    /// The set of this name; without a name the command's own, else `default`, else none.
    ///
    /// # Errors
    /// When a named set is not there, or one says something wrong.
    pub(super) fn set(
        &self,
        name: Option<&str>,
        section: Option<Section>,
    ) -> Result<Option<Granted>, SourceError> {
        if let (None, Some(section)) = (name, section) {
            for file in &self.files {
                match file.section(section)? {
                    Some(SectionSet::Inline(granted)) => return Ok(Some(*granted)),
                    Some(SectionSet::Named(name)) => return self.named(&name).map(Some),
                    None => {}
                }
            }
        }
        match name {
            Some(name) => self.named(name).map(Some),
            None => self.lookup(DEFAULT),
        }
    }

    fn named(&self, name: &str) -> Result<Granted, SourceError> {
        self.lookup(name)?.ok_or_else(|| {
            let mut names: Vec<String> = Vec::new();
            for name in self.files.iter().flat_map(Configuration::names) {
                if !names.iter().any(|known| known == name) {
                    names.push(name.to_owned());
                }
            }
            SourceError::UnknownSet {
                name: name.to_owned(),
                path: self.path(),
                names,
            }
        })
    }

    fn lookup(&self, name: &str) -> Result<Option<Granted>, SourceError> {
        for file in &self.files {
            if let Some(granted) = file.set(name)? {
                return Ok(Some(granted));
            }
        }
        Ok(None)
    }

    /// Whether the configuration says something for this command.
    ///
    /// # Errors
    /// When what it says is wrong.
    pub(super) fn has_section(&self, section: Section) -> Result<bool, SourceError> {
        for file in &self.files {
            if file.section(section)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What the user is told when a bare `-P` finds nothing, which is no error in Deno.
    pub(super) fn without_set(&self) -> String {
        format!(
            "`-P` has no effect: no permission set `{DEFAULT}` in `{}`",
            self.path().display()
        )
    }

    fn path(&self) -> PathBuf {
        self.files
            .first()
            .map(|file| file.source().shown.clone())
            .unwrap_or_default()
    }
}
