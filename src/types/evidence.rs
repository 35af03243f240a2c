//! Describes a database's content, so that a restored copy can be compared with its source.

use std::fmt;

use super::{ContentHash, Sha256};
use crate::quote::line;

/// Content of one table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TableEvidence {
    /// Name of the table, as the schema spells it.
    pub name: String,
    /// Number of rows.
    pub rows: u64,
    /// Digest over every rowid and every value's type and bytes, in key order. `None` if the content is not part of the
    /// dump: see `omitted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<ContentHash>,
    /// Reason that the rows are not in the dump: `skip_data`, a contentless index, an unknown module. `None` if they
    /// are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub omitted: Option<String>,
}

/// Facts about a source that its restored copy must equal.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SourceEvidence {
    /// One entry per dumped table, in the dump's order.
    pub tables: Vec<TableEvidence>,
    /// Digest over type, name, table and text of every schema entry.
    pub schema: Sha256,
    /// `PRAGMA user_version`.
    pub user_version: i64,
    /// `PRAGMA application_id`.
    pub application_id: i64,
    /// Number of rows that `PRAGMA foreign_key_check` reports. D1 rejects such rows on import.
    pub foreign_key_violations: u64,
}

impl SourceEvidence {
    /// Number of rows of all tables.
    pub fn total_rows(&self) -> u64 {
        // A manifest may contain any numbers, so the sum saturates.
        let rows = self.tables.iter().map(|table| table.rows);
        rows.fold(0, u64::saturating_add)
    }

    /// Digest over the whole evidence: equal for equal content, regardless of when it was dumped.
    pub fn content_hash(&self) -> Sha256 {
        let text = serde_json::to_vec(self).expect("evidence has only text keys");
        Sha256::of(&text)
    }
}

/// Part of the source that its copy does not carry, or not equally. A copy with exceptions never gets class A.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Exception {
    /// Table, index, view, trigger or setting, as the schema spells it.
    pub object: String,
    /// Kind of difference.
    pub kind: ExceptionKind,
    /// Reason, as a sentence without its period.
    pub reason: String,
}

/// Kinds of differences between a copy and its source.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum ExceptionKind {
    /// Schema entry that the copy lacks.
    Missing,
    /// Table of which the copy lacks rows.
    Rows,
    /// Values that the copy has in another form, or not at all.
    Values,
    /// Search index that the copy lacks, or has with other content.
    Index,
    /// Schema entry whose text differs.
    Schema,
    /// Setting of the file.
    Setting,
    /// Rows that violate the source's own schema; the copy has them unchanged.
    BreaksSchema,
}

impl ExceptionKind {
    /// Predicate for people, to follow `table ...`.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Missing => "is missing",
            Self::Rows => "is without rows",
            Self::Values => "has other values",
            Self::Index => "has another search index",
            Self::Schema => "has another schema text",
            Self::Setting => "is another setting",
            Self::BreaksSchema => "has rows that its own schema refuses",
        }
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            object,
            kind,
            reason,
        } = self;
        let (object, reason) = (line(object), line(reason));
        write!(f, "`{object}` {}: {reason}", kind.meaning())
    }
}

/// Results of the independent check, which compared the restored copy with the source.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CheckFacts {
    /// Number of compared rows of `sqlite_schema`.
    pub schema_entries: u64,
    /// Number of tables whose rows were counted on both sides, shadow tables included.
    pub tables: u64,
    /// Number of counted rows.
    pub rows: u64,
    /// Digest of the source's inventory; for an image, of its pages.
    pub digest: Sha256,
    /// Result of SQLite's own check of the source in the same snapshot. `None`: it was not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

/// Result of SQLite's own check of a whole file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// No damage.
    Ok,
    /// Pages or indexes are inconsistent: messages of SQLite, at most some lines.
    Damaged(Vec<String>),
}

/// Proof of a copy, in classes; `A` and `B` count as backups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum EvidenceClass {
    /// The copy contains everything that the source contains, with equal values; a check that shares no code with
    /// reader and writer confirmed that on the restored copy.
    A,
    /// Restored and compared, with exceptions, or with a source that changed meanwhile; the differences are named.
    B,
    /// Restored and consistent, with nothing to compare it with.
    C,
    /// Suspect: a copy of a damaged source. It is kept and shown, and never counts.
    S,
}

impl EvidenceClass {
    /// All classes, the best first.
    pub const ALL: [Self; 4] = [Self::A, Self::B, Self::C, Self::S];

    /// True if a copy of this class counts as a backup.
    pub fn counts(self) -> bool {
        matches!(self, Self::A | Self::B)
    }

    /// Describes the proof for people: the class, and that an older version checked it if no independent check did.
    pub fn proof(self, is_checked: bool) -> String {
        match self {
            Self::A | Self::B if !is_checked => {
                format!("{} (checked by version 0.1)", self.meaning())
            }
            _ => self.meaning().to_owned(),
        }
    }

    /// Describes the class for people: its letter and meaning.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::A => "A: restored, every row and value equal to the source",
            Self::B => "B: restored and compared; what differs is named",
            Self::C => "C: restored and consistent, not compared with the source",
            Self::S => "S: suspect, a copy of a damaged source; it does not count",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_an_older_version_says_by_what_it_was_checked_and_a_suspect_one_never_counts() {
        assert!(
            EvidenceClass::A
                .proof(false)
                .ends_with("(checked by version 0.1)")
        );
        assert_eq!(EvidenceClass::A.proof(true), EvidenceClass::A.meaning());
        assert_eq!(EvidenceClass::C.proof(false), EvidenceClass::C.meaning());
        let counted = EvidenceClass::ALL.map(EvidenceClass::counts);
        assert_eq!(counted, [true, true, false, false]);
    }
}
