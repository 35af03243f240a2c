//! Makes a database for a seed: a few pieces of every kind that SQLite allows, with rows, and the SQL that made it.

mod edits;
mod full_text;
mod indexes;
mod lookalikes;
mod names;
mod older_full_text;
mod programs;
mod sequences;
mod spatial;
mod statistics;
mod tables;
mod values;

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use self::names::Names;
use super::program;
use crate::torture::Dice;

/// A database under construction.
pub(super) struct Build {
    db: Connection,
    dice: Dice,
    names: Names,
    /// Everything that was executed, in order.
    log: Vec<String>,
    /// What is done once everything else is written: statistics, changes of `sqlite_sequence`.
    late: Vec<String>,
    /// Changes of `sqlite_schema`, done last.
    edits: Vec<String>,
    encoding: &'static str,
    /// Whether only what SQL text brings back as a rule goes in: one piece of another kind, and a copy is an image.
    is_plain: bool,
    /// Tables that others may refer to, index or look like.
    tables: Vec<tables::Table>,
}

/// How a database came about.
pub(super) struct Recipe {
    /// The kinds of its pieces.
    pub(super) kinds: Vec<&'static str>,
    /// The statements that built it.
    pub(super) sql: String,
}

pub(super) type Piece = fn(&mut Build);

/// Every kind of piece, how often it is taken, and whether SQL text brings it back as a rule.
pub(super) const PIECES: &[(&str, usize, bool, Piece)] = &[
    ("table", 20, true, tables::plain),
    ("keys", 4, true, tables::foreign_keys),
    ("altered", 4, true, tables::altered),
    ("wide", 1, true, tables::wide),
    ("written schema", 5, false, tables::commented),
    ("sequence", 6, true, sequences::odd),
    ("fts5", 10, true, full_text::own),
    ("fts5 external", 7, true, full_text::external),
    ("fts5 contentless", 5, false, full_text::contentless),
    ("fts4", 8, true, older_full_text::own),
    ("fts4 elsewhere", 6, false, older_full_text::elsewhere),
    ("rtree", 7, true, spatial::rtree),
    ("lookalike", 8, true, lookalikes::tables),
    ("shadow index", 3, false, lookalikes::indexed_shadow),
    ("sqlite-like", 3, false, lookalikes::near_sqlite),
    ("broken rows", 6, false, edits::broken_rows),
    ("edited text", 6, false, edits::texts),
    ("function", 3, false, programs::function),
    ("collation", 4, false, programs::collation),
    ("tokenizer", 2, false, programs::tokenizer),
    ("module", 2, false, programs::module),
    ("statistics", 6, true, statistics::analyzed),
];

/// Creates the database for `seed` at `path`, in the empty folder `work`.
pub(super) fn generate(path: &Path, work: &Path, seed: u64) -> Recipe {
    let building = work.join("building.db");
    let mut build = Build::begin(&building, seed);
    let mut kinds = Vec::new();
    for _ in 0..1 + build.dice.below(4) {
        let (kind, piece) = build.pick_piece();
        if build.add(kind, piece) {
            kinds.push(kind);
        }
    }
    let sql = build.finish();
    move_all(&building, path);
    Recipe { kinds, sql }
}

impl Build {
    fn begin(path: &Path, seed: u64) -> Self {
        let db = Connection::open(path).unwrap();
        program::register(&db).unwrap();
        let mut dice = Dice::new(seed);
        let mut build = Self {
            db,
            is_plain: dice.chance(50),
            dice,
            names: Names::default(),
            log: Vec::new(),
            late: Vec::new(),
            edits: Vec::new(),
            encoding: "UTF-8",
            tables: Vec::new(),
        };
        build.settings();
        build
    }

    /// The settings of the file, which have to come first.
    fn settings(&mut self) {
        self.run("PRAGMA foreign_keys=OFF");
        self.run("PRAGMA synchronous=OFF");
        if self.dice.chance(25) {
            let size = self
                .dice
                .pick(&[512, 1024, 2048, 8192, 16384, 32768, 65536]);
            self.run(&format!("PRAGMA page_size={size}"));
        }
        if self.dice.chance(20) {
            self.encoding = self.dice.pick(&["UTF-16le", "UTF-16be"]);
            self.run(&format!("PRAGMA encoding='{}'", self.encoding));
        }
        if self.dice.chance(20) {
            let mode = self.dice.pick(&[1, 2]);
            self.run(&format!("PRAGMA auto_vacuum={mode}"));
        }
        if self.dice.chance(12) {
            self.run("PRAGMA journal_mode=WAL");
            // What was written last then lies in the log alone.
            if self.dice.chance(60) {
                let option = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
                self.db.set_db_config(option, true).unwrap();
            }
        } else {
            self.run("PRAGMA journal_mode=MEMORY");
        }
        for setting in ["user_version", "application_id"] {
            if self.dice.chance(25) {
                let value = self.dice.pick(&[1, 7, -1, i32::MAX, i32::MIN, 0x1020_3040]);
                self.run(&format!("PRAGMA {setting}={value}"));
            }
        }
    }

