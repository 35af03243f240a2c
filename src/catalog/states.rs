//! Derives the state of a listed copy from all its storages and archives. Invariant: every list and every sum that
//! tells good copies from others uses this module.

use std::str::FromStr;

use crate::types::Refused;

use super::order::OTHERS;

/// State of a listed copy: the best that any storage or archive holds of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListedState {
    /// Undamaged in a storage, complete, and proven against its source.
    Good,
    /// Undamaged, but compared with nothing, or a table is missing.
    Unproven,
    /// Undamaged, but its source was damaged when it was made.
    Suspect,
    /// No storage has it undamaged: one holds other bytes than were stored.
    Corrupt,
    /// No storage has it.
    Missing,
}

impl ListedState {
    /// All states, the best first: the index is the state's rank in SQL.
    pub const ALL: [Self; 5] = [
        Self::Good,
        Self::Unproven,
        Self::Suspect,
        Self::Corrupt,
        Self::Missing,
    ];

    /// Word for the state, such as `good`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Unproven => "unproven",
            Self::Suspect => "suspect",
            Self::Corrupt => "corrupt",
            Self::Missing => "missing",
        }
    }

    /// State for a rank in SQL; [`ListedState::Missing`] for any other number.
    pub(super) fn ranked(rank: u64) -> Self {
        let rank = usize::try_from(rank).unwrap_or(usize::MAX);
        Self::ALL.get(rank).copied().unwrap_or(Self::Missing)
    }
}

/// Filter for copies by their state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StateFilter {
    /// Restorable copies: good ones, and unproven ones for a configuration that proves nothing.
    #[default]
    Restorable,
    /// All known copies.
    All,
    /// Copies in one state.
    One(ListedState),
}

impl StateFilter {
    /// Accepted ranks, as an SQL list.
    pub(super) fn ranks(self) -> &'static str {
        match self {
            Self::Restorable => "0, 1",
            Self::All => "0, 1, 2, 3, 4",
            Self::One(ListedState::Good) => "0",
            Self::One(ListedState::Unproven) => "1",
            Self::One(ListedState::Suspect) => "2",
            Self::One(ListedState::Corrupt) => "3",
            Self::One(ListedState::Missing) => "4",
        }
    }
}

impl FromStr for StateFilter {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        if text == "all" {
            return Ok(Self::All);
        }
        let mut states = ListedState::ALL.into_iter();
        let state = states.find(|state| state.as_str() == text);
        state.map(Self::One).ok_or_else(|| Refused {
            what: "state",
            value: text.to_owned(),
            rule: STATES,
        })
    }
}

/// Hint about the accepted words for a state.
pub const STATES: &str = "use good, unproven, suspect, corrupt, missing or all";

/// Weekly archives of this installation that are not marked for deletion, each with the rank of its members: archives
/// contain only proven copies.
pub(super) const ARCHIVES: &str = "WITH ranks AS MATERIALIZED (
    SELECT r2_key, coalesce((SELECT min(CASE state WHEN 'live' THEN 0 WHEN 'corrupt' THEN 3 ELSE 4 END)
        FROM archives WHERE archives.r2_key = whole.r2_key), 4) AS rank
    FROM backup_inventory AS whole WHERE database_name = '*' AND deleted_at IS NULL
        AND NOT EXISTS (SELECT 1 FROM archives WHERE archives.r2_key = whole.r2_key
            AND archives.instance <> (SELECT id FROM instance)))";

/// Rank of the copy `item` by its own objects; one whose manifest is unknown is unproven.
pub(super) const OWN_RANK: &str = "coalesce((SELECT min(CASE
        WHEN state = 'live' AND class IN ('A', 'B') AND NOT incomplete THEN 0
        WHEN state = 'live' AND class <> 'S' THEN 1
        WHEN state = 'live' THEN 2
        WHEN state = 'corrupt' THEN 3
        ELSE 4 END)
    FROM copies WHERE copies.r2_key = item.r2_key), 1)";

/// Keys that may belong to copies that are not restorable: few, and found by indexes, however much is stored.
pub(super) fn doubtful() -> String {
    format!(
        "(SELECT r2_key FROM copies WHERE state <> 'live'
            UNION SELECT r2_key FROM copies WHERE class = 'S' UNION SELECT r2_key FROM {OTHERS})"
    )
}

/// Undamaged archive that contains the copy `item`; null: none exists. It needs [`ARCHIVES`].
pub(super) const SOUND_ARCHIVE: &str = "(SELECT max(archive_key)
    FROM archive_members AS held CROSS JOIN ranks ON ranks.r2_key = held.archive_key
    WHERE held.r2_key = item.r2_key AND ranks.rank = 0)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_word_and_the_rank_of_its_place() {
        for (rank, state) in ListedState::ALL.into_iter().enumerate() {
            assert_eq!(state.as_str().parse(), Ok(StateFilter::One(state)));
            assert_eq!(StateFilter::One(state).ranks(), rank.to_string());
            assert_eq!(ListedState::ranked(rank as u64), state);
        }
        assert_eq!("all".parse(), Ok(StateFilter::All));
        for wrong in ["", "Good", "live", "good,corrupt", "ALL"] {
            assert!(wrong.parse::<StateFilter>().is_err(), "{wrong}");
        }
    }
}
