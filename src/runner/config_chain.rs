// SPDX-License-Identifier: MIT
//! The configuration files Deno looks for above a program: which exist, which do not, and where the
//! project's root is.
//!
//! Invariant: every existing candidate is either granted or an error, because Deno silently treats
//! an unreadable `deno.json` as absent (measured on 2.9.6).

use std::io;
use std::path::{Path, PathBuf};

use jsonc_parser::ParseOptions;
use serde_json::Value;

use super::file_set::is_hidden;
use crate::host::{FileKind, FileStamp, Host, Inspected};
use crate::plan::ReadRule;
use crate::policy::grammar::lexical;

/// The names looked for in each directory; the first two are configurations, of which the first
/// found counts.
const CANDIDATES: [&str; 4] = ["deno.json", "deno.jsonc", "package.json", "tsconfig.json"];

/// More than any real configuration; a larger file is not parsed for members.
const LIMIT: usize = 4 << 20;

/// Configuration named on the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigFlags {
    /// `--no-config`.
    pub none: bool,
    /// `--config FILE`.
    pub config: Option<PathBuf>,
    /// `--import-map FILE`, when it is no URL.
    pub import_map: Option<PathBuf>,
}

/// A configuration file that stops the run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file of the chain leads out of its directory: a link could point it at anything.
    #[error("the configuration file `{path}` leads to `{real_path}`, outside its project")]
    Outside {
        /// The file.
        path: PathBuf,
        /// What it leads to.
        real_path: PathBuf,
    },
    /// Somebody else put it where everybody may.
    #[error(
        "the configuration file `{path}` belongs to user {owner}, in a directory that everybody may write to"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// A denial covers it, and Deno would run as if it did not exist.
    #[error("the configuration file `{path}` is denied by `--deny-read`")]
    Denied {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be looked at.
    #[error("cannot open the configuration file `{path}`")]
    Open {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl ConfigError {
    /// What would help.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Outside { real_path, .. } => {
                format!(
                    "`--allow-read={}` allows it, `--no-config` ignores it",
                    real_path.display()
                )
            }
            Self::Foreign { path, .. } => format!(
                "`--no-config` ignores it, `--config={}` takes it",
                path.display()
            ),
            Self::Denied { .. } => "narrow the `--deny-read`, or add `--no-config`".to_owned(),
            Self::Open { .. } => "`--no-config` runs without configuration files".to_owned(),
        })
    }
}

/// One configuration file that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// The path Deno opens.
    pub path: PathBuf,
    /// What it leads to, without links.
    pub real_path: PathBuf,
    /// The version that was judged.
    pub stamp: FileStamp,
}

/// The result: everything that decides how imports resolve.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigChain {
    /// Files to be granted.
    pub present: Vec<ConfigFile>,
    /// Candidates that do not exist; one that appears changes the program.
    pub absent: Vec<PathBuf>,
    /// The project root, without links: workspace root, else the configuration's directory, else
    /// the entry's.
    pub root: PathBuf,
}

/// Looks for the configuration of an entry in `directory` (absolute, as typed).
///
/// # Errors
/// A candidate exists and may not be read.
pub fn resolve(
    host: &dyn Host,
    directory: &Path,
    flags: &ConfigFlags,
    read_rule: &dyn Fn(&Path) -> ReadRule,
) -> Result<ConfigChain, ConfigError> {
    let directory = lexical(Path::new("/"), directory);
    let mut search = Search {
        host,
        read_rule,
        chain: ConfigChain::default(),
    };
    let mut root = directory.clone();
    if let Some(path) = flags.config.as_ref().filter(|_| !flags.none) {
        let path = lexical(host.current_directory(), path);
        search.named(&path)?;
        root = path.parent().map_or(root, Path::to_owned);
        search.import_map_of(&path)?;
    } else if !flags.none {
        root = search.upward(&directory)?.unwrap_or(root);
    }
    if let Some(path) = &flags.import_map {
        search.named(&lexical(host.current_directory(), path))?;
    }
    let mut chain = search.chain;
    let opened = host.inspect(&root).map_err(|source| ConfigError::Open {
        path: root.clone(),
        source,
    })?;
    chain.root = opened.real_path;
    Ok(chain)
}

/// Whether a file that is looked for by its name alone was put there by another user, in a directory like
/// `/tmp`: it would decide what the user's own programs below are made of.
pub(super) fn is_foreign(host: &dyn Host, path: &Path, found: &Inspected) -> bool {
    const OTHERS_WRITE: u32 = 0o002;
    let directory = path.parent().map(|directory| host.inspect(directory));
    let everybodys = match directory {
        Some(Ok(directory)) => directory.mode & OTHERS_WRITE != 0,
        _ => true,
    };
    everybodys && found.uid != 0 && found.uid != host.user()
}

struct Search<'a> {
    host: &'a dyn Host,
    read_rule: &'a dyn Fn(&Path) -> ReadRule,
    chain: ConfigChain,
}

