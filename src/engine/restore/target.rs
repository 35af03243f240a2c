//! Puts a finished database in the place of a file. Invariant: the place holds what it held, or all of the new one,
//! at every instant; what it held is kept beside it.
//!
//! The old database stays locked from the first look to the end, so nothing is written to it that nobody would see
//! again. Its write-ahead log is folded into it before the exchange: beside another database it would destroy that.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tempfile::TempPath;

use super::error::{RestoreError, shown};
use super::workshop::Workshop;

/// How long a lock of another process is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a child process may take from its start to its own program.
const CHILD_START: Duration = Duration::from_millis(50);

/// Pages that a safety copy takes at a time.
const PAGES_PER_STEP: i32 = 4096;

/// The files that SQLite keeps beside a database.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Whether what is at a target may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// Never.
    Never,
    /// After a safety copy.
    AfterCopy,
}

/// A place for a database, and what is there now.
pub struct Target {
    path: PathBuf,
    standing: Standing,
}

/// What is at a place.
enum Standing {
    Absent,
    /// A database that nobody else can use as long as this lives.
    Held(Held),
    /// A file that SQLite cannot read.
    Unreadable,
}

/// A database whose only user is this connection.
struct Held {
    connection: Connection,
    /// Whether it works with a write-ahead log.
    is_wal: bool,
}