    /// Adds one piece, or nothing where SQLite cannot write what it made.
    fn add(&mut self, kind: &str, piece: Piece) -> bool {
        let marks = (self.log.len(), self.late.len(), self.edits.len());
        self.log.push(format!("-- {kind}\nSELECT 1"));
        self.run("BEGIN");
        piece(self);
        if self.attempt("COMMIT") {
            return true;
        }
        self.roll_back();
        self.log.truncate(marks.0);
        self.late.truncate(marks.1);
        self.edits.truncate(marks.2);
        false
    }

    fn pick_piece(&mut self) -> (&'static str, Piece) {
        let is_plain = self.is_plain;
        let fitting = || PIECES.iter().filter(move |piece| piece.2 || !is_plain);
        let mut at = self.dice.below(fitting().map(|piece| piece.1).sum());
        for (kind, weight, _, piece) in fitting() {
            if at < *weight {
                return (kind, *piece);
            }
            at -= weight;
        }
        unreachable!("weights add up")
    }

    /// Does what has to come last, and gives the statements.
    fn finish(mut self) -> String {
        for sql in std::mem::take(&mut self.late) {
            self.attempt(&sql);
        }
        for sql in std::mem::take(&mut self.edits) {
            self.edit(&sql);
        }
        let log = self.log.join(";\n");
        drop(self.db);
        log
    }

    /// Changes `sqlite_schema`, unless SQLite could not read it any more.
    fn edit(&mut self, sql: &str) {
        let mark = self.log.len();
        self.run("PRAGMA writable_schema=ON");
        self.run("BEGIN");
        self.run(sql);
        self.run("PRAGMA writable_schema=RESET");
        if self.attempt("SELECT count(*) FROM sqlite_schema") {
            return self.run("COMMIT");
        }
        self.roll_back();
        self.log.truncate(mark);
    }

    /// SQLite did so already where it could not write.
    fn roll_back(&self) {
        let _ = self.db.execute_batch("ROLLBACK");
    }

    /// Executes what must succeed.
    fn run(&mut self, sql: &str) {
        let outcome = self.execute(sql);
        outcome.unwrap_or_else(|error| {
            panic!("{error}: {sql}\nafter\n{}", self.log.join(";\n"));
        });
    }

    /// Executes what SQLite may refuse, and says whether it did not.
    fn attempt(&mut self, sql: &str) -> bool {
        self.execute(sql).is_ok()
    }

    fn execute(&mut self, sql: &str) -> rusqlite::Result<()> {
        let mut statement = self.db.prepare(sql)?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        drop(rows);
        drop(statement);
        self.log.push(sql.to_owned());
        Ok(())
    }

    /// A name that no object has yet, in double quotes.
    fn name(&mut self) -> String {
        quoted(&self.bare_name())
    }

    /// A name that no object has yet: none that was given out, and none that a module gave to a shadow table.
    fn bare_name(&mut self) -> String {
        loop {
            let name = self.names.next(&mut self.dice);
            let sql = "SELECT 1 FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE";
            if !self
                .db
                .prepare_cached(sql)
                .unwrap()
                .exists([&name])
                .unwrap()
            {
                return name;
            }
        }
    }

    fn value(&mut self) -> String {
        values::any(&mut self.dice, self.encoding)
    }

    /// A few words that a full-text table finds.
    fn prose(&mut self) -> String {
        values::prose(&mut self.dice)
    }

    fn schema_edit(&mut self, name: &str, change: &str) {
        let name = values::text(name);
        let sql = format!("UPDATE sqlite_schema SET sql = {change} WHERE name = {name}");
        self.edits.push(sql);
    }
}

/// A name in double quotes.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Moves a database and its log; both are needed where the log was not folded in.
fn move_all(from: &Path, to: &Path) {
    fs::rename(from, to).unwrap();
    let log = |path: &Path| {
        let mut name = path.as_os_str().to_owned();
        name.push("-wal");
        std::path::PathBuf::from(name)
    };
    if log(from).exists() {
        fs::rename(log(from), log(to)).unwrap();
    }
    let _ = fs::remove_file(from.with_extension("db-shm"));
}
