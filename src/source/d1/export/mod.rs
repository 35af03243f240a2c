//! Copies a database by Cloudflare's own export, for databases too large to be read by queries. Invariant: a database
//! that the export would change is refused, and the exported copy is compared with the database before it counts.
//!
//! While it runs, the export blocks all queries; it also rounds integers and renumbers rows. So a preflight checks
//! every table for what it would lose; its file is loaded into a scratch database; sums over every column are compared
//! with those of the live database; and only then that copy is dumped like any SQLite database.

mod hazard;
mod job;
mod probe;

use std::collections::HashSet;
use std::fs;

use self::job::Job;
use self::probe::{Print, Probe, is_real};
use super::OnChange;
use super::check::Check;
use super::error::ApiError;
use super::reading::Reading;
use super::schema::{Described, Rows, Schema, misshapen, text};
use crate::dump::{Sink, Table};
use crate::source::sqlite::{ImportError, Imported};
use crate::source::{Dumped, Source, SourceError, SqliteSource};
use crate::types::{EvidenceClass, Sha256, counted, grouped};

/// Number of rows checked in one query, which may take 30 seconds; halved if that is too many.
const ROWS_PER_QUERY: u64 = 50_000;

const HOW_IT_WAS_COPIED: &str = "copied by Cloudflare's own export: counts and sums over every column equal the \
    database's, values were not compared one by one";

/// The database's schema, and summaries of its rows.
struct Preflight {
    schema: Schema,
    described: Described,
    /// One entry per table of the description.
    prints: Vec<Print>,
    check: Check,
}

/// A copy in a scratch database, and summaries of its rows.
struct Copy {
    imported: Imported,
    prints: Vec<Print>,
}

