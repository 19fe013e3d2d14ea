// SPDX-License-Identifier: MIT
//! `--policy`: files and presets, with what they extend. The files themselves are protected from
//! the run, as what their `protect` names.
//!
//! Invariant: a file is read once, and everything wrong with it, its settings included, is told at
//! once.

use std::io;
use std::path::{Path, PathBuf};

use super::SourceError;
use super::settings::{self, FileSettings};
use crate::host::{FileKind, Host};
use crate::policy::file::{Granted, Problem, Problems, Setting, Source, Variables, document};
use crate::policy::grammar::lexical;
use crate::policy::presets;
use crate::policy::spelling::nearest;
use crate::policy::{Entry, Origin, PathDescriptor};

/// More than any policy file.
const LIMIT: usize = 1024 * 1024;

/// Files that extend each other in a row.
const DEPTH: usize = 8;

/// One file, read.
#[derive(Debug)]
pub(in crate::cli) struct Layer {
    /// What it grants and denies.
    pub granted: Granted,
    /// What it sets.
    pub settings: FileSettings,
}

/// Where a policy comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Location {
    Preset(&'static str),
    File(PathBuf),
}

/// The layers of one `--policy`: what it extends, then itself.
///
/// # Errors
/// [`SourceError`].
pub(super) fn load(
    name: &str,
    variables: &Variables,
    host: &dyn Host,
) -> Result<Vec<Layer>, SourceError> {
    let location =
        locate(name, host.current_directory()).map_err(|hint| SourceError::UnknownPreset {
            name: name.to_owned(),
            hint,
        })?;
    Loading::new(Role::Policy, variables, host).load(location)
}

/// Whether a value of `--policy` is a file: it has a `/`, or the ending of YAML. Any other is a preset.
pub(in crate::cli) fn names_file(name: &str) -> bool {
    name.contains('/') || name.ends_with(".yaml") || name.ends_with(".yml")
}

/// A file is relative to `directory`.
fn locate(name: &str, directory: &Path) -> Result<Location, String> {
    if names_file(name) {
        return Ok(Location::File(lexical(directory, Path::new(name))));
    }
    if let Some(known) = presets::names().find(|known| *known == name) {
        return Ok(Location::Preset(known));
    }
    Err(match nearest(name, presets::names()) {
        Some(near) => format!("did you mean `{near}`? A file is named with a `/`: `./{name}`"),
        None => {
            let names: Vec<&str> = presets::names().collect();
            format!(
                "there are: {}. A file is named with a `/`: `./{name}`",
                names.join(", ")
            )
        }
    })
}

fn protected(path: PathBuf) -> PathDescriptor {
    PathDescriptor {
        path,
        trailing_slash: false,
        optional: true,
        within: None,
        judged: None,
    }
}

/// The layers of a ceiling, always taken for a path.
///
/// # Errors
/// [`SourceError`].
pub(super) fn load_ceiling(
    path: &Path,
    variables: &Variables,
    host: &dyn Host,
) -> Result<Vec<Layer>, SourceError> {
    let location = Location::File(lexical(host.current_directory(), path));
    Loading::new(Role::Ceiling, variables, host).load(location)
}

/// The layers of the system-wide ceiling; none when there is no such file.
///
/// # Errors
/// [`SourceError`]; also when anybody but the superuser could have written it.
pub(super) fn load_system(
    path: &str,
    variables: impl FnOnce() -> Variables,
    host: &dyn Host,
) -> Result<Option<Vec<Layer>>, SourceError> {
    match host.inspect(Path::new(path)) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        // Whatever else it is, reading it says.
        _ => {
            let location = Location::File(path.into());
            let variables = variables();
            let loading = Loading::new(Role::SystemCeiling, &variables, host);
            loading.load(location).map(Some)
        }
    }
}

/// What the files are read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// `--policy`.
    Policy,
    /// `--ceiling`.
    Ceiling,
    /// The system-wide ceiling.
    SystemCeiling,
}

impl Role {
    /// What names the first file, in messages.
    const fn by(self) -> &'static str {
        match self {
            Self::Policy => "--policy",
            Self::Ceiling => "--ceiling",
            Self::SystemCeiling => "the system",
        }
    }
}

