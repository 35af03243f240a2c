//! Names what a restored database has otherwise than its source. Pure.

use crate::quote;
use crate::types::{SourceEvidence, TableEvidence, counted, either};

/// So many tables are named in a message; the rest are counted.
const MOST_NAMED: usize = 10;

/// The first difference, as a sentence; `None` where there is none.
pub(super) fn difference(source: &SourceEvidence, copy: &SourceEvidence) -> Option<String> {
    if source == copy {
        return None;
    }
    let names = |evidence: &SourceEvidence| -> Vec<String> {
        evidence
            .tables
            .iter()
            .map(|table| table.name.clone())
            .collect()
    };
    if let Some(text) = names_differ(&names(source), &names(copy)) {
        return Some(text);
    }
    let pairs = source.tables.iter().zip(&copy.tables);
    if let Some(text) = pairs.filter_map(|(a, b)| table_difference(a, b)).next() {
        return Some(text);
    }
    if source.schema != copy.schema {
        return Some("the schema's text or sqlite_sequence".to_owned());
    }
    let pairs = [
        ("user_version", source.user_version, copy.user_version),
        ("application_id", source.application_id, copy.application_id),
    ];
    let mut pairs = pairs.into_iter();
    let (what, a, b) = pairs.find(|(_, a, b)| a != b)?;
    Some(format!("{what} {a}, restored {b}"))
}

/// Which tables one has and the other has not, by name as it is written.
fn names_differ(source: &[String], copy: &[String]) -> Option<String> {
    let only_in = |one: &[String], other: &[String]| {
        let missing = one.iter().filter(|name| !other.contains(name));
        let missing = missing.map(|name| format!("`{}`", quote::name(name)));
        let missing: Vec<String> = missing.collect();
        let shown = missing[..missing.len().min(MOST_NAMED)].join(", ");
        match missing.len().saturating_sub(MOST_NAMED) {
            0 => shown,
            more => format!("{shown} and {more} more"),
        }
    };
    let (lost, new) = (only_in(source, copy), only_in(copy, source));
    let lacking = source.iter().filter(|name| !copy.contains(name)).count();
    let tables = either(lacking, "table", "tables");
    match (source == copy, lost.is_empty(), new.is_empty()) {
        (true, ..) => None,
        (false, true, true) => Some("the order of its tables".to_owned()),
        (false, false, true) => Some(format!("it lacks the {tables} {lost}")),
        (false, true, false) => Some(format!("it has more tables: {new}")),
        (false, false, false) => Some(format!("it lacks the {tables} {lost}, and has more: {new}")),
    }
}

/// What foreign keys say of both, where that differs.
pub(super) fn violations_differ(source: &SourceEvidence, copy: &SourceEvidence) -> Option<String> {
    let (a, b) = (source.foreign_key_violations, copy.foreign_key_violations);
    // Rows that were left out may be parents of rows that were not.
    let is_whole = source.tables.iter().all(|table| table.omitted.is_none());
    (is_whole && a != b).then(|| {
        let violate = either(a, "violates", "violate");
        format!(
            "{} {violate} a foreign key, restored {b}",
            counted(a, "row")
        )
    })
}

fn table_difference(source: &TableEvidence, copy: &TableEvidence) -> Option<String> {
    let name = quote::name(&source.name);
    if source.rows != copy.rows {
        let (a, b) = (source.rows, copy.rows);
        let a = counted(a, "row");
        return Some(format!("table `{name}` has {a}, restored {b}"));
    }
    (source != copy).then(|| format!("table `{name}` has other values"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Sha256;

    fn evidence(names: &[&str]) -> SourceEvidence {
        let table = |name: &&str| TableEvidence {
            name: (*name).to_owned(),
            rows: 2,
            hash: Some([1; 32].into()),
            omitted: None,
        };
        SourceEvidence {
            tables: names.iter().map(table).collect(),
            schema: Sha256::of(b"schema"),
            user_version: 1,
            application_id: 2,
            foreign_key_violations: 0,
        }
    }

    #[track_caller]
    fn check(copy: &SourceEvidence, expected: Option<&str>) {
        let source = evidence(&["a", "b", "c"]);
        assert_eq!(difference(&source, copy).as_deref(), expected);
    }

    #[test]
    fn the_first_difference_is_named() {
        check(&evidence(&["a", "b", "c"]), None);
        check(&evidence(&["a", "c"]), Some("it lacks the table `b`"));
        check(&evidence(&["c"]), Some("it lacks the tables `a`, `b`"));
        let more = Some("it has more tables: `d`");
        check(&evidence(&["a", "b", "c", "d"]), more);
        let both = Some("it lacks the table `c`, and has more: `d`");
        check(&evidence(&["a", "b", "d"]), both);
        let order = Some("the order of its tables");
        check(&evidence(&["b", "a", "c"]), order);
        let mut copy = evidence(&["a", "b", "c"]);
        copy.tables[1].rows = 1;
        check(&copy, Some("table `b` has 2 rows, restored 1"));
        copy = evidence(&["a", "b", "c"]);
        copy.tables[2].hash = Some([2; 32].into());
        check(&copy, Some("table `c` has other values"));
        copy = evidence(&["a", "b", "c"]);
        copy.schema = Sha256::of(b"another");
        check(&copy, Some("the schema's text or sqlite_sequence"));
        copy = evidence(&["a", "b", "c"]);
        copy.application_id = 3;
        check(&copy, Some("application_id 2, restored 3"));
    }

    #[test]
    fn of_many_tables_the_first_are_named_and_the_rest_counted() {
        let names: Vec<String> = (10..22).map(|number| format!("t{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let text = difference(&evidence(&names), &evidence(&[])).unwrap();
        assert!(text.ends_with("`t18`, `t19` and 2 more"), "{text}");
        let text = difference(&evidence(&names[..10]), &evidence(&[])).unwrap();
        assert!(text.ends_with("`t18`, `t19`"), "{text}");
    }

    #[test]
    fn foreign_keys_are_compared_where_every_row_is_there() {
        let source = evidence(&["a"]);
        let mut copy = evidence(&["a"]);
        assert_eq!(violations_differ(&source, &copy), None);
        copy.foreign_key_violations = 1;
        assert_eq!(
            violations_differ(&source, &copy).as_deref(),
            Some("0 rows violate a foreign key, restored 1")
        );
        let mut partial = evidence(&["a"]);
        partial.tables[0].omitted = Some("skip_data".to_owned());
        assert_eq!(violations_differ(&partial, &copy), None);
    }
}
