// SPDX-License-Identifier: MIT
//! What grants and denies beside the flags: `--policy` files and presets, `-P` sets of deno.json; and
//! the ceilings that bound them all.
//!
//! Invariant: granted is the union of all sources, denied is the union of all denials, and of limits
//! the smallest counts; a source that cannot be read in full stops the run. What stands in a file can
//! be given by flags as well, and is judged by the same code.

pub(super) mod ceilings;
mod configuration;
mod error;
pub(super) mod judged;
mod policy_files;
mod settings;
mod variables;

use std::io;
use std::path::{Path, PathBuf};

use super::invocation::{Mode, RunArguments, Settings};
use super::network_flags;
use crate::host::Host;
use crate::plan::links::{Written, follow};
use crate::policy::compose::union;
use crate::policy::file::deno_json::Section;
use crate::policy::file::{Granted, Source};
use crate::policy::grammar::lexical;
use crate::policy::{PathDescriptor, Policy, Rules};

pub(super) use error::SourceError;
pub(super) use policy_files::names_file;

/// The flags with everything the other sources say.
#[derive(Debug)]
pub(super) struct Composed {
    /// Grants and denials of all.
    pub policy: Policy,
    /// Settings of all.
    pub settings: Settings,
    /// What the user should know.
    pub notices: Vec<String>,
}

/// Adds the other sources to the flags of a command.
///
/// # Errors
/// [`SourceError`].
pub(super) fn compose_run(
    mut arguments: RunArguments,
    host: &dyn Host,
) -> Result<RunArguments, SourceError> {
    let start = start_directory(&arguments, host);
    let section = (arguments.mode == Mode::Test).then_some(Section::Test);
    if let Some(section) = section
        && !arguments.settings.sources.any()
        && arguments.policy == Policy::default()
        && has_section(
            &arguments.policy,
            &arguments.settings,
            &start,
            section,
            host,
        )?
    {
        return Err(SourceError::UnusedSection { section });
    }
    let composed = compose(arguments.policy, arguments.settings, &start, section, host)?;
    arguments.policy = composed.policy;
    arguments.settings = composed.settings;
    arguments.notices.extend(composed.notices);
    Ok(arguments)
}

/// Adds the sources that `settings` names to `policy`. `start` is the directory of the program, or of
/// the run; `section` is the command's own part of deno.json.
///
/// # Errors
/// [`SourceError`]: a source cannot be read, or is not there.
pub(super) fn compose(
    policy: Policy,
    mut settings: Settings,
    start: &Path,
    section: Option<Section>,
    host: &dyn Host,
) -> Result<Composed, SourceError> {
    let led = judged::read(host)?;
    judged::refuse_moved(&settings, &led, host)?;
    settings.ceilings = ceilings::load(&settings.sources.ceilings, start, host)?;
    let mut notices = Vec::new();
    let policy = match settings.sources.any() {
        true => add_sources(policy, &mut settings, start, section, host, &mut notices)?,
        false => policy,
    };
    // One look at each path, for what is judged and for what grants are held to.
    let places = ceilings::Looked::new(host);
    ceilings::judge(&policy, &settings, &places)?;
    let mut policy = ceilings::apply(policy, &mut settings, &places);
    judged::hold(&mut policy, &led, host)?;
    refuse_planted(&policy, &settings, host)?;
    Ok(Composed {
        policy,
        settings,
        notices,
    })
}

/// Refuses files that are read behind a link that a program could have made: what is in them reaches the
/// program, and bounds it.
fn refuse_planted(
    policy: &Policy,
    settings: &Settings,
    host: &dyn Host,
) -> Result<(), SourceError> {
    let mut files = settings.read_files().peekable();
    if files.peek().is_none() {
        return Ok(());
    }
    let written = Written::of(host, policy);
    for (flag, path) in files {
        // What cannot be followed cannot be read, which is said there.
        let way = follow(host, &lexical(host.current_directory(), path));
        if let Some(planted) = way.ok().and_then(|way| written.planted(&way)) {
            return Err(SourceError::Planted {
                flag: flag.to_owned(),
                path: path.to_path_buf(),
                planted,
            });
        }
    }
    Ok(())
}

