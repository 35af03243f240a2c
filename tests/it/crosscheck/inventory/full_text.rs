//! Asks full-text tables for everything that can be found in them.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::{Cell, Inventory, Rows, columns, quoted, rows};

/// Terms that are looked up one by one; the vocabulary is compared whole besides.
const MOST_TERMS: usize = 12;

/// Languages that are always asked for where a table has a column of them; others as far as rows name them.
const LANGUAGES: [i64; 4] = [0, 1, 2, 3];

/// The name of that column where the table has no `languageid`.
const NO_LANGUAGE: &[u8] = b"__langid";

/// The words of an FTS5 table with row, column and place, and what queries for them answer.
pub(super) fn add_fts5(inventory: &mut Inventory, db: &Connection, name: &str) {
    let table = quoted(name);
    let selected = all_columns(db, name, "rowid");
    inventory.add("documents of", name, &[name], rows(db, &selected, &[]));
    let words = vocabulary(db, &format!("fts5vocab(main, {table}, instance)"), "");
    let terms = terms(&words);
    inventory.add("words of", name, &[name], words);
    for term in terms {
        for query in [phrase(&term), format!("{} *", phrase(&term))] {
            let sql = format!("SELECT rowid FROM main.{table} WHERE {table} MATCH ?1");
            let which = format!("{query} in {name}");
            inventory.add("hits for", &which, &[name], rows(db, &sql, &[&query]));
        }
        let ranked = format!("SELECT rowid, rank FROM main.{table} WHERE {table} MATCH ?1");
        let which = format!("{term} in {name}");
        let answer = rows(db, &ranked, &[&phrase(&term)]);
        inventory.add("ranks for", &which, &[name], answer);
    }
}

/// The words of an FTS3 or FTS4 table in every language, and what queries for them answer.
pub(super) fn add_fts3(inventory: &mut Inventory, db: &Connection, name: &str) {
    let table = quoted(name);
    let language = language_column(db, name);
    let mut selected = all_columns(db, name, "docid");
    // Without such a column, another number names a prefix index, whose order `fts4aux` does not know: of a table with
    // `order=desc` it miscounts what lies in several segments.
    let mut languages = BTreeSet::from([0]);
    if let Some(column) = &language {
        languages.extend(LANGUAGES);
        selected = selected.replacen("SELECT ", &format!("SELECT {column}, "), 1);
        let distinct = format!("SELECT DISTINCT {column} FROM main.{table}");
        let found = rows(db, &distinct, &[]).unwrap_or_default();
        languages.extend(found.iter().filter_map(|row| match row[0] {
            Cell::Integer(language) => Some(language),
            _ => None,
        }));
    }
    inventory.add("documents of", name, &[name], rows(db, &selected, &[]));
    for number in languages {
        let condition = format!("WHERE languageid = {number}");
        let words = vocabulary(db, &format!("fts4aux(main, {table})"), &condition);
        let terms = terms(&words);
        inventory.add(
            "words of",
            &format!("{name}, language {number}"),
            &[name],
            words,
        );
        let in_language = language
            .as_ref()
            .map_or_else(String::new, |column| format!(" AND {column} = {number}"));
        for term in terms {
            for result in [
                "docid",
                "docid, offsets({})",
                "docid, hex(matchinfo({}, 'pcxs'))",
                // Only FTS4 has the first, and only with sizes the second.
                "docid, hex(matchinfo({}, 'na'))",
                "docid, hex(matchinfo({}, 'l'))",
            ] {
                let result = result.replace("{}", &table);
                let sql = format!(
                    "SELECT {result} FROM main.{table} WHERE {table} MATCH ?1{in_language}"
                );
                let term = phrase(&term);
                let which = format!("{term}: {result} in {name}, language {number}");
                inventory.add("hits for", &which, &[name], rows(db, &sql, &[&term]));
            }
        }
    }
}

fn all_columns(db: &Connection, name: &str, id: &str) -> String {
    let named = columns(db, name).unwrap_or_default();
    let named: Vec<String> = named.iter().map(|column| quoted(column)).collect();
    format!(
        "SELECT {id}, {} FROM main.{}",
        named.join(", "),
        quoted(name)
    )
}

/// Its last hidden column, behind the table's own name and the `docid`.
fn language_column(db: &Connection, name: &str) -> Option<String> {
    let sql = "SELECT name FROM pragma_table_xinfo(?1, 'main') WHERE hidden = 1";
    let hidden = rows(db, sql, &[&name]).ok()?;
    match hidden.get(2)?.first()? {
        Cell::Text(name) if name == NO_LANGUAGE => None,
        Cell::Text(name) => Some(quoted(std::str::from_utf8(name).ok()?)),
        _ => None,
    }
}

fn vocabulary(db: &Connection, module: &str, condition: &str) -> Result<Rows, String> {
    let make = format!(
        "DROP TABLE IF EXISTS temp.all_words; CREATE VIRTUAL TABLE temp.all_words USING {module}"
    );
    db.execute_batch(&make).map_err(|error| error.to_string())?;
    rows(
        db,
        &format!("SELECT * FROM temp.all_words {condition}"),
        &[],
    )
}

/// Some terms, spread over the whole vocabulary.
fn terms(words: &Result<Rows, String>) -> Vec<String> {
    let Ok(words) = words else {
        return Vec::new();
    };
    let text = |row: &Vec<Cell>| match &row[0] {
        Cell::Text(term) => String::from_utf8(term.clone()).ok(),
        _ => None,
    };
    let all: BTreeSet<String> = words.iter().filter_map(text).collect();
    let step = all.len().div_ceil(MOST_TERMS).max(1);
    all.into_iter().step_by(step).collect()
}

fn phrase(term: &str) -> String {
    format!("\"{}\"", term.replace('"', "\"\""))
}
