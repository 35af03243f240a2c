//! Asks a copy one question. Invariant: the question can change nothing and reach nothing but the copy, and no row is
//! handed on before every byte of the copy was right.
//!
//! Only the tables that the SQL reads are filled: it is prepared on the copy's empty tables first, where SQLite says
//! which it reads. Where that cannot be known (it names a view or a virtual table, which a dump makes last), all are.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Connection, ErrorCode, OpenFlags};
use tokio_util::sync::CancellationToken;

use super::error::RestoreError;
use super::image;
use super::making::{Job, UNKNOWN_TEXT_BYTES};
use super::origin::{Feed, on_thread};
use super::papers::Papers;
use super::sieve::Sieve;
use crate::dump::Value;
use crate::engine::drill::{Place, Statements, Step};
use crate::progress::Progress;
use crate::source::{Cap, lift_limits, open_scratch, sqlite_message};

/// SQLite instructions between two looks at the time.
const INSTRUCTIONS_PER_CHECK: i32 = 100_000;

/// What a schema may have before its first row is read; longer ones are not looked at.
const MAX_SCHEMA_BYTES: usize = 16 * 1024 * 1024;

/// Questions about the schema that read and change nothing.
const PRAGMAS: [&str; 12] = [
    "table_info",
    "table_xinfo",
    "table_list",
    "index_list",
    "index_info",
    "index_xinfo",
    "foreign_key_list",
    "foreign_key_check",
    "integrity_check",
    "quick_check",
    "function_list",
    "compile_options",
];

/// Functions of the shell and of extensions that reach beyond the database.
const FUNCTIONS: [&str; 5] = [
    "load_extension",
    "readfile",
    "writefile",
    "edit",
    "fts3_tokenizer",
];

/// What to ask, and how long.
#[derive(Debug, Clone)]
pub struct Question {
    /// One statement that reads.
    pub sql: String,
    /// So many rows at most; `None`: all.
    pub limit: Option<u64>,
    /// How long the statement may run, once the copy is loaded.
    pub timeout: Duration,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Rows that were handed on.
    pub rows: u64,
    /// Whether there are more rows than the limit.
    pub is_cut: bool,
    /// The tables that were filled; `None`: all.
    pub tables: Option<Vec<String>>,
}