struct Loading<'a> {
    variables: &'a Variables,
    host: &'a dyn Host,
    role: Role,
    /// The files on the way to the one being read.
    open: Vec<Location>,
    layers: Vec<Layer>,
}

impl<'a> Loading<'a> {
    fn new(role: Role, variables: &'a Variables, host: &'a dyn Host) -> Self {
        Self {
            variables,
            host,
            role,
            open: Vec::new(),
            layers: Vec::new(),
        }
    }

    fn load(mut self, location: Location) -> Result<Vec<Layer>, SourceError> {
        let source = self.source(&location)?;
        self.add(location, source)?;
        Ok(self.layers)
    }

    /// The file of a ceiling that holds for everybody: nobody but the superuser may have a say in it.
    fn guard(&self, path: &Path) -> Result<(), SourceError> {
        if self.role != Role::SystemCeiling {
            return Ok(());
        }
        let found = self
            .host
            .inspect(path)
            .map_err(|source| SourceError::Read {
                path: path.to_owned(),
                by: self.role.by(),
                source,
            })?;
        if found.kind == FileKind::File && found.uid == 0 && found.mode & 0o022 == 0 {
            return Ok(());
        }
        Err(SourceError::Unguarded {
            path: path.to_owned(),
        })
    }

    fn source(&self, location: &Location) -> Result<Source, SourceError> {
        let path = match location {
            Location::Preset(name) => {
                let text = presets::text(name).unwrap_or_default().to_owned();
                let shown = PathBuf::from(format!("presets/{name}.yaml"));
                return Ok(Source::new(&shown, self.host.current_directory(), text));
            }
            Location::File(path) => path,
        };
        self.guard(path)?;
        super::read(path, self.role.by(), LIMIT, self.host)
    }

    fn add(&mut self, location: Location, source: Source) -> Result<(), SourceError> {
        let (file, mut problems) = document::read(&source, self.variables);
        let settings = settings::read(&file, &mut problems);
        if self.role != Role::Policy {
            settings::refuse_in_ceiling(&file, &source, &mut problems);
        }
        let directory = source.directory.clone();
        let mut extended = Vec::new();
        let own = match &location {
            Location::Preset(_) => None,
            Location::File(path) => Some(path.clone()),
        };
        self.open.push(location);
        for base in &file.extends {
            match self.extended(base, &directory) {
                Ok(found) => extended.push(found),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(Problems::new(source, problems).into());
        }
        for (location, source) in extended {
            self.add(location, source)?;
        }
        self.open.pop();
        let mut granted = file.granted;
        granted.policy.protect.extend(own.map(|path| Entry {
            text: path.to_string_lossy().into_owned(),
            origin: Origin::flag(self.role.by(), path.to_str()),
            descriptor: protected(path),
        }));
        let named = file.protect.into_iter().map(|setting| Entry {
            descriptor: protected(PathBuf::from(&setting.value)),
            text: setting.value,
            origin: setting.origin,
        });
        granted.policy.protect.extend(named);
        self.layers.push(Layer { granted, settings });
        Ok(())
    }

    /// What one entry of `extends` names, its text read.
    fn extended(
        &self,
        base: &Setting<String>,
        directory: &Path,
    ) -> Result<(Location, Source), Problem> {
        let problem = |message: String, hint: Option<String>| Problem {
            place: base.place,
            message,
            hint,
            secret: false,
        };
        let location = locate(&base.value, directory)
            .map_err(|hint| problem(format!("no preset `{}`", base.value), Some(hint)))?;
        if self.open.contains(&location) {
            let message = format!("`{}` extends itself", base.value);
            return Err(problem(message, Some("remove it".to_owned())));
        }
        if self.open.len() >= DEPTH {
            let message = format!("more than {DEPTH} files extend each other");
            return Err(problem(message, None));
        }
        match self.source(&location) {
            Ok(source) => Ok((location, source)),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                let message = match cause {
                    Some(cause) => format!("cannot read `{}`: {cause}", base.value),
                    None => format!("cannot read `{}`", base.value),
                };
                Err(problem(message, None))
            }
        }
    }
}
