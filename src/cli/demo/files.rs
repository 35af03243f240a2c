//! Creates the demo's files. Invariant: a database is complete or does not exist, and an existing one is kept.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use rusqlite::Connection;

use super::dice::Dice;
use crate::engine::restore::Workshop;

use super::{accounts, content, work};

/// A function that fills an empty database.
pub(super) type Fill = fn(&Connection, &mut Dice) -> rusqlite::Result<()>;

/// Result for one database.
pub(super) struct Made {
    /// False if it existed already.
    pub(super) is_new: bool,
}

/// The databases by name, each with the function that fills it.
const DATABASES: [(&str, Fill); 6] = [
    ("groveauth", accounts::auth),
    ("scout-db", accounts::scout),
    ("grove-engine-db", content::engine),
    ("autumnsgrove-posts", content::posts),
    ("autumnsgrove-git-stats", work::git_stats),
    ("grove-domain-jobs", work::domain_jobs),
];

/// Creates the missing ones in `folder`.
pub(super) fn make_all(folder: &Path) -> anyhow::Result<Vec<Made>> {
    let numbered = DATABASES.iter().zip(1..);
    let made = numbered.map(|((name, fill), seed)| {
        let path = folder.join(format!("{name}.db"));
        let is_new = !path.exists();
        if is_new {
            make(&path, *fill, seed).with_context(|| path.display().to_string())?;
        }
        Ok(Made { is_new })
    });
    made.collect()
}

fn make(path: &Path, fill: Fill, seed: u64) -> anyhow::Result<()> {
    let workshop = Workshop::open(path.parent().unwrap_or(Path::new(".")), ".making-")?;
    let unfinished = workshop.path("new.db");
    let connection = Connection::open(&unfinished)?;
    connection.execute_batch("PRAGMA foreign_keys = ON; BEGIN")?;
    fill(&connection, &mut Dice::new(seed))?;
    connection.execute_batch("COMMIT")?;
    connection.close().map_err(|(_, error)| error)?;
    fs::rename(&unfinished, path)?;
    Ok(())
}
