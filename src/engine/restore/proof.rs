//! Holds a restored database against what is known of its copy, table by table. Pure. Invariant: what could not be
//! compared is never called equal.

use crate::quote;
use crate::types::{SourceEvidence, TableEvidence, counted};

use super::sieve::folded;

/// What a restored database was held against, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// One entry per table that was asked for, in the dump's order.
    pub tables: Vec<TableProof>,
    /// What it was compared with.
    pub basis: Basis,
    /// Rows that violate a foreign key.
    pub violations: u64,
    /// How many there were in the source; `None` where that is not known or only some tables were restored.
    pub expected_violations: Option<u64>,
    /// What differs beyond the tables' rows: the schema, `user_version`, tables that are missing.
    pub differences: Vec<String>,
}

/// What is known of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Its manifest: rows and a digest over every value, taken from the source.
    Manifest,
    /// Its manifest: the digest of every page of the source's file.
    Pages,
    /// The rows that the dump itself announces.
    Counts,
    /// Nothing: another tool's text.
    Nothing,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableProof {
    /// Its name.
    pub name: String,
    /// The rows that were restored.
    pub rows: u64,
    /// The rows it should have; `None` where nobody knows.
    pub expected_rows: Option<u64>,
    /// What came of it.
    pub verdict: Verdict,
}

/// What came of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every row and value is equal to the source's.
    Equal,
    /// It is in an image whose every page is equal to the source's.
    InPages,
    /// It has as many rows as the dump announces.
    Counted,
    /// There is nothing to compare it with.
    Restored,
    /// It is an index over another table, built again.
    Rebuilt,
    /// The copy does not hold its rows, for this reason.
    LeftOut(String),
    /// It differs, in this way.
    Differs(String),
}

impl Verdict {
    /// The word that text and JSON use.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::InPages => "pages equal",
            Self::Counted => "counted",
            Self::Restored => "restored",
            Self::Rebuilt => "rebuilt",
            Self::LeftOut(_) => "left out",
            Self::Differs(_) => "differs",
        }
    }

    /// Whether the table is what it should be.
    pub fn is_good(&self) -> bool {
        !matches!(self, Self::Differs(_))
    }
}

/// What to hold a database against.
#[derive(Debug, Clone, Copy)]
pub(super) enum Against<'a> {
    Manifest(&'a SourceEvidence),
    Counts(&'a [(String, u64)]),
    Nothing,
}

impl Proof {
    /// Whether everything that could be compared is equal.
    pub fn is_good(&self) -> bool {
        self.differences.is_empty() && self.tables.iter().all(|table| table.verdict.is_good())
    }

    /// The rows of all tables.
    pub fn total_rows(&self) -> u64 {
        let rows = self.tables.iter().map(|table| table.rows);
        rows.fold(0, u64::saturating_add)
    }

    /// The first difference, as a sentence.
    pub fn first_difference(&self) -> String {
        let differing = |table: &TableProof| match &table.verdict {
            Verdict::Differs(how) => Some(format!("table `{}` {how}", quote::name(&table.name))),
            _ => None,
        };
        let in_tables = self.tables.iter().find_map(differing);
        let first = in_tables.or_else(|| self.differences.first().cloned());
        first.unwrap_or_else(|| "nothing".to_owned())
    }

    /// Compares what was found; `only`: the tables that were restored, where not all were.
    pub(super) fn of(
        found: &SourceEvidence,
        against: Against<'_>,
        only: Option<&[String]>,
    ) -> Self {
        let is_wanted = |name: &str| {
            only.is_none_or(|only| only.iter().any(|wanted| folded(wanted) == folded(name)))
        };
        let tables = found.tables.iter().filter(|table| is_wanted(&table.name));
        let tables = tables.map(|table| judge(table, against)).collect();
        let mut proof = Self {
            tables,
            basis: against.basis(),
            violations: found.foreign_key_violations,
            expected_violations: None,
            differences: Vec::new(),
        };
        if let Against::Manifest(source) = against {
            for table in source.tables.iter().filter(|table| is_wanted(&table.name)) {
                if !found.tables.iter().any(|other| other.name == table.name) {
                    let text = format!("table `{}` is missing", quote::name(&table.name));
                    proof.differences.push(text);
                }
            }
            if only.is_none() {
                proof.expected_violations = Some(source.foreign_key_violations);
                proof.differences.extend(beyond_tables(source, found));
            }
        }
        proof
    }
}

impl Proof {
    /// Of an image whose every page is the source's.
    pub(super) fn of_image(evidence: &SourceEvidence, only: Option<&[String]>) -> Self {
        let verdict = |table: &TableEvidence| match &table.omitted {
            Some(_) => Verdict::Restored,
            None => Verdict::InPages,
        };
        let tables = evidence.tables.iter().map(|table| TableProof {
            name: table.name.clone(),
            rows: table.rows,
            expected_rows: Some(table.rows),
            verdict: verdict(table),
        });
        Self {
            tables: tables.collect(),
            basis: Basis::Pages,
            violations: 0,
            expected_violations: only.is_none().then_some(0),
            differences: Vec::new(),
        }
    }
}

impl Against<'_> {
    fn basis(&self) -> Basis {
        match self {
            Self::Manifest(_) => Basis::Manifest,
            Self::Counts(_) => Basis::Counts,
            Self::Nothing => Basis::Nothing,
        }
    }
}

