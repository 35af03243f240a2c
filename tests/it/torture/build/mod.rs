//! Builds one database out of everything that backup tools get wrong, feature by feature.

mod keys;
mod names;
mod schema;
mod tables;
mod values;
mod virtuals;

use std::path::Path;

use rusqlite::Connection;

/// Tables whose content cannot be read back, by any tool.
pub(crate) const CONTENTLESS: &[&str] = &["fts_contentless"];

/// A test that builds everything asserts at least this many features.
pub(crate) const LEAST_FEATURES: usize = 100;

/// Where a feature can live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fits {
    /// In any SQLite database, and in D1 with foreign keys on.
    Anywhere,
    /// Only in SQLite: D1 refuses it, or it breaks a foreign key.
    OnlySqlite,
    /// In any SQLite database, but it takes megabytes.
    Heavy,
}

/// One thing that a restore must bring back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Feature {
    pub(crate) name: &'static str,
    pub(crate) fits: Fits,
    make: fn(&Connection) -> rusqlite::Result<()>,
}

const fn anywhere(name: &'static str, make: Make) -> Feature {
    Feature {
        name,
        fits: Fits::Anywhere,
        make,
    }
}

const fn only_sqlite(name: &'static str, make: Make) -> Feature {
    Feature {
        name,
        fits: Fits::OnlySqlite,
        make,
    }
}

const fn heavy(name: &'static str, make: Make) -> Feature {
    Feature {
        name,
        fits: Fits::Heavy,
        make,
    }
}

type Make = fn(&Connection) -> rusqlite::Result<()>;

/// Creates a database with every feature at `path`; returns their names.
pub(crate) fn build(path: &Path) -> Vec<&'static str> {
    build_some(path, |_| true)
}

/// Creates a database that D1 and a shell with foreign keys on must take too.
pub(crate) fn build_for_d1(path: &Path) -> Vec<&'static str> {
    build_some(path, |feature| feature.fits != Fits::OnlySqlite)
}

/// Creates a database with the features that `wanted` picks, in a fixed order; returns their names.
pub(crate) fn build_some(path: &Path, wanted: impl Fn(&Feature) -> bool) -> Vec<&'static str> {
    let db = create(path, "UTF-8");
    let groups = [
        values::FEATURES,
        names::FEATURES,
        tables::FEATURES,
        keys::FEATURES,
        schema::FEATURES,
        virtuals::FEATURES,
    ];
    let features: Vec<_> = groups.concat().into_iter().filter(wanted).collect();
    db.execute_batch("BEGIN").unwrap();
    for feature in &features {
        (feature.make)(&db).unwrap_or_else(|error| panic!("feature `{}`: {error}", feature.name));
    }
    db.execute_batch("COMMIT").unwrap();
    features.iter().map(|feature| feature.name).collect()
}

/// Creates a small database of UTF-16 text; its bytes are UTF-16 in the file, and its encoding is a setting.
pub(crate) fn build_utf16(path: &Path) {
    let db = create(path, "UTF-16le");
    db.execute_batch(
        "CREATE TABLE texts(id INTEGER PRIMARY KEY, t TEXT NOT NULL);
         INSERT INTO texts(t) VALUES ('plain'), (''), ('grün 🦀'), ('a'||char(0)||'b'), (char(13, 10));
         CREATE INDEX by_text ON texts(t COLLATE NOCASE);",
    )
    .unwrap();
}

/// Creates a small database whose schema was written with CRLF line ends. The stock shell reads them as LF, so only
/// a restore through the library brings this schema back byte for byte.
pub(crate) fn build_crlf_schema(path: &Path) {
    let db = create(path, "UTF-8");
    db.execute_batch(
        "CREATE TABLE windows(\r\n  id INTEGER PRIMARY KEY, -- the key\r\n  t TEXT\r\n);\r\n\
         INSERT INTO windows(t) VALUES ('one'), ('two');\r\n\
         CREATE VIEW window_view AS\r\n  SELECT t\r\n  FROM windows;\r\n",
    )
    .unwrap();
}

/// Creates a small database with a view whose text ends inside a `/*` comment, which SQLite allows. No SQL brings
/// that text back as it was: whatever follows is swallowed, so a dump must close the comment.
pub(crate) fn build_open_comment(path: &Path) {
    let db = create(path, "UTF-8");
    for sql in [
        "CREATE TABLE opened(a)",
        "INSERT INTO opened VALUES (1), (2)",
        "CREATE VIEW a_opened AS SELECT a FROM opened /* closed */ /* never; closed",
        "CREATE VIEW b_after AS SELECT a /* here */ FROM opened",
    ] {
        db.execute(sql, []).unwrap();
    }
}

fn create(path: &Path, encoding: &str) -> Connection {
    assert!(!path.exists(), "{} exists already", path.display());
    let db = Connection::open(path).unwrap();
    db.execute_batch(&format!(
        "PRAGMA encoding='{encoding}'; PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF; PRAGMA foreign_keys=OFF"
    ))
    .unwrap();
    db
}
