//! Reads everything that a search index holds, through SQLite's own views of it.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Result};

use super::module::{Family, Virtual, option};
use super::rows::{Digester, RowDigest};
use super::{ask, literal, quoted};

/// Where an index's entries are seen, one row each.
const ENTRIES: &str = "temp.\"patina entries\"";

/// Where its terms are seen, one row each.
const TERMS: &str = "temp.\"patina terms\"";

/// The class of [`counts`] among the values of a digest.
const COUNTS: u8 = 5;

/// Digests the vocabulary of `table` in `main`: each term and each place of it. `None` of what is no search index.
pub(super) fn vocabulary(connection: &Connection, table: &Virtual) -> Result<Option<RowDigest>> {
    let name = literal(&table.name);
    let views = match table.family {
        Family::Fts5 => vec![
            (ENTRIES, format!("fts5vocab('main',{name},'instance')")),
            (TERMS, format!("fts5vocab('main',{name},'row')")),
        ],
        // FTS4 takes the schema's name as it stands, without quotes.
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

/// Each term once and then, in the same order, each of its places. Reading a term again at every place takes longer than
/// all else here, and where the terms say how many places they have, it adds nothing.
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
    // An index without places counts none; whose entry is whose is seen only with the term beside it.
    if rows != places {
        let entries = format!("SELECT term,doc,col,offset FROM {ENTRIES}");
        digester.rows(&mut connection.prepare(&entries)?, |_| {})?;
    }
    digester.bytes(COUNTS, &counts(connection, table)?);
    Ok(digester.finish(rows))
}

/// What an FTS5 index counts, rows and the words of each column, as its storage has it: ranks depend on it, and a row
/// without words is seen nowhere else. No record and one of zeros are the same.
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

/// The languages of the rows of an FTS4 table; 0 stands for tables that know none.
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
