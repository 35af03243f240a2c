//! Restores into a D1 database. Invariant: what is there is kept in a proven copy first, everything goes in as one
//! transaction, and what went in is read back before anybody is told that it is restored.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use rusqlite::Connection;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::Restored;
use super::error::RestoreError;
use super::making::{Job, Made, make};
use super::merge::{text_of, without_other_sequences};
use super::origin::on_thread;
use super::proof::{Against, Proof};
use super::sieve::folded;
use super::target::Overwrite;
use super::workshop::Workshop;
use crate::config::D1Method;
use crate::dump::{Header, Splitter, quoted_name};
use crate::engine::drill::{self, DrillError, Place, Statements, Step, Trial};
use crate::engine::spool::{Writing, create_private};
use crate::progress::Progress;
use crate::source::d1::{Client, D1Source, OnChange, SchemaEntry, name_for};
use crate::source::{DumpForm, DumpRequest, Dumped, Look, Source, SourceError};
use crate::types::{
    BackupDate, Compression, CopyForm, DatabaseName, Exception, ExceptionKind, JobId,
    MANIFEST_FORMAT, Manifest, ObjectKey, SourceEvidence, counted, either,
};

/// The statements are ours, and ours are shorter than what D1 takes.
const MAX_STATEMENT_BYTES: usize = 1024 * 1024;

/// A D1 database to restore into.
pub struct Cloud {
    /// The account's client.
    pub client: Arc<Client>,
    /// The database's id.
    pub id: String,
    /// What the account calls it.
    pub name: String,
    /// Where the copy of what is there goes.
    pub safety_folder: PathBuf,
}

impl Cloud {
    /// What the database holds: tables, views, indexes and triggers of the user.
    ///
    /// # Errors
    /// Those of the API.
    pub async fn look(&self, stop: &CancellationToken) -> Result<Vec<SchemaEntry>, RestoreError> {
        Ok(self.client.schema(&self.id, stop).await?)
    }

    /// For messages.
    pub fn what(&self) -> String {
        format!("the D1 database `{}` ({})", self.name, self.id)
    }

    fn source(&self, scratch: &Path) -> D1Source {
        let (client, scratch) = (Arc::clone(&self.client), scratch.to_owned());
        let method = D1Method::Raw;
        let source = D1Source::new(client, self.id.clone(), method, scratch, Handle::current());
        // A database that is about to be replaced is kept even if somebody still writes to it.
        source.on_change(OnChange::Accept)
    }
}

/// Restores into the database of `cloud`: all of it, or, with tables named, these beside what is there.
///
/// # Errors
/// [`RestoreError`]. The database is then as it was, unless the error says that it was restored and reads back
/// differently.
pub async fn to_d1(
    job: &Job<'_>,
    cloud: &Cloud,
    overwrite: Overwrite,
    now: DateTime<Utc>,
) -> Result<Restored, RestoreError> {
    let there = cloud.look(job.stop).await?;
    permit(cloud, &there, job.tables, overwrite)?;
    let folder = &cloud.safety_folder;
    let made_folder =
        fs::create_dir_all(folder).and_then(|()| Workshop::open(folder, ".restoring-"));
    let workshop = Arc::new(made_folder.map_err(|error| RestoreError::target(folder, &error))?);
    let made = make(job, workshop.path("new.db")).await?;
    refuse_what_d1_cannot_hold(&made)?;
    let mut warnings = made.warnings.clone();
    if made.evidence.user_version != 0 || made.evidence.application_id != 0 {
        warnings.push("D1 keeps no user_version and no application_id".to_owned());
    }
    let mut text = {
        let (workshop, path, stop) = (Arc::clone(&workshop), made.path.clone(), job.stop.clone());
        let (there, tables) = (there.clone(), names_of(&made, job.tables));
        let is_image = job.origin.manifest().is_some_and(Manifest::is_image);
        on_thread(move || {
            write_import(&workshop, &path, &there, tables.as_deref(), is_image, &stop)
        })
        .await?
    };
    if !text.settings.is_empty() {
        let settings = std::mem::take(&mut text.settings).join(", ");
        warnings.push(format!("D1 has settings of its own in place of {settings}"));
    }
    let safety_copy = match there.is_empty() {
        true => None,
        false => Some(keep(cloud, &workshop, now, job.stop).await?),
    };
    if job.stop.is_cancelled() {
        return Err(RestoreError::Stopped);
    }
    cloud.client.import(&cloud.id, &text.file, job.stop).await?;
    let proof = prove(
        cloud,
        &workshop,
        &text.evidence,
        job.tables,
        safety_copy.as_deref(),
    )
    .await?;
    Ok(Restored {
        proof: Proof {
            violations: proof.violations,
            ..made.proof
        },
        safety_copy,
        warnings,
        size_bytes: super::making::size_of(&made.path),
    })
}

