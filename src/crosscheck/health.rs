//! Lets SQLite check a database. The result is evidence: a database that the check reports as damaged is never proven.
//!
//! A schema may need functions and collations of the application that owns it. The check then runs with stand-ins, and
//! its findings about objects that use them are ignored: they would be about the stand-in.

use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, ErrorCode, Result};

use super::inventory::spelled;
use super::{ask, literal, message, quoted};
use crate::types::{Exception, ExceptionKind, Health};

/// Number of findings requested from SQLite.
const MOST_FINDINGS: usize = 100;

/// Number of findings that are kept; more give no further insight.
const KEPT_FINDINGS: usize = 10;

/// Upper bound for the application's functions and collations in a schema.
const MOST_STAND_INS: usize = 200;

/// Findings of SQLite's check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// State of pages and indexes.
    pub health: Health,
    /// Rows that violate their own schema, and search indexes that do not match their content: the file is intact, but
    /// differs from what its schema says.
    pub exceptions: Vec<Exception>,
    /// True if the check covered everything: no table was left out, and no finding was ignored.
    pub is_complete: bool,
}

impl Findings {
    /// Adds SQLite's message from before the check, if there is one.
    pub fn add_damage(&mut self, why: Option<String>) {
        let Some(why) = why else {
            return;
        };
        self.is_complete = false;
        match &mut self.health {
            Health::Ok => self.health = Health::Damaged(vec![why]),
            Health::Damaged(lines) => lines.insert(0, why),
        }
    }
}

/// Checks the whole database of `connection`, as its transaction sees it.
///
/// # Errors
/// Only `SQLITE_INTERRUPT`, from the connection's progress handler; any other error is a finding.
pub fn examine(connection: &Connection) -> Result<Findings> {
    let mut stand_ins = Vec::new();
    let mut is_whole = false;
    let lines = loop {
        match lines(
            connection,
            &format!("PRAGMA main.integrity_check({MOST_FINDINGS})"),
        ) {
            Ok(lines) => {
                is_whole = lines.len() < MOST_FINDINGS;
                break lines;
            }
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
                return Err(error);
            }
            Err(error) if is_damage(&error) => break vec![message(&error)],
            Err(error) if stand_ins.len() < MOST_STAND_INS => {
                match stand_in(connection, &message(&error)) {
                    Some(name) if !stand_ins.contains(&name) => stand_ins.push(name),
                    _ => break table_by_table(connection)?,
                }
            }
            Err(_) => break table_by_table(connection)?,
        }
    };
    let (health, exceptions) = judge(connection, lines, &stand_ins);
    Ok(Findings {
        health,
        exceptions,
        // Findings about objects that use a stand-in are ignored.
        is_complete: is_whole && stand_ins.is_empty(),
    })
}

fn lines(connection: &Connection, sql: &str) -> Result<Vec<String>> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        Ok(String::from_utf8_lossy(row.get_ref(0)?.as_bytes()?).into_owned())
    })?;
    rows.collect()
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::SystemIoFailure)
    )
}

/// Registers on `connection` what this error says is missing. Returns its name in lower case; `None` if the error has
/// another cause.
fn stand_in(connection: &Connection, error: &str) -> Option<String> {
    // A CHECK would be evaluated with the stand-in.
    let ignored = connection.execute_batch("PRAGMA ignore_check_constraints=ON");
    if let Some((_, name)) = error.split_once("no such collation sequence: ") {
        let name = name.trim();
        connection
            .create_collation(name, |a: &str, b: &str| a.cmp(b))
            .ok()?;
        return Some(name.to_ascii_lowercase());
    }
    let (_, name) = error
        .split_once("unknown function: ")
        .or_else(|| error.split_once("no such function: "))?;
    let name = name.trim().trim_end_matches("()");
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    let made = connection.create_scalar_function(name, -1, flags, |_| Ok(rusqlite::types::Null));
    made.and(ignored).ok()?;
    Some(name.to_ascii_lowercase())
}

