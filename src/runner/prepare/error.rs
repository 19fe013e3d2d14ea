// SPDX-License-Identifier: MIT
//! Why a program cannot be prepared.

use std::io;
use std::path::PathBuf;

use super::super::cache::CacheError;
use super::super::config_chain::ConfigError;
use super::super::deno_dir::DirectoryError;
use super::super::file_set::FileSetError;
use super::super::graph::GraphError;
use super::super::lock::LockError;
use super::super::sources::SourcesError;

/// Why a program cannot be prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// No file has the name.
    #[error("the script `{path}` does not exist")]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// It is a directory, a socket, a pipe.
    #[error("the script `{path}` is not a regular file")]
    NotFile {
        /// The path.
        path: PathBuf,
    },
    /// It cannot be opened for reading.
    #[error("cannot read the script `{path}`")]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Code in an URL.
    #[error("the script `{text}` is neither a file nor the URL of a module")]
    NotLocal {
        /// As typed.
        text: String,
    },
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The private directories cannot be made.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A configuration file may not be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An import may not be followed.
    #[error(transparent)]
    FileSet(#[from] FileSetError),
    /// The runner could not be run.
    #[error("cannot resolve the modules of `{path}`")]
    Run {
        /// The script.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The runner refused.
    #[error("cannot resolve the modules of `{path}`: {answer}")]
    Refused {
        /// The script.
        path: PathBuf,
        /// What it printed.
        answer: String,
    },
    /// The lock cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Where to download from is not known, or not allowed.
    #[error(transparent)]
    Sources(#[from] SourcesError),
    /// The program has errors in its types; the checker's words.
    #[error("{text}")]
    Types {
        /// What it printed.
        text: String,
    },
    /// The runner cannot put the program together: a module is missing, a lock does not fit.
    #[error("{text}")]
    Runner {
        /// What it printed.
        text: String,
    },
    /// A host that nobody allowed.
    #[error("the program's modules would come from `{host}`, which nobody allowed\n{text}")]
    Host {
        /// `host:port`, as far as it is known.
        host: String,
        /// What the runner printed.
        text: String,
    },
    /// The download could not begin, or was cut short.
    #[error("cannot download the program's modules\n{text}")]
    Download {
        /// What was printed.
        text: String,
    },
    /// `node_modules` cannot be made, or is none of the project's.
    #[error("cannot install packages into `{path}`")]
    NodeModules {
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// `node_modules` is a link, which a repository can carry.
    #[error(
        "`{path}` is a link to `{real_path}`, and packages are read and laid out in directories only"
    )]
    NodeModulesLink {
        /// The link.
        path: PathBuf,
        /// What it leads to.
        real_path: PathBuf,
    },
    /// The runner printed something unexpected.
    #[error("cannot resolve the modules of `{path}`")]
    Graph {
        /// The script.
        path: PathBuf,
        /// What is wrong.
        source: GraphError,
    },
}

impl PrepareError {
    /// Whether Deno ends with 1 for it, too: the program itself is at fault.
    pub fn is_programs(&self) -> bool {
        matches!(self, Self::Types { .. } | Self::Runner { .. })
    }

    /// What would help.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Cache(error) => error.hint(),
            Self::Directory(error) => error.hint(),
            Self::Config(error) => error.hint(),
            Self::FileSet(error) => error.hint(),
            Self::Lock(error) => error.hint(),
            Self::Sources(error) => error.hint(),
            Self::Types { .. } => Some("`--no-check` runs it all the same".to_owned()),
            Self::Host { host, .. } => Some(format!("`--allow-import={host}` allows it")),
            Self::NodeModules { .. } | Self::NodeModulesLink { .. } => {
                Some("`--node-modules-dir=none` leaves packages in Stockade's cache".to_owned())
            }
            Self::NotLocal { .. } => Some("`stockade eval` runs code".to_owned()),
            Self::NotFile { .. } => Some("name the file the program starts with".to_owned()),
            _ => None,
        }
    }
}