impl Target {
    /// Looks at the place and locks what is there.
    ///
    /// # Errors
    /// Where somebody uses it, it is no file, or its folder is not there.
    pub fn claim(path: &Path) -> Result<Self, RestoreError> {
        let path = match fs::canonicalize(path) {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(RestoreError::target(path, &error)),
        };
        let standing = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Standing::Absent,
            Err(error) => return Err(RestoreError::target(&path, &error)),
            Ok(metadata) if !metadata.is_file() => {
                return Err(RestoreError::Target {
                    what: shown(&path),
                    why: "it is not a regular file".to_owned(),
                });
            }
            Ok(_) => {
                refuse_open(&path)?;
                hold(&path)?
            }
        };
        Ok(Self { path, standing })
    }

    /// Where it is, links resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether something is there: a file, or what SQLite left beside one that is gone.
    pub fn is_taken(&self) -> bool {
        match self.standing {
            Standing::Absent => self.leftovers().next().is_some(),
            Standing::Held(_) | Standing::Unreadable => true,
        }
    }

    /// Refuses a place that is taken, unless it may be replaced.
    pub(super) fn permit(&self, overwrite: Overwrite) -> Result<(), RestoreError> {
        if overwrite == Overwrite::AfterCopy || !self.is_taken() {
            return Ok(());
        }
        let what = match self.standing {
            Standing::Absent => format!("a log of an earlier database at {}", shown(&self.path)),
            _ => shown(&self.path),
        };
        Err(RestoreError::Exists { what })
    }

    /// The connection that holds the database there; `None` where there is none.
    pub(super) fn held(&self) -> Option<&Connection> {
        match &self.standing {
            Standing::Held(held) => Some(&held.connection),
            Standing::Absent | Standing::Unreadable => None,
        }
    }

    /// A private folder on the same file system.
    pub(super) fn workshop(&self) -> Result<Workshop, RestoreError> {
        let name = file_name(&self.path);
        let opened = Workshop::open(parent(&self.path), &format!(".{name}.restoring-"));
        opened.map_err(|error| RestoreError::target(&self.path, &error))
    }

    /// Keeps what is there under another name beside it. `None`: nothing was there.
    pub(super) fn keep(
        &self,
        workshop: &Workshop,
        now: DateTime<Utc>,
    ) -> Result<Option<PathBuf>, RestoreError> {
        let told = |error: io::Error| RestoreError::target(&self.path, &error);
        let to = self.free_name(now);
        match &self.standing {
            Standing::Absent => {
                for from in self.leftovers() {
                    let suffix =
                        from.to_string_lossy()[self.path.to_string_lossy().len()..].to_owned();
                    fs::rename(&from, with_suffix(&to, &suffix)).map_err(told)?;
                }
                return Ok(None);
            }
            Standing::Held(held) => {
                let copy = workshop.path("safety.db");
                // An empty database has no page to copy, and is a file all the same.
                File::create_new(&copy).map_err(told)?;
                copy_database(&held.connection, &copy)
                    .map_err(|error| RestoreError::sqlite(&self.path, &error))?;
                self.put_aside(&copy, &to).map_err(told)?;
            }
            Standing::Unreadable => {
                for suffix in [""].iter().chain(&BESIDE) {
                    let from = with_suffix(&self.path, suffix);
                    if from.exists() {
                        let copy = workshop.path("safety");
                        fs::copy(&from, &copy).map_err(told)?;
                        self.put_aside(&copy, &with_suffix(&to, suffix))
                            .map_err(told)?;
                    }
                }
            }
        }
        sync_folder(&to).map_err(told)?;
        Ok(Some(to))
    }

    /// Exchanges the file for the database at `new`, durably.
    pub(super) fn put(self, new: &Path) -> Result<(), RestoreError> {
        let told = |error: io::Error| RestoreError::target(&self.path, &error);
        let sqlite = |error: rusqlite::Error| RestoreError::sqlite(&self.path, &error);
        match &self.standing {
            Standing::Absent => {
                sync(new).map_err(told)?;
                let new = TempPath::try_from_path(new).map_err(told)?;
                new.persist_noclobber(&self.path)
                    .map_err(|error| told(error.error))?;
            }
            Standing::Held(held) => {
                refuse_open(&self.path)?;
                fold(&held.connection, &self.path)?;
                if held.is_wal {
                    keep_wal(new).map_err(sqlite)?;
                }
                self.exchange(new).map_err(told)?;
            }
            Standing::Unreadable => {
                for leftover in self.leftovers() {
                    fs::remove_file(leftover).map_err(told)?;
                }
                self.exchange(new).map_err(told)?;
            }
        }
        sync_folder(&self.path).map_err(told)
    }

    fn exchange(&self, new: &Path) -> io::Result<()> {
        let old = fs::metadata(&self.path)?;
        fs::set_permissions(new, Permissions::from_mode(old.mode() & 0o7777))?;
        // Only root may give a file away; who restores as the owner has nothing to give.
        let _ = chown(new, Some(old.uid()), Some(old.gid()));
        sync(new)?;
        fs::rename(new, &self.path)
    }

    fn put_aside(&self, copy: &Path, to: &Path) -> io::Result<()> {
        let old = fs::metadata(&self.path)?;
        fs::set_permissions(copy, Permissions::from_mode(old.mode() & 0o7777))?;
        sync(copy)?;
        let copy = TempPath::try_from_path(copy)?;
        copy.persist_noclobber(to).map_err(|error| error.error)
    }

    /// A name that nothing has, with the time in it.
    fn free_name(&self, now: DateTime<Utc>) -> PathBuf {
        let plain = with_suffix(
            &self.path,
            &format!(".before-{}", now.format("%Y%m%dT%H%M%SZ")),
        );
        let numbered = (1..).map(|n| with_suffix(&plain, &format!("-{n}")));
        std::iter::once(plain.clone())
            .chain(numbered)
            .find(|name| !name.exists())
            .expect("there are more numbers than files")
    }

    fn leftovers(&self) -> impl Iterator<Item = PathBuf> {
        let path = self.path.clone();
        let beside = BESIDE.iter().map(move |suffix| with_suffix(&path, suffix));
        beside.filter(|path| path.exists())
    }
}

/// Copies a whole database, its log included, into a new file at `to`.
pub(super) fn copy_database(from: &Connection, to: &Path) -> rusqlite::Result<()> {
    let mut copy = Connection::open(to)?;
    copy.execute_batch("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;")?;
    let backup = Backup::new(from, &mut copy)?;
    // The lock is held, so no step meets a change or a lock.
    while backup.step(PAGES_PER_STEP)? != StepResult::Done {}
    Ok(())
}

/// Makes the file hold all that its log holds, and removes the log.
pub(super) fn fold(connection: &Connection, path: &Path) -> Result<(), RestoreError> {
    let mode = journal_mode(connection, Some("DELETE"));
    let mode = mode.map_err(|error| RestoreError::sqlite(path, &error))?;
    if mode == "delete" {
        return Ok(());
    }
    Err(RestoreError::InUse {
        what: shown(path),
        by: format!("its journal mode stays `{mode}`"),
    })
}

