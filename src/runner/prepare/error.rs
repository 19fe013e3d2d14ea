// SPDX-License-Identifier: MIT
//! Why a program cannot be prepared.

use std::io;
use std::path::PathBuf;

use super::super::cache::CacheError;
use super::super::config_chain::ConfigError;
use super::super::deno_dir::DirectoryError;
use super::super::file_set::FileSetError;
use super::super::graph::GraphError;

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
    /// A remote script.
    #[error(
        "the script `{text}` is not a local file: packages and remote imports are not supported yet"
    )]
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
    /// What would help.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Cache(error) => error.hint(),
            Self::Directory(error) => error.hint(),
            Self::Config(error) => error.hint(),
            Self::FileSet(error) => error.hint(),
            Self::NotFile { .. } => Some("name the file the program starts with".to_owned()),
            _ => None,
        }
    }
}
