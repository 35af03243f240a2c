//! Executes a dump's statements in a scratch database. Invariant: all of them in one transaction, or no database.

use std::path::Path;

use rusqlite::{Connection, ErrorCode};
use tokio_util::sync::CancellationToken;

use super::object::object_in;
use super::statements::Statements;
use super::{DrillError, scratch_error};
use crate::source::{Cap, lift_limits, open_scratch, sqlite_message};

/// Where a dump is executed.
pub(in crate::engine) struct Place<'a> {
    /// The database's file.
    pub(in crate::engine) path: &'a Path,
    /// About how much text there is; the database may grow to a multiple of it.
    pub(in crate::engine) text_bytes: u64,
    /// How large the database was once, where that is known or claimed; it may become about as large again.
    pub(in crate::engine) database_bytes: Option<u64>,
    /// Asks to end.
    pub(in crate::engine) stop: &'a CancellationToken,
}

/// What to do with a statement.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::engine) enum Step {
    /// Execute it.
    Run,
    /// Leave it out.
    Skip,
    /// Execute this one.
    Instead(String),
}

impl Place<'_> {
    /// Executes the statements that `choose` wants in one transaction and gives the connection, on which statements of
    /// ours may run from then on. The text is read to its end; whether that is right is for the caller to ask.
    ///
    /// # Errors
    /// Where the text cannot be split, SQLite refuses a statement, or the transaction ends early.
    pub(in crate::engine) fn load(
        &self,
        statements: &mut Statements,
        mut choose: impl FnMut(&Connection, &[u8]) -> Result<Step, DrillError>,
    ) -> Result<Connection, DrillError> {
        let mut cap = Cap::for_text(self.text_bytes).of_database(self.database_bytes, self.path);
        let opened = open_scratch(self.path, &cap, self.stop);
        let mut connection = opened.map_err(scratch_error)?;
        connection.execute_batch("BEGIN").map_err(scratch_error)?;
        while let Some(block) = statements.next_block()? {
            for (at_bytes, statement) in block.statements() {
                match choose(&connection, statement)? {
                    Step::Run => {
                        cap.make_room(&mut connection, statement)
                            .map_err(scratch_error)?;
                        execute(&connection, at_bytes, statement)?;
                    }
                    Step::Skip => {}
                    Step::Instead(sql) => execute(&connection, at_bytes, sql.as_bytes())?,
                }
                if self.stop.is_cancelled() {
                    return Err(DrillError::Stopped);
                }
            }
        }
        if connection.is_autocommit() {
            let why = "the dump ends its own transaction".to_owned();
            return Err(DrillError::Inconsistent(why));
        }
        connection.execute_batch("COMMIT").map_err(scratch_error)?;
        lift_limits(&mut connection).map_err(scratch_error)?;
        Ok(connection)
    }
}

fn execute(connection: &Connection, at_bytes: u64, statement: &[u8]) -> Result<(), DrillError> {
    let refused = |why: String| DrillError::Refused {
        hint: way_out(&why),
        object: object_in(statement),
        at_bytes,
        why,
    };
    let sql = std::str::from_utf8(statement)
        .map_err(|error| refused(format!("the text is not UTF-8: {error}")))?;
    connection
        .execute_batch(sql)
        .map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => DrillError::Stopped,
            Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => scratch_error(error),
            _ => refused(sqlite_message(&error)),
        })
}

/// What SQLite says where a schema needs what only the program has that made it.
const NEEDS_ITS_PROGRAM: [&str; 4] = [
    "no such function: ",
    "no such collation sequence: ",
    "no such module: ",
    "no such tokenizer: ",
];

fn way_out(why: &str) -> &'static str {
    match NEEDS_ITS_PROGRAM.iter().any(|start| why.starts_with(start)) {
        true => {
            "only the program that made this database has it; with `method = \"auto\"` or `\"image\"` a copy is the file's \
             pages"
        }
        false => "nothing was stored; the earlier copies are as they were",
    }
}