fn journal_mode(connection: &Connection, set: Option<&str>) -> rusqlite::Result<String> {
    let set = set.map_or(String::new(), |mode| format!("={mode}"));
    connection.query_row(&format!("PRAGMA journal_mode{set}"), [], |row| row.get(0))
}

/// A program that wants the log finds it switched on, as it was.
fn keep_wal(new: &Path) -> rusqlite::Result<()> {
    let connection = Connection::open(new)?;
    journal_mode(&connection, Some("WAL"))?;
    connection.close().map_err(|(_, error)| error)
}

fn hold(path: &Path) -> Result<Standing, RestoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> rusqlite::Result<Held> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.execute_batch(
            "PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; SELECT count(*) FROM main.sqlite_schema; COMMIT;",
        )?;
        Ok(Held {
            is_wal: journal_mode(&connection, None)? == "wal",
            connection,
        })
    };
    match open() {
        Ok(held) => Ok(Standing::Held(held)),
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Ok(Standing::Unreadable),
            _ => Err(RestoreError::sqlite(path, &error)),
        },
    }
}

/// A lock shows who reads or writes; who merely has the file open shows only here. A child that another thread of this
/// program is starting has all its files for a moment, so the same process must have it open at a second look.
fn refuse_open(path: &Path) -> Result<(), RestoreError> {
    refuse_held(path, || holder(path))
}

/// The same, by what `look` finds each time.
fn refuse_held(
    path: &Path,
    mut look: impl FnMut() -> Option<(String, String)>,
) -> Result<(), RestoreError> {
    let mut before = None;
    loop {
        let holder = look();
        let Some((id, name)) = &holder else {
            return Ok(());
        };
        if before == holder {
            return Err(RestoreError::InUse {
                what: shown(path),
                by: format!("process {id} (`{}`) has it open", name.trim()),
            });
        }
        before = holder;
        std::thread::sleep(CHILD_START);
    }
}

/// Id and name of another process that has the file open. Where the system does not tell, nobody is found.
fn holder(path: &Path) -> Option<(String, String)> {
    let metadata = fs::metadata(path).ok()?;
    let wanted = (metadata.dev(), metadata.ino());
    let processes = fs::read_dir("/proc").ok()?;
    let own = std::process::id().to_string();
    for process in processes.flatten() {
        let id = process.file_name().to_string_lossy().into_owned();
        if id == own || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let Ok(files) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let is_it = |file: &fs::DirEntry| {
            fs::metadata(file.path()).is_ok_and(|open| (open.dev(), open.ino()) == wanted)
        };
        if files.flatten().any(|file| is_it(&file)) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some((id, name));
        }
    }
    None
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(parent(path))?.sync_all()
}

/// The folder a path is in.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or("database".to_owned(), |name| {
        name.to_string_lossy().into_owned()
    })
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A process that has the file open until its input ends.
    fn program_with(path: &Path) -> Child {
        let script = "exec 3<\"$0\"; echo open; read line";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = child.stdout.as_mut().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        assert_eq!(line, "open\n");
        child
    }

    fn end(mut child: Child) {
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn who_has_a_target_open_at_one_look_alone_does_not_keep_it_from_being_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("target.db");
        fs::write(&path, "").unwrap();
        let stays = program_with(&path);
        let error = refuse_open(&path).unwrap_err().to_string();
        assert!(
            error.contains(&format!("process {} ", stays.id())),
            "{error}"
        );
        end(stays);

        // Two that go, as children do between their start and their own program, and are seen once each.
        let mut goes = vec![program_with(&path), program_with(&path)];
        let mut seen = Vec::new();
        let looked = refuse_held(&path, || {
            let found = holder(&path);
            if let Some((id, _)) = &found {
                let at = goes.iter().position(|child| child.id().to_string() == *id);
                end(goes.remove(at.unwrap()));
                seen.push(id.clone());
            }
            found
        });
        assert!(looked.is_ok(), "{looked:?}");
        assert_eq!(seen.len(), 2, "{seen:?}");
    }
}