fn add_sources(
    policy: Policy,
    settings: &mut Settings,
    start: &Path,
    section: Option<Section>,
    host: &dyn Host,
    notices: &mut Vec<String>,
) -> Result<Policy, SourceError> {
    let variables = variables::of(host, start);
    let mut layers = vec![policy];
    for name in std::mem::take(&mut settings.sources.policies) {
        for layer in policy_files::load(&name, &variables, host)? {
            settings::merge(settings, layer.settings);
            add(&mut layers, settings, layer.granted, host);
        }
    }
    if let Some(wanted) = &settings.sources.permission_set {
        // What is granted already says which configuration files may be read.
        let known = union(layers.clone());
        let found = configuration::find(settings, start, &known, host)?;
        match found.set(wanted.as_deref(), section)? {
            Some(granted) => add(&mut layers, settings, granted, host),
            None => notices.push(found.without_set()),
        }
    }
    let policy = union(layers);
    network_flags::check_all(&policy, &settings.network, &settings.sources.inspectors)?;
    Ok(policy)
}

/// Reads one policy file, preset or deno.json, and says everything that is wrong with it.
///
/// # Errors
/// [`SourceError`].
pub(super) fn check(name: &str, host: &dyn Host) -> Result<(), SourceError> {
    let file = Path::new(name).file_name();
    if file.is_some_and(|file| file == "deno.json" || file == "deno.jsonc") {
        return configuration::check(&lexical(host.current_directory(), Path::new(name)), host);
    }
    let variables = variables::of(host, host.current_directory());
    policy_files::load(name, &variables, host).map(drop)
}

/// Whether deno.json has permissions for this command, for those that want to be told to use them.
///
/// # Errors
/// [`SourceError`].
fn has_section(
    policy: &Policy,
    settings: &Settings,
    start: &Path,
    section: Section,
    host: &dyn Host,
) -> Result<bool, SourceError> {
    match configuration::find(settings, start, policy, host) {
        Ok(found) => found.has_section(section),
        Err(SourceError::NoConfiguration { .. } | SourceError::ConfigurationExcluded) => Ok(false),
        Err(error) => Err(error),
    }
}

fn add(layers: &mut Vec<Policy>, settings: &mut Settings, granted: Granted, host: &dyn Host) {
    let Granted {
        mut policy,
        private,
        verify,
        registries,
        bounds: _,
        block: _,
    } = granted;
    for rules in [
        &mut policy.read.allow,
        &mut policy.write.allow,
        &mut policy.ffi.allow,
    ] {
        drop_absent(rules, host);
    }
    settings.network.private.extend(private);
    settings.registries.extend(registries);
    settings
        .network
        .verify
        .extend(verify.into_iter().map(settings::verified));
    layers.push(policy);
}

/// Leaves out optional grants of what is not there.
fn drop_absent(rules: &mut Rules<PathDescriptor>, host: &dyn Host) {
    rules.entries.retain(|entry| {
        !entry.descriptor.optional
            || !matches!(host.inspect(&entry.descriptor.path), Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
    });
}

/// The directory of the program, where configuration and project are looked for.
fn start_directory(arguments: &RunArguments, host: &dyn Host) -> PathBuf {
    let current = host.current_directory();
    let script = match (arguments.mode, &arguments.script) {
        (Mode::Run | Mode::Serve, Some(script)) => script,
        _ => return current.to_owned(),
    };
    let remote = ["npm:", "jsr:", "data:", "http:", "https:"]
        .iter()
        .any(|scheme| script.starts_with(scheme));
    if remote || script == "-" {
        return current.to_owned();
    }
    let path = script.strip_prefix("file://").unwrap_or(script);
    let path = lexical(current, Path::new(path));
    path.parent().unwrap_or(current).to_owned()
}

/// Reads a file that a flag names, or leads to, as text with its name and its directory.
///
/// # Errors
/// It cannot be read, is too large, or is not text.
fn read(
    path: &Path,
    by: &'static str,
    limit: usize,
    host: &dyn Host,
) -> Result<Source, SourceError> {
    let name = shown(path, host);
    let bytes = host
        .read_file(path, limit + 1)
        .map_err(|source| SourceError::Read {
            path: name.clone(),
            by,
            source,
        })?;
    if bytes.len() > limit {
        let path = name;
        return Err(SourceError::TooLarge { path, by, limit });
    }
    let directory = path.parent().unwrap_or(path);
    // Paths of the file become flags of the runner, and those are text.
    match String::from_utf8(bytes) {
        Ok(text) if directory.to_str().is_some() => Ok(Source::new(&name, directory, text)),
        _ => Err(SourceError::NotUtf8 { path: name, by }),
    }
}

/// A path as messages name it: relative where it lies below the directory of the run.
fn shown(path: &Path, host: &dyn Host) -> PathBuf {
    match path.strip_prefix(host.current_directory()) {
        Ok(rest) if !rest.as_os_str().is_empty() => rest.to_owned(),
        _ => path.to_owned(),
    }
}