fn permit(
    cloud: &Cloud,
    there: &[SchemaEntry],
    tables: &[String],
    overwrite: Overwrite,
) -> Result<(), RestoreError> {
    let is_in_the_way = |entry: &&SchemaEntry| {
        tables.is_empty()
            || tables
                .iter()
                .any(|name| folded(name) == folded(&entry.name))
    };
    match there.iter().find(is_in_the_way) {
        Some(entry) if overwrite == Overwrite::Never => Err(RestoreError::Exists {
            what: format!("the {} `{}` in {}", entry.kind, entry.name, cloud.what()),
        }),
        _ => Ok(()),
    }
}

fn refuse_what_d1_cannot_hold(made: &Made) -> Result<(), RestoreError> {
    let violations = made.evidence.foreign_key_violations;
    if violations > 0 {
        let text = format!(
            "{} {} a foreign key, which D1 refuses",
            counted(violations, "row"),
            either(violations, "violates", "violate")
        );
        return Err(RestoreError::NotForD1(text));
    }
    let encoding = || -> rusqlite::Result<String> {
        Connection::open(&made.path)?.query_row("PRAGMA encoding", [], |row| row.get(0))
    };
    match encoding() {
        Ok(encoding) if encoding == "UTF-8" => Ok(()),
        Ok(encoding) => Err(RestoreError::NotForD1(format!("its text is {encoding}"))),
        Err(error) => Err(RestoreError::sqlite(&made.path, &error)),
    }
}

/// The tables that were asked for, as the schema spells them; `None`: all.
fn names_of(made: &Made, asked: &[String]) -> Option<Vec<String>> {
    let tables = made.evidence.tables.iter();
    (!asked.is_empty()).then(|| tables.map(|table| table.name.clone()).collect())
}

/// What goes up.
struct Text {
    file: PathBuf,
    /// What D1 must hold afterwards.
    evidence: SourceEvidence,
    /// Settings of a SQLite file, which D1 refuses.
    settings: Vec<String>,
}

/// Writes the file that D1 imports: drops of what is there, where all is replaced, then the restored database's own
/// text.
fn write_import(
    workshop: &Workshop,
    made: &Path,
    there: &[SchemaEntry],
    tables: Option<&[String]>,
    is_image: bool,
    stop: &CancellationToken,
) -> Result<Text, RestoreError> {
    let (part, dumped) = text_of(made, workshop, stop).map_err(|error| match error {
        RestoreError::Source(SourceError::NotAsSql { why, .. }) => beyond_sql(&why),
        other => other,
    })?;
    let Dumped {
        evidence,
        exceptions,
        ..
    } = dumped;
    // A copy as SQL text has lost nothing that this text loses; an image may.
    let mut exceptions = exceptions.iter();
    if let Some(lost) = exceptions.find(|lost| is_image && is_content(lost)) {
        return Err(beyond_sql(lost));
    }
    if is_image {
        try_text(workshop, part.path(), stop)?;
    }
    let file = workshop.path("import.sql");
    let mut settings = Vec::new();
    let mut write = || -> io::Result<()> {
        let mut out = BufWriter::new(create_private(&file)?);
        writeln!(out, "PRAGMA defer_foreign_keys=TRUE;")?;
        let input = fs::File::open(part.path())?;
        if tables.is_none() {
            write_drops(&mut out, there)?;
        }
        let mut splitter = Splitter::new(input, MAX_STATEMENT_BYTES);
        let mut is_head = true;
        while let Some((_, statement)) = splitter.next_statement().map_err(io::Error::other)? {
            let pragma = pragma_of(statement).filter(|_| is_head);
            is_head = pragma.is_some();
            if let Some(setting) = pragma.filter(|pragma| is_file_setting(pragma)) {
                settings.push(setting.to_owned());
                continue;
            }
            let step = tables.map(|tables| without_other_sequences(statement, tables));
            match step.unwrap_or(Step::Run) {
                Step::Instead(sql) => writeln!(out, "{sql}")?,
                Step::Run => out.write_all(statement)?,
                Step::Skip => {}
            }
        }
        out.flush()
    };
    write().map_err(|error| RestoreError::target(&file, &error))?;
    Ok(Text {
        file,
        evidence,
        settings,
    })
}

