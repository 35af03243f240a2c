//! Makes a private database of a copy's text and proves it there. Invariant: what differs from what is known of the
//! copy is an error, before any target is touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use tokio_util::sync::CancellationToken;

use super::error::RestoreError;
use super::image;
use super::origin::{Feed, Origin};
use super::papers::Papers;
use super::proof::{Against, Proof};
use super::sieve::{Sieve, folded};
use crate::config::did_you_mean;
use crate::dump::quoted_name;
use crate::engine::drill::{Place, Statements, check_integrity};
use crate::progress::Progress;
use crate::quote;
use crate::source::content_by;
use crate::types::{MANIFEST_FORMAT, Manifest, SourceEvidence, counted, either};

/// What a private database may take where nobody knows how much text there is.
pub(super) const UNKNOWN_TEXT_BYTES: u64 = 1 << 40;

/// So many tables are named in a message; the rest are counted.
const MOST_NAMED: usize = 20;

/// What to make of a copy.
pub struct Job<'a> {
    /// The copy.
    pub origin: &'a Origin,
    /// Only these tables, with their indexes and triggers; all and everything else where empty.
    pub tables: &'a [String],
    /// Counts the stored bytes that were read.
    pub progress: &'a Arc<Progress>,
    /// Asks to end.
    pub stop: &'a CancellationToken,
}

/// A database that was made and proven.
pub(super) struct Made {
    pub(super) path: PathBuf,
    pub(super) proof: Proof,
    pub(super) evidence: SourceEvidence,
    pub(super) warnings: Vec<String>,
}

/// Makes a database of the copy at `path`, where nothing of value may be.
pub(super) async fn make(job: &Job<'_>, path: PathBuf) -> Result<Made, RestoreError> {
    if let Some(manifest) = job.origin.manifest() {
        let names: Vec<&str> = manifest.evidence.tables.iter().map(|t| &*t.name).collect();
        refuse_unknown(job.tables, &names)?;
    }
    let maker = Maker {
        path,
        tables: job.tables.to_vec(),
        is_sifted: !job.tables.is_empty() && stand_alone(job.origin.manifest(), job.tables),
        papers: Papers::of(job.origin),
        text_bytes: job.origin.text_bytes().unwrap_or(UNKNOWN_TEXT_BYTES),
        database_bytes: job.origin.database_bytes(),
        stop: job.stop.clone(),
    };
    let mut warnings = Vec::new();
    let work = move |feed| maker.make(feed);
    let made = job.origin.read(job.progress, &mut warnings, work).await?;
    Ok(Made {
        warnings: [warnings, made.warnings].concat(),
        ..made
    })
}

/// Whether the tables can be filled without others: an index over another table cannot.
fn stand_alone(manifest: Option<&Manifest>, tables: &[String]) -> bool {
    let Some(manifest) = manifest else {
        return false;
    };
    let mut wanted = manifest.evidence.tables.iter().filter(|table| {
        tables
            .iter()
            .any(|name| folded(name) == folded(&table.name))
    });
    wanted.all(|table| table.hash.is_some() || table.omitted.is_some())
}

pub(super) fn refuse_unknown(tables: &[String], known: &[&str]) -> Result<(), RestoreError> {
    let is_known = |name: &String| known.iter().any(|other| folded(other) == folded(name));
    let Some(name) = tables.iter().find(|name| !is_known(name)) else {
        return Ok(());
    };
    let hint = did_you_mean(name, known.iter().copied());
    Err(RestoreError::NoTable {
        name: name.clone(),
        hint: hint.unwrap_or_else(|| format!("there are {}", some_of(known))),
    })
}

/// The first of these names, and how many more there are.
fn some_of(names: &[&str]) -> String {
    let shown = names
        .iter()
        .take(MOST_NAMED)
        .map(|name| format!("`{}`", quote::name(name)));
    let shown = shown.collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MOST_NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more: `patina show` lists all"),
    }
}

struct Maker {
    path: PathBuf,
    tables: Vec<String>,
    /// Whether rows of other tables are left out while reading.
    is_sifted: bool,
    papers: Papers,
    text_bytes: u64,
    database_bytes: Option<u64>,
    stop: CancellationToken,
}