/// Checks each table by itself, for a database that cannot be checked as a whole because a module or a tokenizer is
/// missing. A table that cannot be checked even so gives no findings.
fn table_by_table(connection: &Connection) -> Result<Vec<String>> {
    let sql = "SELECT name FROM main.sqlite_schema WHERE type='table' AND rootpage>0";
    let mut found = Vec::new();
    for name in lines(connection, sql)? {
        let sql = format!("PRAGMA main.integrity_check({})", quoted(&name));
        match lines(connection, &sql) {
            Ok(lines) => found.extend(lines.into_iter().filter(|line| line != "ok")),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
                return Err(error);
            }
            Err(error) if is_damage(&error) => found.push(message(&error)),
            Err(_) => {}
        }
    }
    Ok(found)
}

fn judge(
    connection: &Connection,
    lines: Vec<String>,
    stand_ins: &[String],
) -> (Health, Vec<Exception>) {
    let (mut damages, mut exceptions) = (Vec::new(), Vec::new());
    for line in lines.into_iter().filter(|line| line != "ok") {
        match Finding::of(&line) {
            Finding::Object { name, kind } => {
                let object = spelled(connection, name).unwrap_or_else(|| name.to_owned());
                if !depends(connection, &object, stand_ins) {
                    exceptions.push(Exception {
                        object,
                        kind,
                        reason: format!("SQLite's own check says `{line}`"),
                    });
                }
            }
            Finding::Index(name) if depends(connection, name, stand_ins) => {}
            Finding::Index(_) | Finding::Damage => damages.push(line),
        }
    }
    exceptions.sort();
    exceptions.dedup_by(|a, b| (&a.object, a.kind) == (&b.object, b.kind));
    damages.truncate(KEPT_FINDINGS);
    let health = match damages.is_empty() {
        true => Health::Ok,
        false => Health::Damaged(damages),
    };
    (health, exceptions)
}

/// Subject of one line of the check.
enum Finding<'a> {
    /// Rows that violate their schema, or a search index that differs from its content.
    Object { name: &'a str, kind: ExceptionKind },
    /// Entries of an index that do not match the table.
    Index(&'a str),
    /// Anything else.
    Damage,
}

impl<'a> Finding<'a> {
    fn of(line: &'a str) -> Self {
        let breaks = |name| Self::Object {
            name,
            kind: ExceptionKind::BreaksSchema,
        };
        if let Some(name) = line.strip_prefix("CHECK constraint failed in ") {
            return breaks(name);
        }
        if let Some(name) = line.strip_prefix("non-unique entry in index ") {
            return breaks(name);
        }
        if let Some((what, place)) = line.split_once(" value in ")
            && !what.contains(' ')
        {
            return breaks(place.rsplit_once('.').map_or(place, |(table, _)| table));
        }
        for start in [
            "malformed inverted index for FTS",
            "unable to validate the inverted index for FTS",
        ] {
            if let Some(rest) = line.strip_prefix(start) {
                let place = rest
                    .split_once(" table main.")
                    .map_or(rest, |(_, place)| place);
                return Self::Object {
                    name: place.split_once(": ").map_or(place, |(name, _)| name),
                    kind: ExceptionKind::Index,
                };
            }
        }
        for mark in [
            " missing from index ",
            "wrong # of entries in index ",
            " values differ from index ",
            "row not in PRIMARY KEY order for ",
        ] {
            if let Some((_, name)) = line.split_once(mark) {
                return Self::Index(name);
            }
        }
        Self::Damage
    }
}

/// True if an object, or its table, uses something that a stand-in replaces.
fn depends(connection: &Connection, object: &str, stand_ins: &[String]) -> bool {
    if stand_ins.is_empty() {
        return false;
    }
    let name = literal(object);
    let sql = format!(
        "SELECT lower(group_concat(sql,' ')) FROM main.sqlite_schema WHERE name={name} \
         OR name=(SELECT tbl_name FROM main.sqlite_schema WHERE name={name})"
    );
    let text: String = ask(connection, &sql).unwrap_or_default();
    stand_ins.iter().any(|name| text.contains(name.as_str()))
}