impl Reading<'_> {
    /// Dumps the result of Cloudflare's own export.
    pub(super) fn export(mut self, sink: &mut dyn Sink) -> Result<Dumped, SourceError> {
        // The copy provides better evidence than these would, at no cost.
        self.skills.sizes = false;
        self.skills.key_check = false;
        self.size_bytes()?;
        let bookmark = self.bookmark().map_err(|error| self.source.told(error))?;
        let mut before = self.preflight()?;
        let folder = tempfile::Builder::new()
            .prefix("export-")
            .tempdir_in(&self.source.scratch)?;
        let (file, scratch) = (folder.path().join("export.sql"), folder.path().join("a.db"));
        let exported_at = self.fetch(&file)?;
        let imported = Imported::load(
            &file,
            &scratch,
            self.source.size_hint_bytes(),
            self.request.stop,
        );
        let imported = imported.map_err(|error| self.not_loaded(error))?;
        // The dump is made from the copy; the file would only take the space of a second large database.
        fs::remove_file(&file)?;
        let prints = self.prints_of_copy(&before, &imported, bookmark.as_deref())?;
        let copy = Copy { imported, prints };
        let mut warnings = vec![HOW_IT_WAS_COPIED.to_owned()];
        let (digests, check) =
            self.compare(&mut before, &copy, bookmark.as_deref(), &mut warnings)?;
        let path = copy
            .imported
            .close()
            .map_err(|error| self.not_loaded(error))?;
        let dumped = SqliteSource::new(path, folder.path().to_owned()).dump(self.request, sink)?;
        if !digests.contains(&dumped.evidence.schema) {
            return Err(self.mismatch(bookmark.as_deref(), "its schema or sqlite_sequence"));
        }
        warnings.extend(dumped.warnings);
        let mut class = EvidenceClass::B;
        // The check read the database itself, not the copy that was dumped.
        let witness = check.witness(&mut class, &mut warnings);
        Ok(Dumped {
            class,
            witness,
            // The exported state is known only if its bookmark equals the one from before.
            bookmark: exported_at.filter(|at| bookmark.as_ref() == Some(at)),
            warnings,
            ..dumped
        })
    }

    /// Checks the whole database.
    ///
    /// # Errors
    /// If the export would lose something.
    fn preflight(&mut self) -> Result<Preflight, SourceError> {
        let looked = self.schema_and_plan();
        let (schema, _, plan) = looked.map_err(|error| self.source.told(error))?;
        let described = self.facts(&schema);
        let described = described.map_err(|error| self.source.told(error))?;
        let told = |error| self.source.told(error);
        let covered = self
            .batch(&[hazard::COVERED_SQL.to_owned()])
            .map_err(told)?;
        let covered = covered.into_iter().flatten().map(|row| text(&row, 0));
        let covered: HashSet<String> = covered.collect::<Result<_, _>>().map_err(told)?;
        let mut found = hazard::of_schema(&schema, &described, &covered);
        self.refuse(&found)?;
        let mut prints = Vec::new();
        for table in &described.database.tables {
            let print = self.look_through(&schema, table).map_err(told)?;
            found.extend(hazard::of_rows(table, &print));
            prints.push(print);
        }
        self.refuse(&found)?;
        let check = self.look_again(&plan)?;
        Ok(Preflight {
            schema,
            described,
            prints,
            check,
        })
    }

    fn refuse(&self, found: &[String]) -> Result<(), SourceError> {
        match hazard::told(found) {
            None => Ok(()),
            Some(why) => Err(SourceError::Unavailable {
                what: self.source.what(),
                why,
                retryable: false,
            }),
        }
    }

    /// Checks one table, in parts if it has a key.
    fn look_through(&self, schema: &Schema, table: &Table) -> Result<Print, ApiError> {
        let probe = probe(schema, table, self.skills.atan2);
        let mut whole = Print::default();
        let (mut after, mut rows) = (None, ROWS_PER_QUERY);
        loop {
            let limit = probe.has_parts().then_some(rows);
            let answers = match self.batch(&probe.statements(after, limit)) {
                Err(error) if error.wants_less() && limit.is_some() && rows > 1 => {
                    rows /= 2;
                    continue;
                }
                other => other?,
            };
            let (part, last) = probe.read(&answers).ok_or_else(misshapen)?;
            let is_last = limit.is_none_or(|limit| part.rows < limit);
            whole.add(part);
            if is_last {
                return Ok(whole);
            }
            after = last;
        }
    }

    fn fetch(&self, file: &std::path::Path) -> Result<Option<String>, SourceError> {
        let source = self.source;
        tracing::warn!(database = %source.id, "{} is exported by Cloudflare's own export: until that is done it answers \
            no query", source.what());
        let job = Job {
            client: &source.client,
            id: &source.id,
            deadline: source.export_deadline,
            stop: self.request.stop,
        };
        let exported = self.answer(job.run(file));
        exported.map_err(|error| source.told(error))
    }

    fn prints_of_copy(
        &self,
        before: &Preflight,
        imported: &Imported,
        bookmark: Option<&str>,
    ) -> Result<Vec<Print>, SourceError> {
        let mismatch = |what: &str| self.mismatch(bookmark, what);
        let mut prints = Vec::new();
        for table in &before.described.database.tables {
            let probe = probe(&before.schema, table, false);
            let mut answers = Vec::new();
            for sql in probe.statements(None, None) {
                let rows = imported.ask(&sql);
                // Fails if a table or column is missing there.
                let rows = rows.map_err(|error| mismatch(&error.to_string()))?;
                answers.push(cells(&rows).ok_or_else(|| mismatch(&table.name))?);
            }
            let read = probe.read(&answers);
            let (print, _) = read.ok_or_else(|| mismatch(&table.name))?;
            prints.push(print);
        }
        Ok(prints)
    }

    /// Compares the copy with the database as it was before and, if that differs, as it is now. Returns the digests
    /// that the copy's schema may have, and the check of the state that the copy has.
    fn compare(
        &mut self,
        before: &mut Preflight,
        copy: &Copy,
        bookmark: Option<&str>,
        warnings: &mut Vec<String>,
    ) -> Result<(Vec<Sha256>, Check), SourceError> {
        let tables = &before.described.database.tables;
        let difference = difference(tables, &before.prints, &copy.prints);
        let Some(difference) = difference else {
            let check = std::mem::replace(&mut before.check, Check::Moved);
            return Ok((vec![before.described.digest], check));
        };
        let now = self.bookmark().map_err(|error| self.source.told(error))?;
        if bookmark.is_some() && now.as_deref() == bookmark {
            return Err(self.differs(&difference));
        }
        let after = self.preflight()?;
        if after.schema.entries != before.schema.entries {
            return Err(self.source.changed("changed its schema"));
        }
        let accepts = self.accepts_changes();
        let states = before.prints.iter().zip(&after.prints);
        for ((table, copy), (before, after)) in tables.iter().zip(&copy.prints).zip(states) {
            if before.difference(copy).is_none() || after.difference(copy).is_none() {
                continue;
            }
            if before.difference(after).is_none() {
                return Err(self.differs(&difference));
            }
            let fewest = before.rows.min(after.rows);
            let is_between = (fewest..=before.rows.max(after.rows)).contains(&copy.rows);
            if !accepts || !is_between {
                return Err(self.source.changed("was written to"));
            }
            warnings.push(format!(
                "table `{}` was written to around the export: only its number of rows was compared",
                table.name
            ));
        }
        let check = match self::difference(tables, &after.prints, &copy.prints) {
            None => after.check,
            Some(_) => Check::Moved,
        };
        Ok((vec![before.described.digest, after.described.digest], check))
    }

    fn accepts_changes(&self) -> bool {
        self.source.on_change == OnChange::Accept
            || self
                .source
                .changed_before
                .load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Error for a copy that does not match: the database was written to meanwhile, or the export is at fault.
    fn mismatch(&self, bookmark: Option<&str>, what: &str) -> SourceError {
        match self.bookmark() {
            Err(error) => self.source.told(error),
            Ok(now) if bookmark.is_some() && now.as_deref() != bookmark => {
                self.source.changed("was written to")
            }
            Ok(_) => self.differs(what),
        }
    }

    fn differs(&self, what: &str) -> SourceError {
        SourceError::Unavailable {
            what: self.source.what(),
            why: format!(
                "Cloudflare's own export differs from it: {what}\n\
                 hint: remove `method` from this database; `method = \"raw\"`, the default, reads it without loss"
            ),
            retryable: false,
        }
    }

    fn not_loaded(&self, error: ImportError) -> SourceError {
        match error {
            ImportError::Stopped => SourceError::Stopped,
            error => SourceError::Unavailable {
                what: self.source.what(),
                // A file that was truncated may be complete the next time.
                retryable: matches!(error, ImportError::Split(_)),
                why: format!("Cloudflare's own export does not load: {error}"),
            },
        }
    }
}

