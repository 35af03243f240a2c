//! Writes a weekly archive, in one pass and constant memory.

use std::io::{self, Read, Write};

use serde::Serialize;
use tar::{EntryType, Header};

use super::{ArchiveError, Facts, MANIFEST_NAME, RUNBOOK_NAME, SUMS_NAME};
use crate::dump::Encoder;
use crate::types::{
    ARCHIVE_FORMAT, ArchiveMember, Compression, Hasher, IsoWeek, JobId, LeftOut, PlainFacts,
    StoredFacts,
};

/// Extracted files are readable by everyone.
const MODE: u32 = 0o644;

/// Contents of an archive, written to `MANIFEST.json` for readers who have only the archive.
#[derive(Debug, Clone, Serialize)]
pub struct Contents<'a> {
    /// Id of the installation that writes the archive.
    pub instance: &'a str,
    /// Week of the archive, which is written on its Sunday.
    pub week: IsoWeek,
    /// The IANA time zone of the members' dates.
    pub zone: &'a str,
    /// Job that writes the archive.
    pub job: JobId,
    /// Time when writing began, RFC 3339 in UTC.
    pub started_at: &'a str,
    /// Members, in this order.
    pub members: &'a [ArchiveMember],
    /// Copies of the week that are missing from the archive.
    pub left_out: &'a [LeftOut],
    /// Facts of the runbook in the archive; `None`: an older Patina wrote it, without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runbook: Option<PlainFacts>,
    /// Version of Patina that writes the archive.
    pub patina_version: &'a str,
}

/// A writer of an archive into `W`.
pub struct Writer<W: Write> {
    tar: tar::Builder<Encoder<Hashing<W>>>,
    mtime: u64,
}

impl<W: Write> Writer<W> {
    /// Writes the first entries; `runbook` is the text that `contents` describes.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn start(out: W, contents: &Contents<'_>, runbook: &str) -> Result<Self, ArchiveError> {
        let hasher = Hasher::default();
        let encoder = Encoder::new(Compression::Gzip, Hashing { out, hasher });
        let monday = contents.week.first_day().0.and_time(chrono::NaiveTime::MIN);
        let mut writer = Self {
            tar: tar::Builder::new(encoder.map_err(ArchiveError::Io)?),
            // Times of the files are those of their week's Monday: the time of writing would make each archive differ,
            // and the Sunday is not over everywhere.
            mtime: u64::try_from(monday.and_utc().timestamp()).unwrap_or(0),
        };
        writer.small(MANIFEST_NAME, &manifest(contents))?;
        writer.small(
            SUMS_NAME,
            sums(contents.members, contents.runbook).as_bytes(),
        )?;
        if contents.runbook.is_some() {
            writer.small(RUNBOOK_NAME, runbook.as_bytes())?;
        }
        Ok(writer)
    }

    /// Writes the next member; `text` must match its manifest.
    ///
    /// # Errors
    /// [`ArchiveError::Differs`] and [`ArchiveError::Source`], after which the archive is unusable, and those of the
    /// output.
    pub fn member(&mut self, member: &ArchiveMember, text: impl Read) -> Result<(), ArchiveError> {
        let (path, plain) = (&member.path, member.manifest.plain);
        let mut header = self.header(plain.size_bytes);
        let mut text = Measured {
            // One byte more reveals a text that is too long.
            inner: text.take(plain.size_bytes.saturating_add(1)),
            hasher: Hasher::default(),
            broken: None,
        };
        let written = {
            let mut entry = text.by_ref().take(plain.size_bytes);
            self.tar.append_data(&mut header, path, &mut entry)
        };
        let rest = io::copy(&mut text, &mut io::sink());
        if let Some(cause) = text.broken {
            let path = path.clone();
            return Err(ArchiveError::Source { path, cause });
        }
        let found = Facts::of(text.hasher.seen_bytes(), text.hasher.finish());
        if found.0 != plain {
            return Err(ArchiveError::Differs {
                path: path.clone(),
                found,
                expected: Facts(plain),
            });
        }
        written.and(rest.map(|_| ())).map_err(ArchiveError::Io)
    }

    /// Writes the end, and returns the output and the facts of the archive's bytes.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(self) -> Result<(W, StoredFacts), ArchiveError> {
        let encoder = self.tar.into_inner().map_err(ArchiveError::Io)?;
        let Hashing { out, hasher } = encoder.finish().map_err(ArchiveError::Io)?;
        let stored = StoredFacts {
            size_bytes: hasher.seen_bytes(),
            sha256: hasher.finish(),
            compression: Compression::Gzip,
        };
        Ok((out, stored))
    }

    fn small(&mut self, path: &str, text: &[u8]) -> Result<(), ArchiveError> {
        let mut header = self.header(text.len() as u64);
        let written = self.tar.append_data(&mut header, path, text);
        written.map_err(ArchiveError::Io)
    }

    fn header(&self, size_bytes: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(size_bytes);
        header.set_mode(MODE);
        header.set_mtime(self.mtime);
        header.set_uid(0);
        header.set_gid(0);
        header
    }
}

pub(super) fn manifest(contents: &Contents<'_>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Document<'a> {
        format: u32,
        #[serde(flatten)]
        contents: &'a Contents<'a>,
    }
    let document = Document {
        format: ARCHIVE_FORMAT,
        contents,
    };
    let mut text = serde_json::to_vec_pretty(&document).expect("it has only text keys");
    text.push(b'\n');
    text
}

/// Formats one line per file, as `sha256sum` does.
pub(super) fn sums(members: &[ArchiveMember], runbook: Option<PlainFacts>) -> String {
    let members = members
        .iter()
        .map(|member| (member.manifest.plain.sha256, member.path.as_str()));
    let runbook = runbook.map(|facts| (facts.sha256, RUNBOOK_NAME));
    let lines = runbook.into_iter().chain(members);
    lines
        .map(|(sha256, path)| format!("{sha256}  {path}\n"))
        .collect()
}

/// A writer that hashes the bytes written through it.
struct Hashing<W> {
    out: W,
    hasher: Hasher,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A reader that hashes the bytes read through it and keeps the error that ended it.
struct Measured<R> {
    inner: R,
    hasher: Hasher,
    broken: Option<io::Error>,
}

impl<R: Read> Read for Measured<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(out) {
            Ok(count) => {
                self.hasher.update(&out[..count]);
                Ok(count)
            }
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => Err(cause),
            Err(cause) => {
                let copy = io::Error::new(cause.kind(), cause.to_string());
                self.broken = Some(cause);
                Err(copy)
            }
        }
    }
}
