//! Describes a database's content so that a restored copy can be held against its source.

use std::fmt;

use super::{ContentHash, Sha256};
use crate::quote::line;

/// What one table held.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TableEvidence {
    /// The table's name, as the schema spells it.
    pub name: String,
    /// How many rows it has.
    pub rows: u64,
    /// A digest over every rowid and every value's type and bytes, in key order. `None` where the content is
    /// not part of the dump: see `omitted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<ContentHash>,
    /// Why the rows are not in the dump: `skip_data`, a contentless index, an unknown module. `None` where
    /// they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub omitted: Option<String>,
}

/// Everything about a source that its restored copy must equal.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SourceEvidence {
    /// One entry per dumped table, in the dump's order.
    pub tables: Vec<TableEvidence>,
    /// A digest over type, name, table and text of every schema entry.
    pub schema: Sha256,
    /// `PRAGMA user_version`.
    pub user_version: i64,
    /// `PRAGMA application_id`.
    pub application_id: i64,
    /// How many rows `PRAGMA foreign_key_check` reports. D1 refuses such rows on import.
    pub foreign_key_violations: u64,
}

impl SourceEvidence {
    /// The rows of all tables.
    pub fn total_rows(&self) -> u64 {
        // A manifest may say anything.
        let rows = self.tables.iter().map(|table| table.rows);
        rows.fold(0, u64::saturating_add)
    }

    /// One digest over the whole evidence: equal for equal content, whenever it was dumped.
    pub fn content_hash(&self) -> Sha256 {
        let text = serde_json::to_vec(self).expect("evidence has only text keys");
        Sha256::of(&text)
    }
}

/// Something of the source that its copy does not carry, or not equally. A copy with exceptions never gets proof A.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Exception {
    /// The table, index, view, trigger or setting, as the schema spells it.
    pub object: String,
    /// What about it.
    pub kind: ExceptionKind,
    /// Why, as a sentence without its end.
    pub reason: String,
}

/// In which way a copy differs from its source.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum ExceptionKind {
    /// A schema entry that the copy lacks.
    Missing,
    /// A table whose rows, or some of them, the copy lacks.
    Rows,
    /// Values that the copy has in another form, or not at all.
    Values,
    /// A search index that the copy lacks, or has with other content.
    Index,
    /// A schema entry whose text is another one.
    Schema,
    /// A setting of the file.
    Setting,
    /// Rows that the source's own schema would refuse; the copy has them as they are.
    BreaksSchema,
}

impl ExceptionKind {
    /// What it means, for people: what follows `table ...`.
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

/// What the independent check found when it held the restored copy against the source.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CheckFacts {
    /// Rows of `sqlite_schema` that were compared.
    pub schema_entries: u64,
    /// Tables whose rows were counted on both sides, shadow tables among them.
    pub tables: u64,
    /// Rows that were counted.
    pub rows: u64,
    /// Digest of the source's inventory; an image's is that of its pages.
    pub digest: Sha256,
    /// What SQLite's own check says of the source in the same snapshot. `None`: it was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

/// What SQLite's own check of a whole file says.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Nothing is wrong.
    Ok,
    /// Pages or indexes contradict each other: what SQLite says, at most some lines of it.
    Damaged(Vec<String>),
}

/// How well a copy is proven; `A` and `B` count as backups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum EvidenceClass {
    /// The copy holds everything that the source holds, with equal values; a check that shares no code with what read
    /// and wrote it confirmed that on the restored copy.
    A,
    /// Restored and compared, with exceptions, or with a source that changed meanwhile; what differs is named.
    B,
    /// Restored and consistent, with nothing to compare it with.
    C,
    /// Suspect: a copy of a damaged source. It is kept and shown, and never counts.
    S,
}

impl EvidenceClass {
    /// All of them, the best first.
    pub const ALL: [Self; 4] = [Self::A, Self::B, Self::C, Self::S];

    /// Whether a copy of this class counts as a backup.
    pub fn counts(self) -> bool {
        matches!(self, Self::A | Self::B)
    }

    /// What the proof is worth, for people: the class, and that an older version checked it where no independent check
    /// did.
    pub fn proof(self, is_checked: bool) -> String {
        match self {
            Self::A | Self::B if !is_checked => {
                format!("{} (checked by version 0.1)", self.meaning())
            }
            _ => self.meaning().to_owned(),
        }
    }

    /// The letter and what it means, for people.
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
