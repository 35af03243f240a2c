//! Reads the configuration and records what was read. Invariant: equal fingerprints mean that the same bytes were read
//! from the same places, so that nothing changed.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::Places;
use crate::app;
use crate::config::{
    Environment, Loaded, MOST_READ_BYTES, NotRead, Problems, System, read_regular, within,
};

/// A hash of every path that was read, its length and its bytes. It is kept only in memory: secrets are part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::daemon) struct Fingerprint(blake3::Hash);

/// Result of reading the configuration once.
pub(in crate::daemon) struct Reading {
    /// The configuration, or all its errors.
    pub(in crate::daemon) loaded: Result<Loaded, Problems>,
    /// Fingerprint of everything that was read for it.
    pub(in crate::daemon) fingerprint: Fingerprint,
    /// Places where a change of it is visible.
    pub(in crate::daemon) places: Places,
}

/// Reads the configuration at `path` with everything that belongs to it: includes, secrets, and each script with all
/// scripts beside it, which it may import.
///
/// # Errors
/// If a file system does not answer in time.
pub(in crate::daemon) fn read(path: &Path) -> Result<Reading, NotRead> {
    let path = path.to_owned();
    within(move || read_all(&path))
}

fn read_all(path: &Path) -> Reading {
    let recorder = Recorder::default();
    let loaded = app::load_in(path, &recorder);
    let inputs = match &loaded {
        Ok(loaded) => loaded.config.inputs(),
        Err(problems) => problems.inputs(),
    };
    recorder.read_scripts(inputs);
    let Notes { paths, hasher } = recorder.0.into_inner();
    Reading {
        loaded,
        fingerprint: Fingerprint(hasher.finalize()),
        places: Places::of(&paths),
    }
}

/// The system's environment, which records each access.
#[derive(Default)]
struct Recorder(RefCell<Notes>);

#[derive(Default)]
struct Notes {
    /// Every path whose change may change the result, absolute. `*` as the last component stands for any entry of that
    /// folder.
    paths: BTreeSet<PathBuf>,
    hasher: blake3::Hasher,
}

impl Recorder {
    /// Records an access to `path` and its result; lengths separate one record from the next.
    fn note(&self, path: &Path, kind: u8, found: &[u8]) {
        let mut notes = self.0.borrow_mut();
        let name = path.as_os_str().as_encoded_bytes();
        for part in [&[kind], name, found] {
            notes.hasher.update(&(part.len() as u64).to_le_bytes());
            notes.hasher.update(part);
        }
        self_or_absolute(path, &mut notes.paths);
    }

    /// Records the scripts: the configuration itself only checks that they exist.
    fn read_scripts(&self, inputs: &[PathBuf]) {
        let known = self.0.borrow().paths.clone();
        let mut folders = BTreeSet::new();
        for script in inputs.iter().filter(|input| is_script(input)) {
            folders.extend(script.parent().map(Path::to_owned));
            self.note_bytes(script);
        }
        for folder in folders {
            let Ok(mut beside) = self.list(&folder) else {
                continue;
            };
            beside.sort();
            for script in beside.iter().filter(|path| is_script(path)) {
                if !known.contains(script) {
                    self.note_bytes(script);
                }
            }
        }
    }

    fn note_bytes(&self, path: &Path) {
        match read_regular(path, MOST_READ_BYTES) {
            Ok(bytes) => self.note(path, b'r', &bytes),
            Err(error) => self.note(path, b'e', error.kind().to_string().as_bytes()),
        }
    }
}

fn self_or_absolute(path: &Path, paths: &mut BTreeSet<PathBuf>) {
    // Without a working directory, a relative path cannot be watched.
    paths.insert(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
}

fn is_script(path: &Path) -> bool {
    path.extension() == Some("rhai".as_ref())
}

impl Environment for Recorder {
    fn var(&self, name: &str) -> Option<String> {
        // A process's environment is not changed from outside.
        System.var(name)
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let read = System.read(path);
        match &read {
            Ok(text) => self.note(path, b'r', text.as_bytes()),
            Err(error) => self.note(path, b'e', error.kind().to_string().as_bytes()),
        }
        read
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        // The entries that matter are read, and recorded then.
        self_or_absolute(&folder.join("*"), &mut self.0.borrow_mut().paths);
        System.list(folder)
    }

    fn is_file(&self, path: &Path) -> bool {
        let found = System.is_file(path);
        self.note(path, b'f', &[u8::from(found)]);
        found
    }

    fn mode(&self, path: &Path) -> Option<u32> {
        let mode = System.mode(path);
        let bytes = mode.unwrap_or(u32::MAX).to_le_bytes();
        self.note(path, b'm', &bytes);
        mode
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const CONFIG: &str = "include = [\"conf.d/*.toml\"]\n[hooks]\nscripts = [\"s/a.rhai\"]\n\
                          [[storage]]\nname = \"nas\"\ndirectory = \"store\"\n\
                          [[database]]\nname = \"blog\"\nsqlite = \"blog.db\"\n";

    #[test]
    fn every_byte_that_counts_changes_the_fingerprint_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let at = |name: &str| root.join(name);
        for name in ["conf.d", "s"] {
            fs::create_dir(at(name)).unwrap();
        }
        let shop = "[[database]]\nname = \"shop\"\nsqlite = \"shop.db\"\n";
        fs::write(at("patina.toml"), CONFIG).unwrap();
        fs::write(at("s/a.rhai"), "import \"b\" as b;").unwrap();
        let mut last = read_all(&at("patina.toml"));
        assert!(last.loaded.is_ok());
        for (path, text) in [
            ("conf.d/a.toml", shop),
            ("conf.d/a.toml", "# nothing\n"),
            ("s/a.rhai", "import \"c\" as b;"),
            ("s/b.rhai", "fn b() {}"),
            ("patina.toml", "[mistake"),
        ] {
            fs::write(at("unrelated.toml"), text).unwrap();
            let same = read_all(&at("patina.toml"));
            assert_eq!(same.fingerprint, last.fingerprint, "before {path}");
            fs::write(at(path), text).unwrap();
            let new = read_all(&at("patina.toml"));
            assert_ne!(new.fingerprint, last.fingerprint, "{path}: {text}");
            last = new;
        }
        fs::write(at("patina.toml"), CONFIG).unwrap();
        fs::remove_file(at("conf.d/a.toml")).unwrap();
        let paths = read_all(&at("patina.toml")).places.ends;
        for name in ["patina.toml", "conf.d/*", "s/a.rhai", "s/b.rhai", "s/*"] {
            assert!(paths.contains(&at(name)), "{name} is not in {paths:?}");
        }
    }
}
