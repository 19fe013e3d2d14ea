// SPDX-License-Identifier: MIT
//! Finds out where the names that denials write out lead, so that their addresses are denied as well.
//!
//! Invariant: nothing the target says has a part in these lookups; a program that asks for no name and
//! connects nowhere causes none, and nobody waits for them longer than [`TIME`].

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;
use tokio::task::spawn_local;

use super::filter::{Filter, all_of};
use super::message::Kind;
use super::upstream::Found;
use crate::egress::names::Met;
use crate::egress::rules::Rules;
use crate::plan::DENIED_NAMES_LOOKED_UP;

/// Longest time the first connections wait for these lookups.
const TIME: Duration = Duration::from_secs(2);
/// How long what they found is not asked for again.
const KEPT: Duration = Duration::from_secs(30);

/// What is known about the names of denials.
#[derive(Debug, Default)]
pub(super) struct Denied {
    names: Vec<String>,
    begun: Cell<bool>,
    first: OnceCell<()>,
    /// Since when it is known.
    since: Cell<Option<Instant>>,
}

impl Denied {
    /// The names of `rules` that are looked up. Behind a proxy nobody here knows where names lead.
    pub(super) fn new(rules: &Rules) -> Self {
        let mut names: Vec<&str> = rules.denied_names().collect();
        names.retain(|name| *name != "localhost");
        names.sort_unstable();
        names.truncate(DENIED_NAMES_LOOKED_UP);
        if rules.has_synthetic() {
            names.clear();
        }
        Self {
            names: names.into_iter().map(str::to_owned).collect(),
            ..Self::default()
        }
    }
}

impl Filter {
    /// Begins to find out where the denied names lead, once, and again when that is old.
    pub fn begin_denied(self: &Rc<Self>) {
        let denied = &self.denied;
        if denied.names.is_empty() {
            return;
        }
        let old = |since: Instant| since.elapsed() > KEPT;
        if denied.since.get().is_some_and(old) {
            denied.since.set(Some(Instant::now()));
            let filter = Rc::clone(self);
            spawn_local(async move { filter.look_up_denied().await });
        } else if !denied.begun.replace(true) {
            let filter = Rc::clone(self);
            spawn_local(async move { filter.denied_known().await });
        }
    }

    /// Whether [`Filter::denied_known`] would wait.
    pub fn is_denied_unknown(&self) -> bool {
        !self.denied.names.is_empty() && !self.denied.first.initialized()
    }

    /// Waits until it is known where the denied names lead, or nobody has said so in time.
    pub async fn denied_known(&self) {
        let first = || async {
            self.look_up_denied().await;
            self.denied.since.set(Some(Instant::now()));
        };
        self.denied.first.get_or_init(first).await;
    }

    async fn look_up_denied(&self) {
        let mut lookups = Vec::new();
        for name in &self.denied.names {
            for kind in self.kinds() {
                lookups.push(self.look_up_one_denied(name, kind));
            }
        }
        // What was not answered in time is not known.
        let _ = tokio::time::timeout(TIME, all_of(lookups)).await;
    }

    async fn look_up_one_denied(&self, name: &str, kind: Kind) {
        // Its addresses in the hosts file are denied as they stand.
        if self.hosts.addresses(name).is_some() {
            return;
        }
        let mut long: Vec<String> = Vec::new();
        if !name.contains('.') {
            long.extend(self.rules.search().within_domains(name));
        }
        long.push(name.to_owned());
        for long in long {
            if let Found::Addresses(addresses, ..) = self.upstream.look_up(&long, kind).await {
                self.hold_denied(name, addresses, Met::InRule);
            }
        }
    }
}

#[cfg(test)]
#[path = "denied_tests.rs"]
mod tests;
