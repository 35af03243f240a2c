//! Reads the complete content of a search index, through SQLite's own views of it.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Result};

use super::module::{Family, Virtual, option};
use super::rows::{Digester, RowDigest};
use super::{ask, literal, quoted};

/// View of an index's entries, one per row.
const ENTRIES: &str = "temp.\"patina entries\"";

/// View of its terms, one per row.
const TERMS: &str = "temp.\"patina terms\"";

/// The class of [`counts`] among the values of a digest.
const COUNTS: u8 = 5;

/// Computes the digest of the vocabulary of `table` in `main`: each term and each of its positions. `None` if it is not
/// a search index.
pub(super) fn vocabulary(connection: &Connection, table: &Virtual) -> Result<Option<RowDigest>> {
    let name = literal(&table.name);
    let views = match table.family {
        Family::Fts5 => vec![
            (ENTRIES, format!("fts5vocab('main',{name},'instance')")),
            (TERMS, format!("fts5vocab('main',{name},'row')")),
        ],
        // FTS4 expects the schema's name without quotes.
        Family::Fts3 => vec![(ENTRIES, format!("fts4aux(main,{name})"))],
        Family::Rtree | Family::Other | Family::Unknown => return Ok(None),
    };
    for (view, module) in &views {
        connection.execute_batch(&format!("CREATE VIRTUAL TABLE {view} USING {module}"))?;
    }
    let digest = match table.family {
        Family::Fts5 => of_fts5(connection, table),
        _ => of_fts3(connection, table),
    };
    for (view, _) in &views {
        connection.execute_batch(&format!("DROP TABLE {view}"))?;
    }
    digest.map(Some)
}

/// Reads each term once and then, in the same order, each of its positions. Reading the term again at every position
/// takes longer than all else here, and adds nothing if the terms state the number of their positions.
fn of_fts5(connection: &Connection, table: &Virtual) -> Result<RowDigest> {
    let mut digester = Digester::default();
    let terms = format!("SELECT term,doc,cnt FROM {TERMS}");
    let mut places = 0;
    digester.rows(&mut connection.prepare(&terms)?, |row| {
        if let Ok(ValueRef::Integer(count)) = row.get_ref(2) {
            places += count.cast_unsigned();
        }
    })?;
    let columns = format!("SELECT * FROM main.{}", quoted(&table.name));
    let column = match connection.prepare(&columns)?.column_count() {
        1 => "",
        _ => ",col",
    };
    let entries = format!("SELECT doc,offset{column} FROM {ENTRIES}");
    let rows = digester.rows(&mut connection.prepare(&entries)?, |_| {})?;
    // An index without positions counts none; the assignment of entries to terms shows only if the term is read with
    // them.
    if rows != places {
        let entries = format!("SELECT term,doc,col,offset FROM {ENTRIES}");
        digester.rows(&mut connection.prepare(&entries)?, |_| {})?;
    }
    digester.bytes(COUNTS, &counts(connection, table)?);
    Ok(digester.finish(rows))
}

/// Returns the counts of an FTS5 index, rows and words of each column, as they are stored: ranks depend on them, and a
/// row without words is visible nowhere else. A missing record equals one of zeros.
fn counts(connection: &Connection, table: &Virtual) -> Result<Vec<u8>> {
    let storage = quoted(&format!("{}_data", table.name));
    let sql = format!("SELECT CAST(block AS BLOB) FROM main.{storage} WHERE id=1");
    let record: Option<Option<Vec<u8>>> = ask(connection, &sql).optional()?;
    let record = record.flatten().unwrap_or_default();
    Ok(match record.iter().all(|byte| *byte == 0) {
        true => Vec::new(),
        false => record,
    })
}

fn of_fts3(connection: &Connection, table: &Virtual) -> Result<RowDigest> {
    let query = |language: &i64| {
        format!("SELECT term,col,documents,occurrences FROM {ENTRIES} WHERE languageid={language}")
    };
    let queries: Vec<String> = languages(connection, table)?.iter().map(query).collect();
    RowDigest::of_all(connection, &queries)
}

/// Returns the languages of the rows of an FTS4 table; 0 for tables without languages.
fn languages(connection: &Connection, table: &Virtual) -> Result<Vec<i64>> {
    let sql: String = connection.query_row(
        "SELECT sql FROM main.sqlite_schema WHERE type='table' AND name=?1",
        [&table.name],
        |row| row.get(0),
    )?;
    let Some(column) = option(&sql, "languageid") else {
        return Ok(vec![0]);
    };
    let (column, name) = (quoted(&column), quoted(&table.name));
    let sql = format!("SELECT DISTINCT {column} FROM main.{name} ORDER BY 1");
    let mut statement = connection.prepare(&sql)?;
    let languages = statement.query_map([], |row| row.get(0))?;
    languages.collect()
}
