//! Caches computed values. Invariant: a cached value equals what would be computed now, as long as its key names
//! everything that it depends on.

use std::sync::{Mutex, PoisonError};

/// Upper bound for the number of cached values; one more clears the cache.
const MOST_KEPT: usize = 256;

/// Values by the key that they were computed from.
#[derive(Debug)]
pub(super) struct Kept<K, V>(Mutex<Vec<(K, V)>>);

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: PartialEq, V: Clone> Kept<K, V> {
    /// Returns the value of this key, and computes it if it is not cached. After computing, drops the values whose keys
    /// are not current according to `is_current`.
    ///
    /// # Errors
    /// If the value cannot be computed.
    pub(super) fn get_or<E>(
        &self,
        key: K,
        is_current: impl Fn(&K) -> bool,
        compute: impl FnOnce() -> Result<V, E>,
    ) -> Result<V, E> {
        if let Some(value) = self.get(&key) {
            return Ok(value);
        }
        let value = compute()?;
        self.put(key, value.clone(), is_current);
        Ok(value)
    }

    fn get(&self, key: &K) -> Option<V> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value.clone())
    }

    fn put(&self, key: K, value: V, is_current: impl Fn(&K) -> bool) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| is_current(known) && *known != key);
        if kept.len() >= MOST_KEPT {
            kept.clear();
        }
        kept.push((key, value));
    }
}