impl Maker {
    fn make(&self, feed: Feed) -> Result<Made, RestoreError> {
        // A way that was given up may have left one.
        let _ = fs::remove_file(&self.path);
        if let Some(manifest) = self.papers.image() {
            image::unpack(feed, &self.path, manifest, &self.stop)?;
            let warnings = image::warnings(manifest);
            return self.of_image(manifest.evidence.clone(), warnings);
        }
        let unseen = Arc::<Progress>::default();
        let mut statements = Statements::over(feed.text, feed.compression, &unseen)?;
        let mut sieve = Sieve::new(self.is_sifted.then_some(&self.tables[..]));
        let place = Place {
            path: &self.path,
            text_bytes: self.text_bytes,
            database_bytes: self.database_bytes,
            stop: &self.stop,
        };
        let loaded = place.load(&mut statements, |_, statement| Ok(sieve.step(statement)));
        let mut connection = loaded?;
        let summary = self.papers.summary(statements, sieve.is_ours())?;
        let manifest = self.papers.manifest_of(summary.as_ref())?;
        if !self.tables.is_empty() {
            reduce(&connection, &self.tables).map_err(|e| RestoreError::sqlite(&self.path, &e))?;
        }
        let format = manifest
            .as_ref()
            .map_or(MANIFEST_FORMAT, |manifest| manifest.format);
        let left_out = left_out(manifest.as_ref());
        let evidence = content_by(format, &mut connection, &left_out, &self.stop)
            .map_err(|error| RestoreError::sqlite(&self.path, &error))?;
        drop(connection);
        check_integrity(&self.path, &self.stop)?;
        let names: Vec<&str> = evidence.tables.iter().map(|table| &*table.name).collect();
        refuse_unknown(&self.tables, &names)?;
        let against = match (&manifest, summary.is_some()) {
            (Some(manifest), _) => Against::Manifest(&manifest.evidence),
            (None, true) => Against::Counts(sieve.counts()),
            (None, false) => Against::Nothing,
        };
        let only = (!self.tables.is_empty()).then_some(&self.tables[..]);
        let proof = Proof::of(&evidence, against, only);
        if !proof.is_good() {
            return Err(RestoreError::Differs(Box::new(proof)));
        }
        Ok(Made {
            path: self.path.clone(),
            warnings: warnings(&proof, manifest.as_ref(), only.is_some()),
            proof,
            evidence,
        })
    }
}

impl Maker {
    /// What was made of an image; single tables are left alone in it as far as SQLite can do that without its program.
    fn of_image(
        &self,
        mut evidence: SourceEvidence,
        warnings: Vec<String>,
    ) -> Result<Made, RestoreError> {
        let is_wanted = |name: &String| {
            let mut wanted = self.tables.iter();
            wanted.any(|wanted| folded(wanted) == folded(name))
        };
        let only = (!self.tables.is_empty()).then_some(&self.tables[..]);
        if only.is_some() {
            Connection::open(&self.path)
                .and_then(|connection| reduce(&connection, &self.tables))
                .map_err(|error| RestoreError::Image(error.to_string()))?;
            evidence.tables.retain(|table| is_wanted(&table.name));
        }
        Ok(Made {
            path: self.path.clone(),
            proof: Proof::of_image(&evidence, only),
            evidence,
            warnings,
        })
    }
}

/// The tables whose rows the copy does not hold.
fn left_out(manifest: Option<&Manifest>) -> Vec<String> {
    let tables = manifest
        .iter()
        .flat_map(|manifest| &manifest.evidence.tables);
    tables
        .filter(|table| table.omitted.is_some())
        .map(|table| table.name.clone())
        .collect()
}

fn warnings(proof: &Proof, manifest: Option<&Manifest>, is_part: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if manifest.is_some_and(|manifest| manifest.incomplete) {
        let text = "a table whose schema could not be read is missing in the copy";
        warnings.push(text.to_owned());
    }
    let is_new = proof.expected_violations != Some(proof.violations);
    if proof.violations > 0 && (is_new || is_part) {
        let count = proof.violations;
        let cause = if is_part {
            ": their parents may be in other tables"
        } else {
            ""
        };
        warnings.push(format!(
            "{} {} a foreign key{cause}",
            counted(count, "row"),
            either(count, "violates", "violate")
        ));
    }
    warnings
}

/// Drops everything but these tables, with their indexes and triggers.
fn reduce(connection: &Connection, tables: &[String]) -> rusqlite::Result<()> {
    let list = |sql: &str| -> rusqlite::Result<Vec<String>> {
        let mut statement = connection.prepare(sql)?;
        let names = statement.query_map([], |row| row.get(0))?;
        names.collect()
    };
    for view in list("SELECT name FROM main.sqlite_schema WHERE type = 'view'")? {
        connection.execute_batch(&format!("DROP VIEW {}", quoted_name(&view)))?;
    }
    let all = list(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('virtual', 'table')
         AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type DESC",
    )?;
    let is_wanted = |name: &String| tables.iter().any(|wanted| folded(wanted) == folded(name));
    for table in all.iter().filter(|name| !is_wanted(name)) {
        connection.execute_batch(&format!("DROP TABLE {}", quoted_name(table)))?;
    }
    Ok(())
}

/// How large the file is.
pub(super) fn size_of(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}
