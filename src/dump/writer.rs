//! Writes a dump in its canonical form.

use std::io::{self, BufWriter, Write};

use chrono::{DateTime, SecondsFormat, Utc};

use super::stage::Stage;
use super::{
    Content, Database, FileSettings, Literals, Rowid, SchemaObject, Statistics, Table, TextEnd,
    Value, quoted_name, text_end,
};
use crate::types::{DatabaseName, JobId, Sha256, grouped};

/// Upper bound for the length of an INSERT, in bytes. D1 accepts 100,000; the rest is room for what tools add. Only a
/// row of thousands of tiny columns may exceed it.
pub const MAX_STATEMENT_BYTES: usize = 90_000;

/// Approximate size of the blocks in which text is passed to the sink, in bytes.
const BLOCK_BYTES: usize = 256 * 1024;

const SEPARATOR: &[u8] = b",\n";
const END: &[u8] = b";\n";

/// Upper bound for what a literal adds to the doubled bytes of its value: `,CAST(X'' AS TEXT)`, or a number; the
/// longest is the product of three factors that represents a tiny double.
const LITERAL_EXTRA_BYTES: usize = 80;

/// Maximum number of columns in D1 and in SQLite. An INSERT takes no more values than that, so a table with exactly
/// this number of columns leaves no value for the rowid.
const MOST_COLUMNS: [usize; 2] = [100, 2_000];

const RULE: &str = "-- ================================================";

/// Destination of a dump's text, which also knows the digest of what was written to it.
pub trait Sink: Write + Send {
    /// Returns the SHA-256 and the length of everything written so far.
    ///
    /// # Errors
    /// Those of writing: the sink may have to flush first.
    fn digest(&mut self) -> io::Result<(Sha256, u64)>;
}

/// Data for the first lines of a dump.
#[derive(Debug, Clone)]
pub struct Header {
    /// The agent's name, `[agent] name`.
    pub agent: String,
    /// The database.
    pub database: DatabaseName,
    /// Time at which the export began.
    pub generated: DateTime<Utc>,
    /// The job.
    pub job: JobId,
    /// The kind and id of the source: `sqlite /srv/blog.db`.
    pub source: String,
}

/// Rowids that are set by an UPDATE after their rows are inserted.
struct Moved {
    /// The table, quoted.
    target: String,
    rowid: &'static str,
    /// The rowid that SQLite assigns to the next row by default.
    next: i64,
}

/// Position of a row in the block.
struct Begun {
    start: usize,
    row: usize,
    is_first: bool,
}

/// Writes one dump: `start`, then each table of the database in order (`begin_table`, its rows, `end_table`), then
/// `finish`.
pub struct DumpWriter<'a, S: Sink + ?Sized> {
    sink: &'a mut S,
    literals: Literals,
    stage: Stage,
    block: Vec<u8>,
    /// The current table's statement up to `VALUES`.
    insert: String,
    /// `None` if rowids are among the values, or are not written.
    moved: Option<Moved>,
    /// Length of the open statement in bytes; 0 if none is open.
    statement_bytes: usize,
    sequence_pending: bool,
}

