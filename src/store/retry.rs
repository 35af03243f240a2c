//! Retries calls that failed transiently. Invariant: a retried `create` never takes a foreign object for its own, nor
//! its own for a foreign one.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::Clock;
use crate::types::ObjectKey;

use super::{Body, Listing, ObjectStat, Prune, Reader, Store, StoreError, digest};

/// Number of retries and the delays before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Maximum number of calls after the first one.
    pub retries: u32,
    /// Longest delay before the first retry; it doubles for each further one.
    pub first_delay: Duration,
    /// Longest delay before any retry.
    pub max_delay: Duration,
}

impl Default for RetryPolicy {
    /// Two retries, as the spec's error table requires for uploads, after at most one and two seconds.
    fn default() -> Self {
        Self {
            retries: 2,
            first_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(30),
        }
    }
}

impl RetryPolicy {
    /// Delay before retry number `retry` (from 0): half of it fixed, half of it scaled by `chance` in `0.0..1.0`, so
    /// that agents that failed together do not return together.
    fn delay(&self, retry: u32, chance: f64) -> Duration {
        let doubled = self.first_delay.saturating_mul(2u32.saturating_pow(retry));
        doubled.min(self.max_delay).mul_f64(0.5 + chance / 2.0)
    }
}

/// A store that retries transient failures.
///
/// A [`Reader`] that fails midway is not resumed: the caller opens again.
pub struct Retry<S: ?Sized> {
    inner: Arc<S>,
    clock: Arc<dyn Clock>,
    policy: RetryPolicy,
}

impl<S: Store + ?Sized> Retry<S> {
    /// Wraps `inner`; waits on `clock`.
    pub fn new(inner: Arc<S>, clock: Arc<dyn Clock>, policy: RetryPolicy) -> Self {
        Self {
            inner,
            clock,
            policy,
        }
    }

    /// Waits and returns true if `error` is worth another call after `retry` retries.
    async fn again(&self, retry: &mut u32, error: &StoreError) -> bool {
        if !error.is_retryable() || *retry >= self.policy.retries {
            return false;
        }
        let delay = self.policy.delay(*retry, chance());
        *retry += 1;
        tracing::warn!(
            store = %error.store,
            retry = *retry,
            delay_ms = delay.as_millis() as u64,
            "trying again: {error}"
        );
        self.clock.sleep(delay).await;
        true
    }
}

impl<S: Store + ?Sized> Retry<S> {
    /// Creates once. `unsure`: an earlier call failed and may have stored the object nevertheless.
    async fn create_once(
        &self,
        key: &ObjectKey,
        body: Body<'_>,
        unsure: bool,
    ) -> Result<(), StoreError> {
        match self.inner.create(key, body).await {
            Err(error) if unsure && error.is_exists() => {
                match digest(self.inner.as_ref(), key).await? {
                    Some(found) if found == body.digest() => Ok(()),
                    _ => Err(error),
                }
            }
            result => result,
        }
    }
}

fn chance() -> f64 {
    let random = uuid::Uuid::new_v4().as_u128() as u32;
    f64::from(random) / (f64::from(u32::MAX) + 1.0)
}

#[async_trait]
impl<S: Store + ?Sized> Store for Retry<S> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn create(&self, key: &ObjectKey, body: Body<'_>) -> Result<(), StoreError> {
        let mut retry = 0;
        loop {
            match self.create_once(key, body, retry > 0).await {
                Err(error) if self.again(&mut retry, &error).await => {}
                result => return result,
            }
        }
    }

    async fn open(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<Option<Reader>, StoreError> {
        let mut retry = 0;
        loop {
            match self.inner.open(key, range.clone()).await {
                Err(error) if self.again(&mut retry, &error).await => {}
                result => return result,
            }
        }
    }

    async fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>, StoreError> {
        let mut retry = 0;
        loop {
            match self.inner.stat(key).await {
                Err(error) if self.again(&mut retry, &error).await => {}
                result => return result,
            }
        }
    }

    async fn list(&self) -> Result<Listing, StoreError> {
        let mut retry = 0;
        loop {
            match self.inner.list().await {
                Err(error) if self.again(&mut retry, &error).await => {}
                result => return result,
            }
        }
    }
}

#[async_trait]
impl<S: Prune + ?Sized> Prune for Retry<S> {
    async fn remove(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let mut retry = 0;
        loop {
            match self.inner.remove(key).await {
                Err(error) if self.again(&mut retry, &error).await => {}
                result => return result,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_bound_and_never_fall_below_half() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.delay(0, 0.0), Duration::from_millis(500));
        assert_eq!(policy.delay(1, 0.0), Duration::from_secs(1));
        assert_eq!(policy.delay(40, 0.0), Duration::from_secs(15));
        assert!(policy.delay(40, 0.999) < Duration::from_secs(30));
        assert!((0.0..1.0).contains(&chance()));
    }
}
