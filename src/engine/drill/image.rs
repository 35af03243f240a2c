//! Proves an image: its pages are those of the source, as a read of their own saw them.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use tokio_util::sync::CancellationToken;

use super::verdict::{Verdict, judge};
use super::{
    DrillError, DumpFile, Partial, Ready, Scratch, Trial, make_ready, scratch_error,
    stop_when_asked,
};
use crate::crosscheck::page_digest;
use crate::dump::decoder;
use crate::source::{Testimony, Witness};
use crate::types::{CheckFacts, Hasher, PlainFacts, counted};

/// How much of an image is read at a time.
const BLOCK_BYTES: usize = 256 * 1024;

/// Unpacks the image of `partial` and holds its pages against those that `witness` saw.
pub(super) fn prove(
    partial: Partial,
    trial: &Trial<'_>,
    witness: Option<Witness>,
) -> Result<(Ready, Verdict), DrillError> {
    let scratch = Scratch::create(trial.scratch)?;
    let dump = DumpFile::from(&partial);
    unpack(&dump, &scratch.path, trial.stop)?;
    trial.progress.add_bytes(dump.plain.size_bytes);
    let connection = open_image(&scratch.path, trial.stop).map_err(scratch_error)?;
    let copy = page_digest(&connection).map_err(scratch_error)?;
    drop(connection);
    let unseen = || DrillError::Differs("the source's pages were not read".to_owned());
    let Testimony {
        pages, findings, ..
    } = witness.ok_or_else(unseen)?.hear(trial.stop)?;
    let source = pages.ok_or_else(unseen)?;
    if source != copy {
        let text = format!(
            "{} of {}, stored {} of {}, or other bytes in them",
            counted(source.pages, "page"),
            counted(source.page_bytes, "byte"),
            copy.pages,
            copy.page_bytes
        );
        return Err(DrillError::Differs(text));
    }
    let check = CheckFacts {
        schema_entries: 0,
        tables: trial.evidence.tables.len() as u64,
        rows: trial.evidence.total_rows(),
        digest: source.digest,
        health: findings.as_ref().map(|found| found.health.clone()),
    };
    let verdict = judge(trial, Vec::new(), check, findings)?;
    drop(scratch);
    Ok((make_ready(partial)?, verdict))
}

/// Reads the spool to its end and proves its bytes.
pub(super) fn check(dump: &DumpFile<'_>) -> Result<(), DrillError> {
    let file = File::open(dump.path).map_err(spool)?;
    let mut text = decoder(dump.stored.compression, file).map_err(spool)?;
    let found = copy(&mut text, &mut io::sink(), &CancellationToken::new())?;
    match found == dump.plain {
        true => Ok(()),
        false => Err(changed(dump.plain, found)),
    }
}

/// Writes the image to `to` and proves every byte on the way.
pub(super) fn unpack(
    dump: &DumpFile<'_>,
    to: &Path,
    stop: &CancellationToken,
) -> Result<(), DrillError> {
    let file = File::open(dump.path).map_err(spool)?;
    let mut stored = Hashing {
        input: file,
        hasher: Hasher::default(),
    };
    let text = decoder(dump.stored.compression, &mut stored).map_err(spool)?;
    let found = load_image(text, to, stop)?;
    // Bytes after the end of the compressed image are part of the file, too.
    io::copy(&mut stored, &mut io::sink()).map_err(spool)?;
    let read = stored.hasher.finish();
    if read != dump.stored.sha256 {
        let text = format!("wrote {}, read {read}", dump.stored.sha256);
        return Err(DrillError::Spool(text));
    }
    match found == dump.plain {
        true => Ok(()),
        false => Err(changed(dump.plain, found)),
    }
}

/// Writes an image's bytes to `to` and says what they were.
///
/// # Errors
/// Where they cannot be read or written, or `stop` was cancelled.
pub(in crate::engine) fn load_image(
    mut image: impl Read,
    to: &Path,
    stop: &CancellationToken,
) -> Result<PlainFacts, DrillError> {
    let scratch = |error: io::Error| DrillError::Scratch(error.to_string());
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(to)
        .map_err(scratch)?;
    let facts = copy(&mut image, &mut file, stop)?;
    file.flush().map_err(scratch)?;
    Ok(facts)
}

/// Opens an image to read it. SQLite may not understand its schema; its pages are read all the same.
///
/// # Errors
/// SQLite's.
pub(in crate::engine) fn open_image(
    path: &Path,
    stop: &CancellationToken,
) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch(
        "PRAGMA writable_schema=ON; PRAGMA cache_size=-4000; PRAGMA trusted_schema=OFF;",
    )?;
    stop_when_asked(&mut connection, stop)?;
    Ok(connection)
}

fn copy(
    from: &mut impl Read,
    to: &mut impl Write,
    stop: &CancellationToken,
) -> Result<PlainFacts, DrillError> {
    let mut hasher = Hasher::default();
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        if stop.is_cancelled() {
            return Err(DrillError::Stopped);
        }
        let count = from.read(&mut block).map_err(spool)?;
        if count == 0 {
            break;
        }
        hasher.update(&block[..count]);
        let written = to.write_all(&block[..count]);
        written.map_err(|error| DrillError::Scratch(error.to_string()))?;
    }
    Ok(PlainFacts {
        size_bytes: hasher.seen_bytes(),
        sha256: hasher.finish(),
    })
}

fn spool(error: io::Error) -> DrillError {
    DrillError::Spool(error.to_string())
}

fn changed(written: PlainFacts, found: PlainFacts) -> DrillError {
    let text = format!("wrote {}, read {}", written.sha256, found.sha256);
    DrillError::Spool(text)
}

/// Bytes that are hashed as they are read.
struct Hashing<R> {
    input: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(out)?;
        self.hasher.update(&out[..count]);
        Ok(count)
    }
}
