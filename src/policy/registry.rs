// SPDX-License-Identifier: MIT
//! Package registries that a policy names without naming their hosts: `{from: npm-registry}`.
//!
//! Invariant: only kinds stand here. Which hosts they are is the user's configuration to say, and
//! the tools' own.

use std::fmt;

use super::Origin;

/// A kind of registry, by the tool that uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Registry {
    /// Of npm, and of the tools that read its settings.
    Npm,
    /// The package index of pip.
    Pip,
    /// Of cargo.
    Cargo,
}

impl Registry {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Npm, Self::Pip, Self::Cargo];

    /// The word behind `from:`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Npm => "npm-registry",
            Self::Pip => "pip-index",
            Self::Cargo => "cargo-registry",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// One entry of a policy that grants a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedRegistry {
    /// Which.
    pub registry: Registry,
    /// Whether its hosts may lead to private addresses.
    pub private: bool,
    /// The entry.
    pub origin: Origin,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for kind in Registry::ALL {
            assert_eq!(Registry::parse(kind.name()), Some(kind));
        }
        assert_eq!(Registry::parse("registry"), None);
    }
}
