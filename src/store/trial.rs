//! Names the probes with which a store is tried out. Invariant: no probe's name is a key, so that a probe is never
//! taken for a copy; only probes of dead trials are swept.

use chrono::{DateTime, TimeDelta, Utc};

use super::StoreError;

/// Result of a trial: copies can be stored and read back. The fields name other shortcomings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// True if the store itself refuses to write a taken name; otherwise the name is checked before.
    pub refuses_taken: bool,
    /// Number of probes of dead trials that were removed.
    pub swept: u64,
    /// Reason that its objects cannot be listed; `None` if they can.
    pub unlisted: Option<StoreError>,
    /// Reason that a large object, which is sent in parts, cannot be created; `None` if it can, or if there is no
    /// difference.
    pub unparted: Option<StoreError>,
    /// Reason that nothing can be removed; `None` if removal works. Otherwise a probe stays.
    pub unremoved: Option<StoreError>,
}

/// Content of a probe.
pub(super) const CONTENT: &[u8] = b"a probe of patina check --online; it may be deleted\n";

const PREFIX: &str = ".patina-probe-";

/// Age at which a trial counts as dead: far longer than any trial takes.
const DEAD_AFTER: TimeDelta = TimeDelta::hours(1);

/// Prefix of the probes of the installation with this mark.
pub(super) fn prefix(mark: &str) -> String {
    format!("{PREFIX}{mark}-")
}

/// Returns the name of a new probe. It contains the time by our own clock, since the store's may differ.
pub(super) fn name(mark: &str, now: DateTime<Utc>) -> String {
    let unique = uuid::Uuid::new_v4().simple();
    format!("{}{}-{unique}", prefix(mark), now.timestamp())
}

/// True if `name` is a probe of this installation whose trial must have died.
pub(super) fn is_abandoned(name: &str, mark: &str, now: DateTime<Utc>) -> bool {
    let rest = name.strip_prefix(&prefix(mark));
    let time = rest.and_then(|rest| rest.split_once('-')).map(|two| two.0);
    let made = time.and_then(|time| DateTime::from_timestamp(time.parse().ok()?, 0));
    made.is_some_and(|made| now - made > DEAD_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ObjectKey;

    #[test]
    fn a_probe_is_no_key_and_is_swept_an_hour_later_by_its_own_installation() {
        let made = DateTime::UNIX_EPOCH;
        let probe = name("0123456789abcdef", made);
        assert!(probe.parse::<ObjectKey>().is_err(), "{probe}");
        let (soon, late) = (made + TimeDelta::minutes(59), made + TimeDelta::minutes(61));
        assert!(!is_abandoned(&probe, "0123456789abcdef", soon));
        assert!(is_abandoned(&probe, "0123456789abcdef", late));
        assert!(!is_abandoned(&probe, "another", late));
        for foreign in [
            "daily",
            ".patina-probe-",
            ".patina-probe-0123456789abcdef-x-y",
        ] {
            assert!(
                !is_abandoned(foreign, "0123456789abcdef", late),
                "{foreign}"
            );
        }
    }
}
