// SPDX-License-Identifier: MIT
//! The search list, both ways: the long names a short one is looked for under, the short name a long
//! one was made from.
//!
//! Invariant: one step only; the short form of a long name is never made long again in another
//! domain.

/// The search list of resolv.conf.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// Lower case, no trailing dot.
    pub domains: Vec<String>,
    /// Names with fewer dots are looked for in `domains`; resolv.conf(5) says 1 by default.
    pub dots: u8,
}

impl Search {
    /// Whether `name` is looked for in the domains.
    fn applies(&self, name: &str) -> bool {
        name.bytes().filter(|byte| *byte == b'.').count() < usize::from(self.dots)
    }

    /// `name` in each of the domains, in their order; nothing when it has too many dots.
    pub fn within_domains(&self, name: &str) -> impl Iterator<Item = String> {
        let applies = self.applies(name);
        self.domains
            .iter()
            .filter(move |_| applies)
            .map(move |domain| format!("{name}.{domain}"))
            .filter(|long| long.len() <= 253)
    }

    /// What is left of `name` without each of the domains, where the search list leads back to it.
    pub fn without_domains<'n>(&self, name: &'n str) -> impl Iterator<Item = &'n str> {
        self.stems(name).filter(|short| self.applies(short))
    }

    /// What is left of `name` without each of the domains, however many dots it has: libc completes
    /// names with more of them as well, once they were not found as they stand.
    pub fn stems<'n>(&self, name: &'n str) -> impl Iterator<Item = &'n str> {
        self.domains.iter().filter_map(move |domain| {
            let short = name.strip_suffix(domain.as_str())?.strip_suffix('.')?;
            (!short.is_empty()).then_some(short)
        })
    }
}
