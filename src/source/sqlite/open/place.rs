//! Resolves the file that a configured name leads to, and detects its changes. Invariant: a path is resolved once;
//! every log is searched for beside the file that SQLite opens, never beside a link to it.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::Connection;

use super::not_readable;
use super::safe_close::SafeFile;
use crate::source::SourceError;
use crate::source::sqlite::{SqliteSource, shown};

/// Time after which a change gets another time stamp: file systems record times in steps of up to 10 ms, and two
/// changes within one step look like one.
const CLOCK_STEP: Duration = Duration::from_millis(20);

/// Number of steps after which a file without a pause of one step counts as constantly written to.
const STEPS: u32 = 50;

const MAGIC: &[u8] = b"SQLite format 3\0";

/// The file that is read.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Its absolute path without links: the one beside which SQLite keeps the logs.
    pub(super) file: PathBuf,
    pub(super) identity: Identity,
}

/// Distinguishes a file from another one that took its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) inode: u64,
    /// Time of creation: inode numbers are reused after a file is gone, and then this differs.
    born: Option<SystemTime>,
}

impl From<&Metadata> for Identity {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            born: metadata.created().ok(),
        }
    }
}

impl Place {
    /// Resolves the configured name, and refuses a file that is not a database.
    pub(super) fn find(source: &SqliteSource) -> Result<Self, SourceError> {
        let not_readable = |error: io::Error| not_readable(source, &error);
        let file = fs::canonicalize(&source.path).map_err(not_readable)?;
        let metadata = fs::metadata(&file).map_err(not_readable)?;
        let place = Self {
            file,
            identity: Identity::from(&metadata),
        };
        place.refuse_what_is_no_database(source, &metadata)?;
        Ok(place)
    }

    /// Checks that SQLite opened this very path: it resolves links itself.
    pub(super) fn check_opened(
        &self,
        source: &SqliteSource,
        connection: &Connection,
    ) -> Result<(), SourceError> {
        let sql = "SELECT file FROM pragma_database_list WHERE name = 'main'";
        let opened = connection.query_row(sql, [], |row| {
            Ok(row.get_ref(0)?.as_bytes().unwrap_or_default().to_owned())
        });
        let opened = PathBuf::from(OsString::from_vec(
            opened.map_err(|error| source.told(error))?,
        ));
        if opened == self.file {
            return Ok(());
        }
        Err(SourceError::Unavailable {
            what: source.what(),
            why: format!(
                "it leads to {}, but SQLite opened {}",
                shown(&self.file),
                shown(&opened)
            ),
            retryable: true,
        })
    }

    /// True if the header states WAL mode.
    pub(super) fn is_wal(&self, source: &SqliteSource) -> Result<bool, SourceError> {
        let header = self.header(source)?;
        // Bytes 18 and 19 are the write and read version; 2 is WAL (https://sqlite.org/fileformat2.html).
        Ok(header
            .get(18..20)
            .is_some_and(|versions| versions.contains(&2)))
    }

    /// Page size in the header, in bytes.
    pub(super) fn page_bytes(&self, source: &SqliteSource) -> Result<u32, SourceError> {
        match self.header(source)?.get(16..18) {
            Some([0, 1]) => Ok(65536),
            Some(&[high, low]) => Ok(u32::from(high) << 8 | u32::from(low)),
            _ => Ok(0),
        }
    }

    fn header(&self, source: &SqliteSource) -> Result<Vec<u8>, SourceError> {
        let read = || {
            let mut header = Vec::with_capacity(100);
            let file = SafeFile::open(&self.file, self.identity)?;
            (&*file).take(100).read_to_end(&mut header)?;
            Ok(header)
        };
        read().map_err(|error| not_readable(source, &error))
    }

    fn refuse_what_is_no_database(
        &self,
        source: &SqliteSource,
        metadata: &Metadata,
    ) -> Result<(), SourceError> {
        let refuse = |why: &str, hint| {
            Err(SourceError::NotADatabase {
                what: source.what(),
                why: why.to_owned(),
                hint,
            })
        };
        const WRONG_PATH: &str = "correct the path of this database in patina.toml";
        if !metadata.is_file() {
            return refuse("it is not a regular file", WRONG_PATH);
        }
        if metadata.len() == 0 {
            return refuse(
                "the file is empty (0 bytes)",
                "a program that never wrote, or a disk that was full, leaves such a file; earlier copies are kept",
            );
        }
        if !self.header(source)?.starts_with(MAGIC) {
            return refuse(
                "it does not begin with `SQLite format 3`",
                "check the path; an encrypted database is read through the program that encrypts it",
            );
        }
        Ok(())
    }
}

/// Properties that change when a database is written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    file: Look,
    header: Vec<u8>,
    wal: Option<Look>,
    journal: Option<Look>,
}

/// Length and modification time of a file.
#[derive(Debug, PartialEq, Eq)]
struct Look {
    size_bytes: u64,
    modified: (i64, i64),
}

impl From<Metadata> for Look {
    fn from(metadata: Metadata) -> Self {
        Self {
            size_bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl Stamp {
    pub(super) fn of(source: &SqliteSource, place: &Place) -> Result<Self, SourceError> {
        let not_readable = |error: io::Error| not_readable(source, &error);
        let look = |suffix| fs::metadata(beside(&place.file, suffix)).map(Look::from);
        Ok(Self {
            file: look("").map_err(not_readable)?,
            header: place.header(source)?,
            wal: look("-wal").ok(),
            journal: look("-journal").ok(),
        })
    }

    /// Returns a stamp that is old enough for every later change to give a different one.
    pub(super) fn settled(source: &SqliteSource, place: &Place) -> Result<Self, SourceError> {
        let mut before = Self::of(source, place)?;
        for _ in 0..STEPS {
            std::thread::sleep(CLOCK_STEP);
            let now = Self::of(source, place)?;
            if now == before {
                return Ok(now);
            }
            before = now;
        }
        Err(SourceError::Changed {
            what: source.what(),
            how: "was written to again and again",
        })
    }
}

/// Returns the path of a file that SQLite keeps beside a database.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
