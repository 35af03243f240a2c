//! Runs the real binary the way a person or a script does.

mod config;
pub(crate) mod demo;
mod discover;
pub(crate) mod hostile;
mod night;
mod online;
mod others;
mod order;
mod reading;
mod storages;
mod trouble;
mod week;
mod worst;

use std::path::{Path, PathBuf};
use std::time::Duration;

use assert_cmd::Command;
use serde_json::Value;

/// Far above what any of these commands takes.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A folder in which patina is run.
struct Place {
    folder: tempfile::TempDir,
}

/// What a run did.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    /// A place with these SQLite databases and a configuration that ends in `more`.
    fn with(names: &[&str], more: &str) -> Self {
        let place = Self::new();
        let mut config = String::new();
        for name in names {
            small_database(&place.path(&format!("{name}.db")), 40);
            config.push_str(&format!(
                "[[database]]\nname = \"{name}\"\nsqlite = \"{name}.db\"\n"
            ));
        }
        place.write("patina.toml", &format!("{config}{more}"));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Writes what nobody else may read.
    fn write_private(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        self.write(name, text);
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(self.path(name), mode).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn run(&self, args: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patina"));
        for name in ["PATINA_CONFIG", "RUST_LOG", "CARGO", "NO_COLOR"] {
            command.env_remove(name);
        }
        command.current_dir(self.folder.path()).args(args);
        let output = command.timeout(TIMEOUT).output().unwrap();
        let ran = Ran {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!ran.err.contains("panicked"), "{args:?}: {ran:?}");
        ran
    }

    /// Runs what must end well.
    #[track_caller]
    fn ok(&self, args: &[&str]) -> Ran {
        self.ends(0, args)
    }

    #[track_caller]
    fn ends(&self, code: i32, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(code), "{args:?}: {ran:?}");
        ran
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        let ran = self.ok(&[&["--json"], args].concat());
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    /// Changes one byte of a file, so many before its end.
    fn flip(&self, name: &str, before_end: usize) {
        let mut bytes = std::fs::read(self.path(name)).unwrap();
        let at = bytes.len() - before_end;
        bytes[at] ^= 1;
        std::fs::write(self.path(name), bytes).unwrap();
    }

    /// The files below a folder but for the mark of a storage, sorted.
    fn files(&self, below: &str) -> Vec<PathBuf> {
        let mut files = self.all_files(below);
        let is_mark =
            |path: &str| path.contains("/.patina-storage-") || path.ends_with("/.patina-spool");
        files.retain(|path| !is_mark(&path.to_string_lossy()));
        files
    }

    fn all_files(&self, below: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.path(below)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => found.push(path),
                }
            }
        }
        found.sort();
        found
    }
}

impl Ran {
    #[track_caller]
    fn says(&self, text: &str) -> &Self {
        assert!(self.out.contains(text), "`{text}` is not in {self:?}");
        self
    }

    #[track_caller]
    fn complains(&self, text: &str) -> &Self {
        assert!(self.err.contains(text), "`{text}` is not in {self:?}");
        self
    }
}

/// A database with `rows` rows of some length.
fn small_database(path: &Path, rows: usize) {
    let mut db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
        .unwrap();
    let transaction = db.transaction().unwrap();
    for row in 0..rows {
        let text = format!("{row}: {}", "it's autumn 🍂 ".repeat(8));
        transaction
            .execute("INSERT INTO notes (text) VALUES (?)", [text])
            .unwrap();
    }
    transaction.commit().unwrap();
}

/// The key of the copy that `backup --json` reports first.
fn first_key(report: &Value) -> String {
    report["databases"][0]["key"].as_str().unwrap().to_owned()
}
