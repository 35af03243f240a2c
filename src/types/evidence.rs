//! Describes a database's content so that a restored copy can be held against its source.

use super::{ContentHash, Sha256};

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
        self.tables.iter().map(|table| table.rows).sum()
    }

    /// One digest over the whole evidence: equal for equal content, whenever it was dumped.
    pub fn content_hash(&self) -> Sha256 {
        let text = serde_json::to_vec(self).expect("evidence has only text keys");
        Sha256::of(&text)
    }
}

/// How well a copy is proven; `A` and `B` count as backups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum EvidenceClass {
    /// The source provably did not change; every table's rows and content are equal after a restore.
    A,
    /// Counts and cheap aggregates are equal after a restore.
    B,
    /// Restored and consistent, with nothing to compare it with.
    C,
}

impl EvidenceClass {
    /// The letter and what it means, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::A => "A: restored, every row and value equal to the source",
            Self::B => "B: restored, row counts equal to the source",
            Self::C => "C: restored and consistent, not compared with the source",
        }
    }
}