/// An image's text was never executed: what its schema needs of its program shows only then.
fn try_text(
    workshop: &Workshop,
    text: &Path,
    stop: &CancellationToken,
) -> Result<(), RestoreError> {
    let unreadable = |error| RestoreError::target(text, &error);
    let input = fs::File::open(text).map_err(unreadable)?;
    let text_bytes = input.metadata().map_err(unreadable)?.len();
    let unseen = Arc::<Progress>::default();
    let mut statements = Statements::over(Box::new(input), Compression::None, &unseen)?;
    let trial = workshop.path("trial.db");
    let place = Place {
        path: &trial,
        text_bytes,
        database_bytes: None,
        stop,
    };
    match place.load(&mut statements, |_, _| Ok(Step::Run)) {
        Ok(_) => Ok(()),
        Err(DrillError::Refused { object, why, .. }) => {
            Err(beyond_sql(&format!("{object}: {why}")))
        }
        Err(error) => Err(error.into()),
    }
}

/// D1 takes SQL text alone.
fn beyond_sql(why: &dyn std::fmt::Display) -> RestoreError {
    RestoreError::NotForD1(format!(
        "it is an image of a SQLite file, and SQL text cannot carry all of it: {why}"
    ))
}

/// Whether something a person stored is lost; settings of a file, the text of a schema and what the planner knows are not
/// that.
fn is_content(lost: &Exception) -> bool {
    match lost.kind {
        ExceptionKind::Setting | ExceptionKind::Schema => false,
        ExceptionKind::Missing => !lost.object.starts_with("sqlite_stat"),
        ExceptionKind::Rows
        | ExceptionKind::Values
        | ExceptionKind::Index
        | ExceptionKind::BreaksSchema => true,
    }
}

/// `name=value` of `PRAGMA name=value;`, which stand one a line below the header's comments.
fn pragma_of(statement: &[u8]) -> Option<&str> {
    let line = statement.rsplit(|byte| *byte == b'\n').next()?;
    let pragma = line.strip_prefix(b"PRAGMA ")?.strip_suffix(b";")?;
    std::str::from_utf8(pragma).ok()
}

/// What holds for a SQLite file, and for no database of D1's.
fn is_file_setting(pragma: &str) -> bool {
    ["page_size=", "auto_vacuum="]
        .iter()
        .any(|name| pragma.starts_with(name))
}

fn write_drops(out: &mut impl Write, there: &[SchemaEntry]) -> io::Result<()> {
    for kind in ["trigger", "view", "table"] {
        for entry in there.iter().rev().filter(|entry| entry.kind == kind) {
            let name = quoted_name(&entry.name);
            writeln!(out, "DROP {} IF EXISTS {name};", kind.to_uppercase())?;
        }
    }
    Ok(())
}

/// Backs up what is there, as any backup: dumped, proven, with its manifest beside it. Gives the dump's path.
async fn keep(
    cloud: &Cloud,
    workshop: &Arc<Workshop>,
    now: DateTime<Utc>,
    stop: &CancellationToken,
) -> Result<PathBuf, RestoreError> {
    let source = cloud.source(&workshop.path(""));
    let name = name_for(&cloud.name, &cloud.id, |_| false)
        .unwrap_or_else(|| "d1".parse().expect("a valid name"));
    let file = format!("{name}.before-{}.sql", now.format("%Y%m%dT%H%M%SZ"));
    let to = cloud.safety_folder.join(file);
    let (workshop, stop) = (Arc::clone(workshop), stop.clone());
    on_thread(move || keep_now(&source, &name, &workshop, &to, now, &stop)).await
}