fn judge(found: &TableEvidence, against: Against<'_>) -> TableProof {
    let (expected_rows, verdict) = match against {
        Against::Nothing => (None, Verdict::Restored),
        Against::Counts(counts) => {
            let counted = counts.iter().find(|(name, _)| *name == folded(&found.name));
            match counted {
                Some((_, rows)) => (Some(*rows), by_count(found.rows, *rows)),
                None => (None, Verdict::Restored),
            }
        }
        Against::Manifest(source) => {
            let known = source.tables.iter().find(|table| table.name == found.name);
            match known {
                None => (None, Verdict::Differs("was not backed up".to_owned())),
                Some(known) => (Some(known.rows), by_evidence(known, found)),
            }
        }
    };
    TableProof {
        name: found.name.clone(),
        rows: found.rows,
        expected_rows,
        verdict,
    }
}

fn by_count(rows: u64, expected: u64) -> Verdict {
    match rows == expected {
        true => Verdict::Counted,
        false => Verdict::Differs(format!(
            "has {}, the dump says {expected}",
            counted(rows, "row")
        )),
    }
}

fn by_evidence(known: &TableEvidence, found: &TableEvidence) -> Verdict {
    match (&known.omitted, &known.hash) {
        (Some(reason), _) => Verdict::LeftOut(reason.clone()),
        (None, None) => Verdict::Rebuilt,
        (None, Some(_)) if known.rows != found.rows => {
            let (a, b) = (known.rows, counted(found.rows, "row"));
            Verdict::Differs(format!("has {b}, backed up were {a}"))
        }
        (None, hash) if *hash != found.hash => {
            Verdict::Differs("has other values than were backed up".to_owned())
        }
        (None, Some(_)) => Verdict::Equal,
    }
}

/// What differs of a whole database beside its rows.
fn beyond_tables(source: &SourceEvidence, found: &SourceEvidence) -> Vec<String> {
    let mut differences = Vec::new();
    if source.schema != found.schema {
        differences.push("the schema's text or sqlite_sequence is another".to_owned());
    }
    let numbers = [
        ("user_version", source.user_version, found.user_version),
        (
            "application_id",
            source.application_id,
            found.application_id,
        ),
    ];
    for (name, a, b) in numbers.into_iter().filter(|(_, a, b)| a != b) {
        differences.push(format!("{name} is {b}, backed up was {a}"));
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Sha256;

    fn table(name: &str, rows: u64, byte: u8) -> TableEvidence {
        TableEvidence {
            name: name.to_owned(),
            rows,
            hash: Some([byte; 32].into()),
            omitted: None,
        }
    }

    fn evidence(tables: Vec<TableEvidence>) -> SourceEvidence {
        SourceEvidence {
            tables,
            schema: Sha256::of(b""),
            user_version: 0,
            application_id: 0,
            foreign_key_violations: 0,
        }
    }

    #[test]
    fn each_way_to_differ_is_told_and_what_has_nothing_to_compare_is_not_called_equal() {
        let source = evidence(vec![table("a", 1, 1), table("b", 2, 2), table("c", 0, 0)]);
        let found = evidence(vec![table("a", 1, 1), table("b", 2, 9), table("d", 1, 1)]);
        let proof = Proof::of(&found, Against::Manifest(&source), None);
        let words: Vec<_> = proof.tables.iter().map(|t| t.verdict.word()).collect();
        assert_eq!(words, ["equal", "differs", "differs"]);
        assert_eq!(proof.differences, ["table `c` is missing"]);
        assert!(!proof.is_good());
        let only = ["A".to_owned()];
        assert!(Proof::of(&found, Against::Manifest(&source), Some(&only)).is_good());
        let counts = [("a".to_owned(), 7)];
        let proof = Proof::of(&found, Against::Counts(&counts), None);
        assert_eq!(proof.tables[0].expected_rows, Some(7));
        assert!(!proof.is_good());
        let proof = Proof::of(&found, Against::Nothing, None);
        assert!(proof.tables.iter().all(|t| t.verdict == Verdict::Restored));
    }
}