/// Takes the answer, in order.
pub trait Taker: Send {
    /// The names of the columns; once, before the rows.
    ///
    /// # Errors
    /// Where they cannot be shown.
    fn columns(&mut self, names: &[String]) -> io::Result<()>;
    /// One row.
    ///
    /// # Errors
    /// Where it cannot be shown; no more rows follow.
    fn row(&mut self, values: &[Value<'_>]) -> io::Result<()>;
}

/// Loads the copy of `job` at `path`, where nothing of value may be, asks it, and hands the answer to `taker`. Gives
/// the taker back, where it did not fail.
///
/// # Errors
/// [`RestoreError::Query`] for SQL that is refused, writes, or runs too long; the others of a restore.
pub async fn query<T: Taker + 'static>(
    job: &Job<'_>,
    path: PathBuf,
    question: Question,
    mut taker: T,
) -> Result<(T, Answered), RestoreError> {
    let loader = Loader {
        path: path.clone(),
        sql: question.sql.clone(),
        papers: Papers::of(job.origin),
        text_bytes: job.origin.text_bytes().unwrap_or(UNKNOWN_TEXT_BYTES),
        database_bytes: job.origin.database_bytes(),
        stop: job.stop.clone(),
    };
    let mut troubles = Vec::new();
    let work = move |feed| loader.load(feed);
    let tables = job.origin.read(job.progress, &mut troubles, work).await?;
    for trouble in troubles {
        tracing::warn!("{trouble}");
    }
    let stop = job.stop.clone();
    on_thread(move || {
        let (rows, is_cut) = ask(&path, &question, &stop, &mut taker)?;
        Ok((
            taker,
            Answered {
                rows,
                is_cut,
                tables,
            },
        ))
    })
    .await
}

struct Loader {
    path: PathBuf,
    sql: String,
    papers: Papers,
    text_bytes: u64,
    database_bytes: Option<u64>,
    stop: CancellationToken,
}

impl Loader {
    /// Gives the tables that were filled; `None`: all.
    fn load(&self, feed: Feed) -> Result<Option<Vec<String>>, RestoreError> {
        // A way that was given up may have left one.
        let _ = fs::remove_file(&self.path);
        if let Some(manifest) = self.papers.image() {
            image::unpack(feed, &self.path, manifest, &self.stop)?;
            return Ok(None);
        }
        let unseen = Arc::<Progress>::default();
        let mut statements = Statements::over(feed.text, feed.compression, &unseen)?;
        let mut sieve = Sieve::new(None);
        let mut schema = Some(String::new());
        let mut tables = None;
        let place = Place {
            path: &self.path,
            text_bytes: self.text_bytes,
            database_bytes: self.database_bytes,
            stop: &self.stop,
        };
        let loaded = place.load(&mut statements, |_, statement| {
            if let Some(text) = &mut schema {
                let is_filling = Sieve::fills(statement).is_some();
                if is_filling || text.len() > MAX_SCHEMA_BYTES {
                    tables = match is_filling {
                        true => tables_read(text, &self.sql),
                        false => None,
                    };
                    sieve.want(tables.as_deref());
                    schema = None;
                } else {
                    text.push_str(&String::from_utf8_lossy(statement));
                }
            }
            Ok(match sieve.step(statement) {
                Step::Run | Step::Instead(_) => Step::Run,
                Step::Skip => Step::Skip,
            })
        });
        drop(loaded?);
        let is_ours = sieve.is_ours();
        let summary = self.papers.summary(statements, is_ours)?;
        self.papers.manifest_of(summary.as_ref())?;
        Ok(tables.filter(|_| is_ours))
    }
}

/// The tables that `sql` reads in a database of this schema; `None` where it cannot be prepared there.
fn tables_read(schema: &str, sql: &str) -> Option<Vec<String>> {
    let never = CancellationToken::new();
    let mut connection = open_scratch(
        Path::new(":memory:"),
        &Cap::for_text(schema.len() as u64),
        &never,
    )
    .ok()?;
    connection.execute_batch(schema).ok()?;
    lift_limits(&mut connection).ok()?;
    let read = Arc::new(Mutex::new(BTreeSet::new()));
    let noted = Arc::clone(&read);
    let note = move |context: AuthContext<'_>| {
        if let AuthAction::Read { table_name, .. } = context.action
            && let Ok(mut noted) = noted.lock()
        {
            noted.insert(table_name.to_owned());
        }
        Authorization::Allow
    };
    connection.authorizer(Some(note)).ok()?;
    let prepared = connection.prepare(sql).map(drop);
    prepared.ok()?;
    let read = read.lock().ok()?;
    Some(read.iter().cloned().collect())
}

fn ask(
    path: &Path,
    question: &Question,
    stop: &CancellationToken,
    taker: &mut impl Taker,
) -> Result<(u64, bool), RestoreError> {
    let deadline = Instant::now() + question.timeout;
    let told = |error: rusqlite::Error| told(&error, stop, question.timeout);
    let connection = open(path, deadline, stop).map_err(told)?;
    let mut batch = Batch::new(&connection, &question.sql);
    let Some(mut statement) = FallibleIterator::next(&mut batch).map_err(told)? else {
        return Err(RestoreError::Query("it is empty".to_owned()));
    };
    if !matches!(FallibleIterator::next(&mut batch), Ok(None)) {
        let text = "it holds more than one statement, and one is answered".to_owned();
        return Err(RestoreError::Query(text));
    }
    if !statement.readonly() {
        return Err(RestoreError::Query("it writes".to_owned()));
    }
    let unshown = |error: io::Error| RestoreError::Shown(error);
    let names = statement.column_names();
    let names: Vec<String> = names.map(str::to_owned).collect();
    let width = names.len();
    taker.columns(&names).map_err(unshown)?;
    let mut rows = statement.query([]).map_err(told)?;
    let mut count = 0;
    while let Some(row) = rows.next().map_err(told)? {
        if question.limit == Some(count) {
            return Ok((count, true));
        }
        let mut values = Vec::with_capacity(width);
        for column in 0..width {
            values.push(value_of(row.get_ref(column).map_err(told)?));
        }
        taker.row(&values).map_err(unshown)?;
        count += 1;
    }
    Ok((count, false))
}