fn keep_now(
    source: &D1Source,
    name: &DatabaseName,
    workshop: &Workshop,
    to: &Path,
    now: DateTime<Utc>,
    stop: &CancellationToken,
) -> Result<PathBuf, RestoreError> {
    let told = |error: io::Error| RestoreError::target(to, &error);
    let header = Header {
        agent: "patina".to_owned(),
        database: name.clone(),
        generated: now,
        job: JobId::random(),
        source: format!("d1 {}", source.facts().id),
    };
    let progress = Arc::<Progress>::default();
    let request = DumpRequest {
        header: &header,
        skip_data: &[],
        form: DumpForm::Sql,
        look: Look::ContentAndHealth,
        progress: &progress,
        stop,
    };
    let mut writing =
        Writing::create(&workshop.path("safety.partial"), Compression::None).map_err(told)?;
    let mut dumped = source.dump(&request, &mut writing)?;
    let witness = dumped.witness.take();
    let trial = Trial {
        evidence: &dumped.evidence,
        class: dumped.class,
        form: DumpForm::Sql,
        exceptions: &dumped.exceptions,
        skip_data: &[],
        scratch: &workshop.path("safety.db"),
        progress: &progress,
        stop,
    };
    let partial = writing.finish().map_err(told)?;
    let partial = partial.of_source(source.database_bytes());
    let (ready, verdict) = drill::prove(partial, &trial, witness)?;
    let time = now.to_rfc3339_opts(SecondsFormat::Millis, true);
    let date = BackupDate(now.date_naive());
    let manifest = Manifest {
        format: MANIFEST_FORMAT,
        instance: "safety copy".to_owned(),
        key: ObjectKey::daily(
            date,
            name,
            Some(now.time()),
            CopyForm::Sql,
            Compression::None,
        ),
        database: name.clone(),
        date,
        zone: "UTC".to_owned(),
        job: header.job,
        source: source.facts(),
        started_at: time.clone(),
        completed_at: time,
        plain: ready.plain,
        stored: ready.stored,
        database_bytes: ready.database_bytes,
        evidence: dumped.evidence,
        class: verdict.class,
        check: verdict.check,
        exceptions: verdict.exceptions,
        incomplete: dumped.incomplete,
        warnings: dumped.warnings,
        sqlite_version: drill::sqlite_version().to_owned(),
        patina_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let text = serde_json::to_vec_pretty(&manifest).expect("a manifest has only text keys");
    let beside = to.with_extension("sql.json");
    let mut out = create_private(&beside).map_err(told)?;
    out.write_all(&text)
        .and_then(|()| out.sync_all())
        .map_err(told)?;
    fs::rename(ready.path(), to).map_err(told)?;
    let folder = to.parent().expect("it is in the safety folder");
    fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(told)?;
    Ok(to.to_owned())
}

/// Reads the database back, losslessly, and holds it against what went in.
async fn prove(
    cloud: &Cloud,
    workshop: &Arc<Workshop>,
    expected: &SourceEvidence,
    tables: &[String],
    safety_copy: Option<&Path>,
) -> Result<Proof, RestoreError> {
    let source = cloud.source(&workshop.path(""));
    let (workshop, expected, tables) = (Arc::clone(workshop), expected.clone(), tables.to_vec());
    let proof = on_thread(move || {
        let header = Header {
            agent: "patina".to_owned(),
            database: "d1".parse().expect("a valid name"),
            generated: DateTime::UNIX_EPOCH,
            job: JobId::random(),
            source: "d1".to_owned(),
        };
        let request = DumpRequest {
            header: &header,
            skip_data: &[],
            form: DumpForm::Sql,
            look: Look::Nothing,
            progress: &Progress::default(),
            stop: &CancellationToken::new(),
        };
        let path = workshop.path("back.partial");
        let told = |error: io::Error| RestoreError::target(&path, &error);
        let mut writing = Writing::create(&path, Compression::None).map_err(told)?;
        let dumped = source.dump(&request, &mut writing)?;
        let only = (!tables.is_empty()).then_some(&tables[..]);
        Ok(Proof::of(
            &dumped.evidence,
            Against::Manifest(&expected),
            only,
        ))
    });
    let proof = proof.await?;
    if proof.is_good() {
        return Ok(proof);
    }
    let kept = safety_copy.map_or("nothing was there before".to_owned(), |copy| {
        format!("what was there before is in `{}`", copy.display())
    });
    Err(RestoreError::Target {
        what: cloud.what(),
        why: format!(
            "it took the copy but reads back differently: {}\nhint: does something write to it? {kept}",
            proof.first_difference()
        ),
    })
}
