// SPDX-License-Identifier: MIT
//! A map that forgets its oldest entries.
//!
//! Invariant: never more than its limit, so that a target cannot fill the supervisor's memory with
//! sockets it made and closed.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// The newest entries, by insertion.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    entries: HashMap<K, V>,
    order: VecDeque<K>,
    limit: usize,
}

impl<K: Copy + Eq + Hash, V> Recent<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
            limit,
        }
    }

    /// Adds or replaces an entry; gives back the one that was forgotten for it.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        if self.entries.insert(key, value).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() <= self.limit {
            return None;
        }
        let oldest = self.order.pop_front()?;
        self.entries.remove(&oldest)
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;

    #[test]
    fn the_oldest_goes_first() {
        let mut recent = Recent::new(2);
        assert_eq!(recent.insert(1, 'a'), None);
        assert_eq!(recent.insert(2, 'b'), None);
        assert_eq!(recent.insert(1, 'c'), None);
        assert_eq!(recent.insert(3, 'd'), Some('c'));
        assert_eq!((recent.get(&2), recent.contains(&1)), (Some(&'b'), false));
        assert_eq!(recent.insert(4, 'e'), Some('b'));
    }
}
