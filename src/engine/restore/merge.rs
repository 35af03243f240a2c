//! Puts some tables of a restored database into another one. Invariant: the other database's own tables are not
//! touched, and the tables arrive as they were restored.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::DateTime;
use rusqlite::Connection;
use tokio_util::sync::CancellationToken;

use super::error::RestoreError;
use super::making::size_of;
use super::proof::{Against, Proof};
use super::sieve::{Sieve, folded};
use super::target::{Overwrite, Target, copy_database, fold};
use super::workshop::Workshop;
use crate::dump::Header;
use crate::engine::drill::{Place, Statements, Step, check_integrity};
use crate::engine::spool::{Partial, Writing};
use crate::progress::Progress;
use crate::source::{DumpForm, DumpRequest, Dumped, Look, Source, SqliteSource, content_of};
use crate::types::{Compression, JobId};

/// Refuses tables that are there already, unless they may be replaced.
pub(super) fn permit(
    target: &Target,
    tables: &[String],
    overwrite: Overwrite,
) -> Result<(), RestoreError> {
    let Some(connection) = target.held().filter(|_| overwrite == Overwrite::Never) else {
        return Ok(());
    };
    let told = |error| RestoreError::sqlite(target.path(), &error);
    let taken = names(connection).map_err(told)?;
    let is_taken = |name: &&String| taken.iter().any(|other| folded(other) == folded(name));
    match tables.iter().find(is_taken) {
        None => Ok(()),
        Some(name) => Err(RestoreError::Exists {
            what: format!("the table `{name}` in `{}`", target.path().display()),
        }),
    }
}

fn names(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM main.sqlite_schema WHERE type IN ('table', 'view')";
    let mut statement = connection.prepare(sql)?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}

/// Makes a copy of the target's database with the tables of the database `part` in it; gives its path and what was
/// proven of these tables there.
pub(super) fn merge(
    part: &Path,
    proof: Proof,
    target: &Target,
    workshop: &Workshop,
    stop: &CancellationToken,
) -> Result<(PathBuf, Proof), RestoreError> {
    let held = target
        .held()
        .expect("a merge needs a database to merge into");
    let told = |error| RestoreError::sqlite(target.path(), &error);
    refuse_other_encoding(part, held).map_err(told)??;
    fold(held, target.path())?;
    let merged = workshop.path("merged.db");
    copy_database(held, &merged).map_err(told)?;
    let (text, dumped) = text_of(part, workshop, stop)?;
    let tables: Vec<String> = proof
        .tables
        .iter()
        .map(|table| table.name.clone())
        .collect();
    let file = std::fs::File::open(text.path());
    let file = file.map_err(|error| RestoreError::target(target.path(), &error))?;
    let unseen = Arc::<Progress>::default();
    let mut statements = Statements::over(file, Compression::None, &unseen)?;
    let place = Place {
        path: &merged,
        text_bytes: text.plain.size_bytes + size_of(target.path()),
        database_bytes: Some(size_of(part).saturating_add(size_of(target.path()))),
        stop,
    };
    let mut connection = place.load(&mut statements, |_, statement| {
        Ok(without_other_sequences(statement, &tables))
    })?;
    let found = content_of(&mut connection, &[], stop).map_err(told)?;
    drop(connection);
    check_integrity(&merged, stop)?;
    let arrived = Proof::of(&found, Against::Manifest(&dumped.evidence), Some(&tables));
    if !arrived.is_good() {
        return Err(RestoreError::Differs(Box::new(arrived)));
    }
    let proof = Proof {
        violations: arrived.violations,
        ..proof
    };
    Ok((merged, proof))
}

/// The canonical text of a restored database, without the numbers that belong to a whole file.
pub(super) fn text_of(
    part: &Path,
    workshop: &Workshop,
    stop: &CancellationToken,
) -> Result<(Partial, Dumped), RestoreError> {
    let told = |error| RestoreError::sqlite(part, &error);
    let connection = Connection::open(part).map_err(told)?;
    let numbers = "PRAGMA user_version=0; PRAGMA application_id=0;";
    connection.execute_batch(numbers).map_err(told)?;
    connection.close().map_err(|(_, error)| told(error))?;
    let folder = part.parent().expect("it was made in a folder");
    let source = SqliteSource::new(part.to_owned(), folder.to_owned());
    let header = Header {
        agent: "patina".to_owned(),
        database: "restore".parse().expect("a valid name"),
        generated: DateTime::UNIX_EPOCH,
        job: JobId::random(),
        source: "a restored copy".to_owned(),
    };
    let request = DumpRequest {
        header: &header,
        skip_data: &[],
        form: DumpForm::Sql,
        look: Look::Nothing,
        progress: &Progress::default(),
        stop,
    };
    let path = workshop.path("part.sql");
    let unwritable = |error| RestoreError::target(&path, &error);
    let mut writing = Writing::create(&path, Compression::None).map_err(unwritable)?;
    let dumped = source.dump(&request, &mut writing)?;
    Ok((writing.finish().map_err(unwritable)?, dumped))
}

/// A dump of a whole database begins its sequence values and what its planner knows anew; those of other tables stay
/// here.
pub(super) fn without_other_sequences(statement: &[u8], tables: &[String]) -> Step {
    let filled = Sieve::fills(statement);
    let ends: [&[u8]; 2] = [
        b"ANALYZE sqlite_master;",
        b"DROP TABLE IF EXISTS \"sqlite_stat4\";",
    ];
    let is_statistic = |end: &&[u8]| statement.trim_ascii_end().ends_with(end);
    if filled.as_deref() == Some("sqlite_stat1") || ends.iter().any(is_statistic) {
        return Step::Skip;
    }
    if filled.as_deref() != Some("sqlite_sequence")
        || !statement
            .trim_ascii_end()
            .ends_with(b"DELETE FROM \"sqlite_sequence\";")
    {
        return Step::Run;
    }
    let names: Vec<String> = tables
        .iter()
        .map(|name| format!("'{}'", name.replace('\'', "''")))
        .collect();
    Step::Instead(format!(
        "DELETE FROM \"sqlite_sequence\" WHERE \"name\" IN ({});",
        names.join(",")
    ))
}

fn refuse_other_encoding(
    part: &Path,
    held: &Connection,
) -> rusqlite::Result<Result<(), RestoreError>> {
    let encoding = |connection: &Connection| -> rusqlite::Result<String> {
        connection.query_row("PRAGMA encoding", [], |row| row.get(0))
    };
    let (ours, theirs) = (encoding(&Connection::open(part)?)?, encoding(held)?);
    Ok(match ours == theirs {
        true => Ok(()),
        false => Err(RestoreError::Target {
            what: "the database there".to_owned(),
            why: format!(
                "its text is {theirs}, the copy's is {ours}\nhint: restore the table into a new file"
            ),
        }),
    })
}