impl Search<'_> {
    /// Every candidate from `directory` to `/`; returns the project root, if a configuration says.
    fn upward(&mut self, directory: &Path) -> Result<Option<PathBuf>, ConfigError> {
        let mut nearest: Option<PathBuf> = None;
        let mut workspace: Option<PathBuf> = None;
        for above in directory.ancestors() {
            let config = self.candidates(above, above)?;
            let Some(config) = config else { continue };
            let members = self.members(&config, above);
            let is_member = |found: &PathBuf| members.as_ref().is_some_and(|m| m.contains(found));
            if workspace.is_none() && members.is_some() && nearest.as_ref().is_none_or(is_member) {
                workspace = Some(above.to_owned());
                for member in members.iter().flatten() {
                    self.candidates(member, above)?;
                }
            }
            if nearest.is_none() {
                nearest = Some(above.to_owned());
            }
            self.import_map_of(&config)?;
        }
        Ok(workspace.or(nearest))
    }

    /// Looks at the candidates of one directory, which may lead to what is `below`; returns its
    /// Deno configuration.
    fn candidates(
        &mut self,
        directory: &Path,
        below: &Path,
    ) -> Result<Option<PathBuf>, ConfigError> {
        let mut config = None;
        for name in CANDIDATES {
            let path = directory.join(name);
            if self.candidate(&path, below)? && name.starts_with("deno.") {
                config.get_or_insert(path);
            }
        }
        Ok(config)
    }

    /// Records one candidate; whether it exists. `below` is where it may lead.
    fn candidate(&mut self, path: &Path, below: &Path) -> Result<bool, ConfigError> {
        if self.chain.present.iter().any(|file| file.path == path) {
            return Ok(true);
        }
        let found = match self.host.inspect(path) {
            Ok(found) if found.kind == FileKind::File => found,
            // A directory of that name is nothing to Deno.
            Ok(_) => return Ok(false),
            Err(error) if is_absent(&error) => {
                if !self.chain.absent.iter().any(|known| known == path) {
                    self.chain.absent.push(path.to_owned());
                }
                return Ok(false);
            }
            // Above the user's own directories: Deno cannot open it either.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(false),
            Err(source) => {
                return Err(ConfigError::Open {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        if is_foreign(self.host, path, &found) {
            return Err(ConfigError::Foreign {
                path: path.to_owned(),
                owner: found.uid,
            });
        }
        let real_below = self
            .host
            .inspect(below)
            .map_err(|source| ConfigError::Open {
                path: below.to_owned(),
                source,
            })?
            .real_path;
        let stays = found.real_path.strip_prefix(&real_below).is_ok_and(|rest| {
            let json = rest
                .extension()
                .is_some_and(|end| end == "json" || end == "jsonc");
            json && !is_hidden(rest)
        });
        match (self.read_rule)(&found.real_path) {
            ReadRule::Denied => {
                return Err(ConfigError::Denied {
                    path: path.to_owned(),
                });
            }
            ReadRule::Unsaid if !stays => {
                let (path, real_path) = (path.to_owned(), found.real_path);
                return Err(ConfigError::Outside { path, real_path });
            }
            ReadRule::Unsaid | ReadRule::Granted => {}
        }
        self.chain.present.push(ConfigFile {
            path: path.to_owned(),
            real_path: found.real_path,
            stamp: found.stamp,
        });
        Ok(true)
    }

    /// A file the user named: it is granted wherever it leads.
    fn named(&mut self, path: &Path) -> Result<(), ConfigError> {
        let found = self
            .host
            .inspect(path)
            .map_err(|source| ConfigError::Open {
                path: path.to_owned(),
                source,
            })?;
        self.chain.present.push(ConfigFile {
            path: path.to_owned(),
            real_path: found.real_path,
            stamp: found.stamp,
        });
        Ok(())
    }

    /// The import map file a configuration names.
    fn import_map_of(&mut self, config: &Path) -> Result<(), ConfigError> {
        let Some(directory) = config.parent() else {
            return Ok(());
        };
        let value = self.parsed(config);
        let Some(text) = value.get("importMap").and_then(Value::as_str) else {
            return Ok(());
        };
        if !text.contains("://") {
            self.candidate(&lexical(directory, Path::new(text)), directory)?;
        }
        Ok(())
    }

    /// The directories of a workspace's members; none when it is no workspace.
    fn members(&self, config: &Path, directory: &Path) -> Option<Vec<PathBuf>> {
        let value = self.parsed(config);
        let workspace = value.get("workspace")?;
        let list = workspace
            .as_array()
            .or_else(|| workspace.get("members")?.as_array())?;
        let mut members = vec![directory.to_owned()];
        for pattern in list.iter().filter_map(Value::as_str) {
            let mut found = vec![directory.to_owned()];
            for part in pattern
                .split('/')
                .filter(|part| !part.is_empty() && *part != ".")
            {
                found = found
                    .iter()
                    .flat_map(|base| self.step(base, part))
                    .collect();
            }
            members.extend(found);
        }
        Some(members)
    }

    /// One component of a member pattern; `*` stands for every visible directory.
    fn step(&self, base: &Path, part: &str) -> Vec<PathBuf> {
        if part != "*" {
            return vec![lexical(base, Path::new(part))];
        }
        let entries = self.host.list_directory(base).unwrap_or_default();
        let directories = entries
            .into_iter()
            .filter(|entry| entry.kind == FileKind::Directory);
        directories
            .filter(|entry| !entry.name.as_encoded_bytes().starts_with(b"."))
            .map(|entry| base.join(entry.name))
            .collect()
    }

    fn parsed(&self, path: &Path) -> Value {
        parse_configuration(self.host, path)
    }
}

/// The content as JSON; what is not is Deno's to report.
pub(super) fn parse_configuration(host: &dyn Host, path: &Path) -> Value {
    let bytes = host.read_file(path, LIMIT).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    jsonc_parser::parse_to_serde_value(&text, &ParseOptions::default()).unwrap_or_default()
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;

    fn chain(host: &FakeHost, directory: &str) -> Result<ConfigChain, ConfigError> {
        resolve(host, Path::new(directory), &ConfigFlags::default(), &|_| {
            ReadRule::Unsaid
        })
    }

    fn present(chain: &ConfigChain) -> Vec<&str> {
        chain
            .present
            .iter()
            .map(|file| file.path.to_str().unwrap())
            .collect()
    }

    #[test]
    fn the_nearest_configuration_is_the_root() {
        let host = FakeHost::new()
            .with_directory("/w/src")
            .with_file(
                "/w/deno.jsonc",
                "{ // comment\n \"importMap\": \"./maps/i.json\", }",
            )
            .with_file("/w/maps/i.json", "{}")
            .with_file("/package.json", "{}");
        let found = chain(&host, "/w/src").unwrap();
        assert_eq!(found.root, Path::new("/w"));
        assert_eq!(
            present(&found),
            ["/w/deno.jsonc", "/w/maps/i.json", "/package.json"]
        );
        assert!(found.absent.contains(&PathBuf::from("/w/src/deno.json")));
        assert!(found.absent.contains(&PathBuf::from("/w/deno.json")));
        assert!(found.absent.contains(&PathBuf::from("/tsconfig.json")));
        assert_eq!(
            chain(&FakeHost::new().with_directory("/x/y"), "/x/y/../y")
                .unwrap()
                .root,
            Path::new("/x/y")
        );
    }

    #[test]
    fn a_workspace_is_the_root_of_its_members_only() {
        let host = FakeHost::new()
            .with_file("/w/deno.json", r#"{"workspace": ["./a", "./packages/*"]}"#)
            .with_file("/w/a/deno.json", "{}")
            .with_file("/w/packages/b/deno.json", "{}")
            .with_file("/w/packages/b/src/m.ts", "")
            .with_file("/w/other/deno.json", "{}");
        for directory in ["/w/a", "/w/packages/b", "/w/packages/b/src", "/w"] {
            let found = chain(&host, directory).unwrap();
            assert_eq!(found.root, Path::new("/w"), "{directory}");
            assert!(present(&found).contains(&"/w/a/deno.json"), "{directory}");
        }
        assert_eq!(
            chain(&host, "/w/other").unwrap().root,
            Path::new("/w/other")
        );
    }

    #[test]
    fn a_configuration_that_leads_elsewhere_stops_the_run() {
        let host = FakeHost::new()
            .with_directory("/w")
            .with_file("/etc/secret.json", "{}");
        let linked = host.clone().with_link("/w/deno.json", "/etc/secret.json");
        assert!(matches!(
            chain(&linked, "/w"),
            Err(ConfigError::Outside { .. })
        ));
        let hidden = host
            .with_file("/w/.env", "")
            .with_link("/w/deno.json", "/w/.env");
        assert!(matches!(
            chain(&hidden, "/w"),
            Err(ConfigError::Outside { .. })
        ));
        let granted = resolve(&linked, Path::new("/w"), &ConfigFlags::default(), &|_| {
            ReadRule::Granted
        });
        assert_eq!(granted.unwrap().present.len(), 1);
        let none = ConfigFlags {
            none: true,
            ..ConfigFlags::default()
        };
        let without = resolve(&linked, Path::new("/w"), &none, &|_| ReadRule::Unsaid).unwrap();
        assert!(without.present.is_empty() && without.absent.is_empty());
    }

    #[test]
    fn a_named_configuration_replaces_the_search() {
        let host = FakeHost::new()
            .with_file("/w/deno.json", "{}")
            .with_file("/o/c.json", "{}")
            .with_file("/o/m.json", "{}");
        let flags = ConfigFlags {
            none: false,
            config: Some("/o/c.json".into()),
            import_map: Some("/o/m.json".into()),
        };
        let found = resolve(&host, Path::new("/w"), &flags, &|_| ReadRule::Unsaid).unwrap();
        assert_eq!(
            (present(&found), found.root.clone()),
            (vec!["/o/c.json", "/o/m.json"], "/o".into())
        );
        let missing = ConfigFlags {
            config: Some("/none.json".into()),
            ..ConfigFlags::default()
        };
        assert!(resolve(&host, Path::new("/w"), &missing, &|_| ReadRule::Unsaid).is_err());
    }
}
