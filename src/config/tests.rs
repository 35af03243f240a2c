//! Feeds the reader small files and holds its findings against what a person should see.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

/// Variables and files that exist only here.
#[derive(Default)]
struct Fake {
    vars: HashMap<&'static str, &'static str>,
    files: HashMap<PathBuf, &'static str>,
    mode: u32,
}

impl Environment for Fake {
    fn var(&self, name: &str) -> Option<String> {
        self.vars.get(name).map(|value| (*value).to_owned())
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let text = self.files.get(path).map(|text| (*text).to_owned());
        text.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let inside = self
            .files
            .keys()
            .filter(|path| path.parent() == Some(folder));
        Ok(inside.cloned().collect())
    }

    fn is_file(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    fn mode(&self, _: &Path) -> Option<u32> {
        Some(self.mode)
    }
}

fn read(text: &str, env: &Fake) -> Result<Loaded, Problems> {
    Config::from_text(text, "patina.toml", Path::new("/etc/patina"), env)
}

fn config(text: &str) -> Config {
    match read(text, &Fake::default()) {
        Ok(loaded) => loaded.config,
        Err(problems) => panic!("{problems}"),
    }
}

/// The findings of a text, one line each, after the file's name.
#[track_caller]
fn check(text: &str, env: &Fake, expected: &[&str]) {
    let problems = match read(text, env) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems,
    };
    let found = problems.short();
    let found: Vec<&str> = found
        .lines()
        .map(|line| line.strip_prefix("patina.toml:").unwrap_or(line))
        .collect();
    assert_eq!(found, expected);
}

const ONE: &str = "[[database]]\nname = \"blog\"\nsqlite = \"blog.db\"\n";

#[test]
fn one_database_is_a_whole_configuration() {
    let config = config(ONE);
    assert_eq!(config.agent().state, Path::new("/etc/patina/state"));
    assert_eq!(config.schedule().nightly.as_str(), "0 3 * * *");
    let storage = &config.storages()[0];
    let folder = PathBuf::from("/etc/patina/backups");
    assert_eq!(storage.kind, StorageKind::Directory(folder));
    let database = &config.databases()[0];
    let file = PathBuf::from("/etc/patina/blog.db");
    assert_eq!(database.source, SourceSpec::Sqlite(file));
    assert_eq!(database.export.timeout, Duration::from_secs(30));
    assert_eq!(config.retention().min_copies, 2);
    assert_eq!(config.http().listen.to_string(), "127.0.0.1:8787");
}