fn open(path: &Path, deadline: Instant, stop: &CancellationToken) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch(
        "PRAGMA query_only=ON; PRAGMA trusted_schema=OFF; PRAGMA cache_size=-8000;",
    )?;
    connection.authorizer(Some(permit))?;
    let stop = stop.clone();
    let is_over = move || stop.is_cancelled() || Instant::now() > deadline;
    connection.progress_handler(INSTRUCTIONS_PER_CHECK, Some(is_over))?;
    Ok(connection)
}

/// What reading needs, and nothing else.
fn permit(context: AuthContext<'_>) -> Authorization {
    let is_allowed = match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => true,
        AuthAction::Function { function_name } => {
            !FUNCTIONS.contains(&function_name.to_ascii_lowercase().as_str())
        }
        AuthAction::Pragma { pragma_name, .. } => PRAGMAS.contains(&pragma_name),
        _ => false,
    };
    if is_allowed {
        Authorization::Allow
    } else {
        Authorization::Deny
    }
}

fn told(error: &rusqlite::Error, stop: &CancellationToken, timeout: Duration) -> RestoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) if stop.is_cancelled() => RestoreError::Stopped,
        Some(ErrorCode::OperationInterrupted) => RestoreError::Query(format!(
            "it ran longer than {} s\nhint: `--timeout` gives it more",
            timeout.as_secs()
        )),
        Some(ErrorCode::AuthorizationForStatementDenied) => RestoreError::Query(format!(
            "only reading is allowed: {}",
            sqlite_message(error)
        )),
        _ => RestoreError::Query(sqlite_message(error)),
    }
}

pub(super) fn value_of(value: ValueRef<'_>) -> Value<'_> {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(bytes) => Value::Text(bytes),
        ValueRef::Blob(bytes) => Value::Blob(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str =
        "CREATE TABLE a(x PRIMARY KEY); CREATE TABLE b(y, z); CREATE TABLE \"C d\"(w);";

    #[test]
    fn sqlite_itself_says_which_tables_a_query_reads() {
        for (sql, tables) in [
            ("SELECT * FROM a", Some(vec!["a"])),
            ("SELECT count(*) FROM b", Some(vec!["b"])),
            ("SELECT 1", Some(vec![])),
            (
                "WITH q AS (SELECT w FROM [c D]) SELECT x FROM a WHERE x IN (SELECT w FROM q)",
                Some(vec!["C d", "a"]),
            ),
            (
                "SELECT x FROM a WHERE EXISTS (SELECT 1 FROM b)",
                Some(vec!["a", "b"]),
            ),
            ("SELECT * FROM a NATURAL JOIN some_view", None),
            ("SELECT * FROM a INDEXED BY later", None),
        ] {
            let read = tables_read(SCHEMA, sql);
            let read = read
                .as_ref()
                .map(|names| names.iter().map(String::as_str).collect());
            assert_eq!(read, tables, "{sql}");
        }
    }

    struct Nobody;
    impl Taker for Nobody {
        fn columns(&mut self, _: &[String]) -> io::Result<()> {
            Ok(())
        }
        fn row(&mut self, _: &[Value<'_>]) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn whatever_does_not_only_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(SCHEMA).unwrap();
        db.execute_batch("INSERT INTO a VALUES (1), (2), (3)")
            .unwrap();
        let run = |sql: &str| {
            let question = Question {
                sql: sql.to_owned(),
                limit: Some(2),
                timeout: Duration::from_secs(1),
            };
            ask(&path, &question, &CancellationToken::new(), &mut Nobody)
        };
        assert_eq!(run("SELECT * FROM a").unwrap(), (2, true));
        assert_eq!(run("SELECT * FROM a LIMIT 2; -- end").unwrap(), (2, false));
        assert_eq!(
            run("SELECT * FROM pragma_table_info('b')").unwrap(),
            (2, false)
        );
        for sql in [
            "",
            "DELETE FROM a",
            "SELECT 1; SELECT 2",
            "SELECT 1; DELETE FROM a",
            "CREATE TEMP TABLE t(x)",
            "ATTACH 'elsewhere.db' AS e",
            "VACUUM INTO 'elsewhere.db'",
            "PRAGMA query_only=OFF",
            "PRAGMA journal_mode=WAL",
            "SELECT load_extension('x')",
            "BEGIN",
            "EXPLAIN SELECT nothing",
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT max(i) FROM n",
        ] {
            assert!(matches!(run(sql), Err(RestoreError::Query(_))), "{sql}");
        }
        assert!(!folder.path().join("elsewhere.db").exists());
    }
}