fn probe<'a>(schema: &'a Schema, table: &'a Table, has_atan2: bool) -> Probe<'a> {
    let found = schema.tables.iter().find(|t| t.entry.name == table.name);
    let columns = found.map_or(&[][..], |found| &found.columns);
    let of_name = |name: &String| columns.iter().find(|column| column.name == *name);
    let is_real = |name: &String| of_name(name).is_some_and(|column| is_real(&column.declared));
    Probe {
        table,
        key: schema.key(table),
        has_atan2,
        is_real: table.columns.iter().map(is_real).collect(),
    }
}

/// Describes the first difference.
fn difference(tables: &[Table], source: &[Print], copy: &[Print]) -> Option<String> {
    let mut pairs = tables.iter().zip(source.iter().zip(copy));
    pairs.find_map(|(table, (source, copy))| {
        let name = &table.name;
        Some(match source.difference(copy)? {
            None => format!(
                "table `{name}` has {}, the export {}",
                counted(source.rows, "row"),
                grouped(copy.rows)
            ),
            Some(column) => {
                let column = &table.columns[column];
                format!("column `{column}` of table `{name}` has other values")
            }
        })
    })
}

fn cells(rows: &[Vec<String>]) -> Option<Rows> {
    let row = |row: &Vec<String>| {
        row.iter()
            .map(|cell| super::answer::Cell::parse(cell))
            .collect()
    };
    rows.iter().map(row).collect()
}