impl<'a, S: Sink + ?Sized> DumpWriter<'a, S> {
    /// Writes everything above the first row: header, drops, all ordinary tables, and the indexes that foreign keys
    /// need.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn start(sink: &'a mut S, header: &Header, database: &Database) -> io::Result<Self> {
        let names = database
            .tables
            .iter()
            .map(|table| table.name.as_str())
            .chain(
                database
                    .early_indexes
                    .iter()
                    .map(|index| index.name.as_str()),
            )
            .chain(database.objects.iter().map(|object| object.name.as_str()));
        let mut writer = Self {
            sink,
            literals: Literals::new(database.encoding),
            stage: Stage::new(names),
            block: Vec::with_capacity(BLOCK_BYTES + MAX_STATEMENT_BYTES),
            insert: String::new(),
            moved: None,
            statement_bytes: 0,
            sequence_pending: database.sequence.is_some(),
        };
        writer.write_header(header, database)?;
        writer.write_pragmas(database)?;
        writer.write_drops(database)?;
        for table in database.tables.iter().filter(|table| !table.is_virtual) {
            write_schema_text(&mut writer.block, &table.sql);
        }
        for index in &database.early_indexes {
            write_schema_text(&mut writer.block, &index.sql);
        }
        writer.block.push(b'\n');
        writer.hand_on_full()?;
        Ok(writer)
    }

    /// Begins a table's rows. Virtual tables are created here; `sqlite_sequence` is written before the first of them.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn begin_table(&mut self, database: &Database, table: &Table) -> io::Result<()> {
        if table.is_virtual {
            self.write_sequence(database);
        }
        let block = &mut self.block;
        writeln!(block, "-- Table: {}", one_line(&table.name))?;
        match &table.content {
            Content::Rows => writeln!(block, "-- Rows: {}", table.rows)?,
            Content::Rebuilt => writeln!(block, "-- Rows: 0 (index, built again)")?,
            Content::Omitted(reason) => {
                writeln!(block, "-- Rows: 0 (left out: {})", one_line(reason))?;
            }
        }
        let name = quoted_name(&table.name);
        if table.is_virtual {
            write_schema_text(block, &table.sql);
            for (setting, literal) in &table.settings {
                let setting = setting.replace('\'', "''");
                writeln!(
                    block,
                    "INSERT INTO {name} ({name},\"rank\") VALUES('{setting}',{literal});"
                )?;
            }
        }
        let mut columns = table.all_columns();
        self.moved = match table.rowid {
            Rowid::Kept(rowid) if MOST_COLUMNS.contains(&table.columns.len()) => Some(Moved {
                target: name.clone(),
                rowid,
                next: 1,
            }),
            Rowid::Kept(_) | Rowid::Implied => None,
        };
        if self.moved.is_some() {
            columns.remove(0);
        }
        let columns = columns.join(",");
        self.insert = format!("INSERT INTO {name} ({columns}) VALUES");
        self.hand_on_full()
    }

    /// Writes one row: a value for each of [`Table::all_columns`].
    ///
    /// # Errors
    /// Those of the sink.
    pub fn row(&mut self, values: &[Value<'_>]) -> io::Result<()> {
        match (&mut self.moved, values) {
            (Some(moved), [Value::Integer(rowid), values @ ..]) => {
                let given = std::mem::replace(&mut moved.next, rowid.saturating_add(1));
                let Moved {
                    target,
                    rowid: name,
                    ..
                } = moved;
                let sql = format!("UPDATE {target} SET {name}={rowid} WHERE {name}={given};");
                self.values(values)?;
                if given != *rowid {
                    self.close_statement();
                    writeln!(self.block, "{sql}")?;
                }
                Ok(())
            }
            _ => self.values(values),
        }
    }

    fn values(&mut self, values: &[Value<'_>]) -> io::Result<()> {
        let payload: usize = values.iter().map(|value| value.bytes().len()).sum();
        let at_most = self.insert.len() + 2 * payload + LITERAL_EXTRA_BYTES * values.len();
        if at_most > MAX_STATEMENT_BYTES && !self.fits_alone(payload, values) {
            self.close_statement();
            self.hand_on()?;
            // Bypasses the block: the text of a large value is never held in memory as a whole.
            let mut out = BufWriter::with_capacity(BLOCK_BYTES, &mut *self.sink);
            self.stage
                .write_row(&mut out, &self.literals, &self.insert, values)?;
            out.flush()?;
        } else {
            self.write_small_row(values);
        }
        self.hand_on_full()
    }

    /// Ends the table's rows.
    pub fn end_table(&mut self) {
        self.close_statement();
        self.block.push(b'\n');
    }

    /// Writes indexes, views, rebuilds, statistics and triggers, then the trailer, and passes the rest to the sink.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn finish(mut self, database: &Database, duration_ms: u64) -> io::Result<()> {
        self.write_sequence(database);
        self.stage.finish(&mut self.block)?;
        // An index may be rebuilt from a view, so views come first; rebuilding must fire no trigger, so triggers come
        // last.
        let (others, triggers): (Vec<_>, Vec<_>) = database
            .objects
            .iter()
            .partition(|object| object.kind != "trigger");
        self.write_objects(&others)?;
        self.write_rebuilds(database)?;
        self.write_statistics(database);
        self.write_objects(&triggers)?;
        if has_checks(database) {
            writeln!(self.block, "PRAGMA ignore_check_constraints=OFF;")?;
        }
        writeln!(self.block, "PRAGMA foreign_keys=ON;")?;
        self.block.push(b'\n');
        self.hand_on()?;
        let (sha256, size_bytes) = self.sink.digest()?;
        let seconds = duration_ms as f64 / 1000.0;
        let rows = grouped(database.total_rows());
        let trailer = |size: u64| {
            format!(
                "{RULE}\n-- Backup Complete\n-- Duration: {seconds:.3}s\n-- Total Rows: {rows}\n-- Size: {} bytes\n\
                 -- SHA-256 (all lines above this block): {sha256}\n{RULE}\n",
                grouped(size)
            )
        };
        // The size includes the trailer, whose length depends on the digits of the size: repeat until it is stable.
        let mut total = size_bytes + trailer(size_bytes).len() as u64;
        while total != size_bytes + trailer(total).len() as u64 {
            total = size_bytes + trailer(total).len() as u64;
        }
        self.sink.write_all(trailer(total).as_bytes())?;
        self.sink.flush()
    }

    fn write_header(&mut self, header: &Header, database: &Database) -> io::Result<()> {
        let block = &mut self.block;
        let time = header
            .generated
            .to_rfc3339_opts(SecondsFormat::Millis, true);
        let mut agent: Vec<char> = one_line(&header.agent).chars().collect();
        if let Some(first) = agent.first_mut() {
            *first = first.to_ascii_uppercase();
        }
        let agent: String = agent.into_iter().collect();
        writeln!(block, "{RULE}\n-- {agent} Backup: {}", header.database)?;
        writeln!(block, "-- Generated: {time}\n-- Job ID: {}", header.job)?;
        writeln!(block, "-- Source: {}", one_line(&header.source))?;
        writeln!(block, "-- Format: patina-dump 1")?;
        writeln!(
            block,
            "-- Tables: {}",
            grouped(database.tables.len() as u64)
        )?;
        writeln!(block, "-- Total Rows: {}", grouped(database.total_rows()))?;
        for table in &database.tables {
            if let Content::Omitted(reason) = &table.content {
                let (name, reason) = (one_line(&table.name), one_line(reason));
                writeln!(block, "-- Without rows: {name} ({reason})")?;
            }
        }
        writeln!(block, "{RULE}\n")
    }

    fn write_pragmas(&mut self, database: &Database) -> io::Result<()> {
        let block = &mut self.block;
        let FileSettings {
            page_bytes,
            auto_vacuum,
        } = database.file;
        if page_bytes != FileSettings::default().page_bytes {
            writeln!(block, "PRAGMA page_size={page_bytes};")?;
        }
        if auto_vacuum != FileSettings::default().auto_vacuum {
            writeln!(block, "PRAGMA auto_vacuum={auto_vacuum};")?;
        }
        if database.encoding != super::TextEncoding::Utf8 {
            let name = database.encoding.pragma_name();
            writeln!(block, "PRAGMA encoding='{name}';")?;
        }
        // The first has no effect inside a transaction, and D1 always uses one; the second has none outside of one.
        writeln!(
            block,
            "PRAGMA foreign_keys=OFF;\nPRAGMA defer_foreign_keys=TRUE;"
        )?;
        if has_checks(database) {
            writeln!(block, "PRAGMA ignore_check_constraints=ON;")?;
        }
        if database.user_version != 0 {
            writeln!(block, "PRAGMA user_version={};", database.user_version)?;
        }
        if database.application_id != 0 {
            writeln!(block, "PRAGMA application_id={};", database.application_id)?;
        }
        block.push(b'\n');
        Ok(())
    }

    fn write_drops(&mut self, database: &Database) -> io::Result<()> {
        let block = &mut self.block;
        let views = database
            .objects
            .iter()
            .filter(|object| object.kind == "view");
        for view in views.rev() {
            writeln!(block, "DROP VIEW IF EXISTS {};", quoted_name(&view.name))?;
        }
        for table in database.tables.iter().rev() {
            writeln!(block, "DROP TABLE IF EXISTS {};", quoted_name(&table.name))?;
        }
        writeln!(block, "DROP TABLE IF EXISTS {};\n", self.stage.table())
    }

    fn write_objects(&mut self, objects: &[&SchemaObject]) -> io::Result<()> {
        for SchemaObject { sql, .. } in objects {
            write_schema_text(&mut self.block, sql);
            self.hand_on_full()?;
        }
        Ok(())
    }

    fn write_rebuilds(&mut self, database: &Database) -> io::Result<()> {
        let is_rebuilt = |table: &&Table| table.content == Content::Rebuilt;
        for table in database.tables.iter().filter(is_rebuilt) {
            let name = quoted_name(&table.name);
            writeln!(self.block, "INSERT INTO {name} ({name}) VALUES('rebuild');")?;
        }
        Ok(())
    }

    fn write_sequence(&mut self, database: &Database) {
        let Some(rows) = &database.sequence else {
            return;
        };
        if !std::mem::take(&mut self.sequence_pending) {
            return;
        }
        let counts = |table: &Table| table.sql.to_ascii_lowercase().contains("autoincrement");
        if !database.tables.iter().any(counts) {
            // `sqlite_sequence` remains after the last AUTOINCREMENT table was dropped; creating any such table creates
            // it.
            let table = self.stage.table();
            let sql = format!(
                "CREATE TABLE {table}(\"id\" INTEGER PRIMARY KEY AUTOINCREMENT);\nDROP TABLE {table};\n"
            );
            self.block.extend_from_slice(sql.as_bytes());
        }
        self.block
            .extend_from_slice(b"DELETE FROM \"sqlite_sequence\";\n");
        self.insert = "INSERT INTO \"sqlite_sequence\" (\"name\",\"seq\") VALUES".to_owned();
        for row in rows {
            self.write_literals(&[&row.name, &row.seq]);
        }
        self.end_table();
    }

    /// Writes the planner's statistics, last because they refer to indexes.
    fn write_statistics(&mut self, database: &Database) {
        let Some(Statistics { rows }) = &database.statistics else {
            return;
        };
        // A SQLite that supports sqlite_stat4 creates that table, too.
        self.block.extend_from_slice(
            b"ANALYZE sqlite_master;\nDROP TABLE IF EXISTS \"sqlite_stat4\";\nDELETE FROM \"sqlite_stat1\";\n",
        );
        self.insert = "INSERT INTO \"sqlite_stat1\" (\"tbl\",\"idx\",\"stat\") VALUES".to_owned();
        for [table, index, numbers] in rows {
            self.write_literals(&[table, index, numbers]);
        }
        self.end_table();
    }

    /// True if a row of large values still fits one statement. Only in that case are its literals written twice.
    fn fits_alone(&self, payload: usize, values: &[Value<'_>]) -> bool {
        if payload > MAX_STATEMENT_BYTES {
            return false;
        }
        let mut row = Vec::with_capacity(2 * payload);
        for value in values {
            self.literals.write(&mut row, *value);
            row.push(b',');
        }
        self.insert.len() + row.len() + 8 <= MAX_STATEMENT_BYTES
    }

    fn write_small_row(&mut self, values: &[Value<'_>]) {
        let begun = self.begin_row();
        for (column, value) in values.iter().enumerate() {
            self.block.push(if column == 0 { b'(' } else { b',' });
            self.literals.write(&mut self.block, *value);
        }
        self.end_row(begun);
    }

    /// Writes a row whose values are literals already.
    fn write_literals(&mut self, literals: &[&str]) {
        let begun = self.begin_row();
        for (column, literal) in literals.iter().enumerate() {
            self.block.push(if column == 0 { b'(' } else { b',' });
            self.block.extend_from_slice(literal.as_bytes());
        }
        self.end_row(begun);
    }

    fn begin_row(&mut self) -> Begun {
        let start = self.block.len();
        let is_first = self.statement_bytes == 0;
        if is_first {
            self.open_statement();
        } else {
            self.block.extend_from_slice(SEPARATOR);
        }
        Begun {
            start,
            row: self.block.len(),
            is_first,
        }
    }

    /// Ends the row and moves it into a new statement if it would make the current one too long.
    fn end_row(&mut self, begun: Begun) {
        let Begun {
            start,
            row,
            is_first,
        } = begun;
        self.block.push(b')');
        let row_bytes = self.block.len() - row;
        if is_first
            || self.statement_bytes + row_bytes + SEPARATOR.len() + END.len() <= MAX_STATEMENT_BYTES
        {
            self.statement_bytes += row_bytes + if is_first { 0 } else { SEPARATOR.len() };
            return;
        }
        let text = self.block.split_off(row);
        self.block.truncate(start);
        self.close_statement();
        self.open_statement();
        self.block.extend_from_slice(&text);
        self.statement_bytes += row_bytes;
    }

    fn open_statement(&mut self) {
        self.block.extend_from_slice(self.insert.as_bytes());
        self.block.push(b'\n');
        self.statement_bytes = self.insert.len() + 1;
    }

    fn close_statement(&mut self) {
        if self.statement_bytes > 0 {
            self.block.extend_from_slice(END);
            self.statement_bytes = 0;
        }
    }

    fn hand_on_full(&mut self) -> io::Result<()> {
        if self.block.len() >= BLOCK_BYTES {
            return self.hand_on();
        }
        Ok(())
    }

    fn hand_on(&mut self) -> io::Result<()> {
        self.sink.write_all(&self.block)?;
        self.block.clear();
        Ok(())
    }
}

/// True if some table may have a CHECK constraint. Existing rows may violate it: they were written before it, or with
/// checks off.
fn has_checks(database: &Database) -> bool {
    let mut texts = database.tables.iter().map(|table| &table.sql);
    texts.any(|sql| sql.to_ascii_lowercase().contains("check"))
}

/// Appends schema text verbatim: SQLite keeps all of it up to the `;`. If the text ends inside a comment, which would
/// swallow the `;`, that goes on its own line.
fn write_schema_text(block: &mut Vec<u8>, sql: &str) {
    block.extend_from_slice(sql.as_bytes());
    let end: &[u8] = match text_end(sql) {
        TextEnd::Clean => b";\n",
        TextEnd::LineComment | TextEnd::BlockComment => b"\n;\n",
    };
    block.extend_from_slice(end);
}

/// Replaces control characters, which would end a comment line, by spaces.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
