//! Lists the methods to restore a database. Invariant: the best one for this database comes first, and a key always
//! denotes the same method, regardless of the others.

use super::command::{identifier, path, patina};
use super::copies::Known;
use super::{Home, Step, Way};
use crate::config::{Config, S3, StorageKind, WayIn};
use crate::quote::{code, is_plain, shell, toml};
use crate::types::{Compression, DatabaseName, EvidenceClass, Manifest, counted};

/// Number of tables counted after a restore, those with the most rows; the guide lists the rows of all.
const TABLES_COUNTED: usize = 3;

/// Longest name in a command: a longer one would hide what the command does.
const MOST_NAME_BYTES: usize = 200;

/// Retention of D1 Time Travel on a paid plan.
const TIME_TRAVEL: &str = "30 days";

/// Compatibility date for `wrangler.toml`, so that wrangler accepts the file and means this database.
const COMPATIBILITY_DATE: &str = "2025-10-01";

/// Warning in front of every method for a suspect copy.
const SUSPECT: &str = "The copy is SUSPECT: SQLite found the source damaged when it was made, and no healthy copy is left. \
    Restored, it is as damaged; `sqlite3 FILE .recover` saves what can be read.";

/// Returns all methods for this copy.
pub(super) fn all(
    config: &Config,
    home: &Home,
    database: &DatabaseName,
    copy: Option<&Known>,
) -> Vec<Way> {
    let mut ways = Vec::new();
    if let Some(copy) = copy {
        let about = About {
            config,
            home,
            database,
            copy,
        };
        match (home, copy.manifest.is_image()) {
            (Home::D1(id), false) => ways.extend([about.wrangler(id), about.patina_d1(id)]),
            (Home::D1(_), true) => ways.push(about.image_alone()),
            (Home::Sqlite(file), false) => {
                ways.extend([about.patina_file(file), about.shell(file)]);
            }
            (Home::Sqlite(file), true) => ways.extend([about.patina_file(file), about.image(file)]),
        }
        ways.push(match copy.manifest.is_image() {
            true => about.one_table_of_image(),
            false => about.one_table(),
        });
        ways.extend(about.storage());
        about.warn_of_suspect(&mut ways);
    }
    if let Home::D1(id) = home {
        let bookmark = copy.and_then(|copy| copy.manifest.source.bookmark.as_deref());
        let moment = copy.map(|copy| copy.manifest.started_at.as_str());
        ways.insert(
            ways.len().min(1),
            time_travel(config, database, id, bookmark, moment),
        );
    }
    ways
}

/// Key of a method in the JSON document. The first two are the specification's; each other one keeps its number, too,
/// so that clients find a method by its key regardless of the others.
#[derive(Debug, Clone, Copy)]
pub(super) enum WayKey<'a> {
    Wrangler,
    TimeTravel,
    Patina,
    Shell,
    Image,
    OneTable,
    /// An object in a storage, by the storage's name.
    Storage(&'a str),
}

impl WayKey<'_> {
    pub(super) fn text(self) -> String {
        match self {
            Self::Wrangler => "method1_wrangler".to_owned(),
            Self::TimeTravel => "method2_timetravel".to_owned(),
            Self::Patina => "method3_patina".to_owned(),
            Self::Shell => "method4_sqlite3".to_owned(),
            Self::Image => "method5_image".to_owned(),
            Self::OneTable => "method6_one_table".to_owned(),
            Self::Storage(name) => format!("method7_storage_{name}"),
        }
    }
}

pub(super) struct About<'a> {
    config: &'a Config,
    home: &'a Home,
    database: &'a DatabaseName,
    copy: &'a Known,
}

impl About<'_> {
    pub(super) fn manifest(&self) -> &Manifest {
        &self.copy.manifest
    }

    pub(super) fn database(&self) -> &DatabaseName {
        self.database
    }

    /// True if the source was damaged when the copy was made.
    pub(super) fn is_suspect(&self) -> bool {
        self.manifest().class == EvidenceClass::S
    }

    /// Adds a warning to every method that restores a damaged database.
    fn warn_of_suspect(&self, ways: &mut [Way]) {
        for way in ways.iter_mut().filter(|_| self.is_suspect()) {
            let warning = way.warning.take().unwrap_or_default();
            way.warning = Some(format!("{SUSPECT} {warning}").trim_end().to_owned());
        }
    }

    /// Returns `blog@2026-11-22`, or the key if that would name a later copy of the day.
    pub(super) fn address(&self) -> String {
        match self.manifest().key.kind() {
            crate::types::KeyKind::Daily { time: Some(_), .. } => self.manifest().key.to_string(),
            _ => format!("{}@{}", self.database, self.manifest().date),
        }
    }

    pub(super) fn dump(&self) -> String {
        let form = self.manifest().key.form().suffix();
        format!("{}-{}{form}", self.database, self.manifest().date)
    }

    pub(super) fn patina(&self) -> String {
        patina(self.config)
    }

    pub(super) fn download(&self) -> Vec<Step> {
        let (dump, date) = (self.dump(), self.manifest().date);
        let path = format!("/download/{date}/{}", self.database);
        let curl = |url: &str| {
            let url = shell(&format!("{url}{path}"));
            format!("curl -fsS -H \"X-Patina-Key: $PATINA_KEY\" -o {dump} {url}")
        };
        let mut steps = vec![
            Step::run(
                "Write the copy to a file, on the host of Patina",
                format!("{} cat {} > {dump}", self.patina(), self.address()),
            ),
            match self.config.http().way_in() {
                WayIn::Anywhere(url) => Step::run(
                    "Or download it, on any other host, with an API key in `PATINA_KEY`",
                    curl(&url),
                ),
                WayIn::ThisHost(url) => Step::run(
                    "Or download it on the host of Patina, with an API key in `PATINA_KEY`; `[http] public_url` would \
                     say how other hosts reach it",
                    curl(&url),
                ),
                WayIn::Unknown => Step::by_hand(format!(
                    "Or download `{path}` from the address that the daemon logged when it began to listen (`listen` takes \
                     any free port; `[http] public_url` would say an address that stays), with an API key in the header \
                     `X-Patina-Key`"
                )),
            },
            self.check_dump(),
        ];
        match self.manifest().is_image() {
            true => steps.push(Step::run(
                "Look at its beginning: it says `SQLite format 3`",
                format!("head -c 15 {dump}"),
            )),
            false => steps.extend([
                Step::run("Look at its beginning", format!("head -n 20 {dump}")),
                Step::run(
                    "Look at its end: the last line says that the backup is complete",
                    format!("tail -n 8 {dump}"),
                ),
            ]),
        }
        steps
    }

    fn check_dump(&self) -> Step {
        let sha256 = self.manifest().plain.sha256;
        Step::run(
            "Make sure that every byte is the one that was proven",
            format!("echo '{sha256}  {}' | sha256sum -c", self.dump()),
        )
    }

    /// Returns the tables with the most rows, and their row counts. Names unsuitable for a command line are only in the
    /// guide's list.
    pub(super) fn counted(&self) -> Vec<(&str, u64)> {
        let tables = self.manifest().evidence.tables.iter();
        let mut tables: Vec<_> = tables
            .filter(|table| table.omitted.is_none() && is_shown_in_commands(&table.name))
            .map(|table| (table.name.as_str(), table.rows))
            .collect();
        tables.sort_by_key(|(_, rows)| std::cmp::Reverse(*rows));
        tables.truncate(TABLES_COUNTED);
        tables
    }

    fn wrangler(&self, id: &str) -> Way {
        let name = self.database;
        let mut steps = self.download();
        steps.push(wrangler_file(self.config, name, id));
        steps.push(Step::run(
            "Restore",
            format!(
                "wrangler d1 execute {name} --remote --yes --file={}",
                self.dump()
            ),
        ));
        for (table, rows) in self.counted() {
            let sql = format!("SELECT count(*) FROM {}", identifier(table));
            steps.push(Step::run(
                format!("Verify: {}", counted(rows, "row")),
                format!(
                    "wrangler d1 execute {name} --remote --command={}",
                    shell(&sql)
                ),
            ));
        }
        steps.push(Step::run(
            violations(self.manifest()),
            format!("wrangler d1 execute {name} --remote --command='PRAGMA foreign_key_check'"),
        ));
        Way {
            key: WayKey::Wrangler.text(),
            name: "Wrangler CLI (Recommended)".to_owned(),
            steps,
            warning: Some(
                "This will DROP and recreate tables. All existing data will be replaced."
                    .to_owned(),
            ),
            note: Some("Tables that are not in the copy stay as they are.".to_owned()),
        }
    }

    fn patina_d1(&self, id: &str) -> Way {
        let command = format!(
            "{} restore {} --to {} --replace --yes",
            self.patina(),
            self.address(),
            shell(&format!("d1:{id}"))
        );
        Way {
            key: WayKey::Patina.text(),
            name: "Patina, with proof".to_owned(),
            steps: vec![
                Step::run("See what would be done", format!("{command} --dry-run")),
                Step::run(
                    "Restore; a safety copy of what is there is made first, and every table is compared afterwards",
                    command,
                ),
            ],
            warning: Some("This replaces everything in the database.".to_owned()),
            note: Some("The API token needs the permission `D1 Edit` for it.".to_owned()),
        }
    }

    fn patina_file(&self, file: &std::path::Path) -> Way {
        let target = path(file);
        let mut steps = vec![
            Step::by_hand("Stop every program that has the database open"),
            Step::run(
                "Restore; a safety copy of what is there is kept beside it, and every table is compared with the copy's record",
                format!(
                    "{} restore {} --to {target} --replace",
                    self.patina(),
                    self.address()
                ),
            ),
        ];
        match self.manifest().is_image() {
            true => steps.extend(self.verify_image(&target)),
            false => steps.extend(self.verify_file(&target)),
        }
        steps.push(Step::by_hand("Start the programs again"));
        Way {
            key: WayKey::Patina.text(),
            name: "Patina (Recommended)".to_owned(),
            steps,
            warning: Some(
                "This replaces the file; its safety copy is named in the output.".to_owned(),
            ),
            note: None,
        }
    }

    fn verify_file(&self, target: &str) -> Vec<Step> {
        let mut steps = vec![
            Step::run(
                "Verify: it must say `ok`; a row that broke a CHECK in the source is named again",
                format!("sqlite3 {target} 'PRAGMA integrity_check'"),
            ),
            Step::run(
                violations(self.manifest()),
                format!("sqlite3 {target} 'PRAGMA foreign_key_check'"),
            ),
        ];
        for (table, rows) in self.counted() {
            let sql = format!("SELECT count(*) FROM {}", identifier(table));
            steps.push(Step::run(
                format!("Verify: {}", counted(rows, "row")),
                format!("sqlite3 {target} {}", shell(&sql)),
            ));
        }
        steps
    }

    fn shell(&self, file: &std::path::Path) -> Way {
        let (target, dump) = (path(file), self.dump());
        let fresh = format!("{}-{}.db", self.database, self.manifest().date);
        let mut steps = self.download();
        steps.push(Step::run(
            "Restore into a new file",
            format!(
                "test ! -e {fresh} && (echo 'BEGIN;'; cat {dump}; echo 'COMMIT;') | sqlite3 -bail {fresh}"
            ),
        ));
        steps.extend(self.verify_file(&fresh));
        steps.extend(self.put_aside(&target));
        steps.push(Step::run(
            "Put the restored file in its place",
            format!("mv {fresh} {target}"),
        ));
        steps.push(Step::by_hand("Start the programs again"));
        Way {
            key: WayKey::Shell.text(),
            name: "sqlite3, without Patina".to_owned(),
            steps,
            warning: Some("The last two commands exchange the database.".to_owned()),
            note: None,
        }
    }

    /// Steps that keep the existing file beside the new one.
    pub(super) fn put_aside(&self, target: &str) -> [Step; 2] {
        let before = format!("{target}.before-restore");
        [
            Step::by_hand("Stop every program that has the database open"),
            Step::run(
                "Put what is there aside, with what was not yet written into it",
                format!(
                    "for end in '' -wal -shm; do if test -e {target}$end; then mv {target}$end {before}$end; fi; done"
                ),
            ),
        ]
    }

    fn one_table(&self) -> Way {
        let counted = self.counted();
        let table = counted.first().map_or("TABLE", |(table, _)| table);
        let (patina, address) = (self.patina(), self.address());
        let file = format!("{}-{}-table.db", self.database, self.manifest().date);
        let sql = format!("SELECT * FROM {} LIMIT 10", identifier(table));
        let mut steps = vec![
            Step::run(
                "Look at rows of the copy; nothing is restored for it",
                format!("{patina} query {address} {}", shell(&sql)),
            ),
            Step::run(
                "Restore a table, with its indexes and triggers, into a file of its own",
                format!(
                    "{patina} restore {address} --table{}{} --to {file}",
                    if table.starts_with('-') { '=' } else { ' ' },
                    shell(table)
                ),
            ),
        ];
        let dump = format!(".dump {}", identifier(table));
        let take = format!(
            "sqlite3 {file} {} > {}-table.sql",
            shell(&dump),
            self.database
        );
        steps.push(Step::run(
            "Take from it what you need, such as its SQL",
            take,
        ));
        if let Home::Sqlite(home) = self.home {
            let sql = format!("SELECT count(*) FROM {}", identifier(table));
            steps.push(Step::run(
                "Compare with what the database has now",
                format!("sqlite3 {} {}", path(home), shell(&sql)),
            ));
        }
        Way {
            key: WayKey::OneTable.text(),
            name: "One table, or one row".to_owned(),
            steps,
            warning: None,
            note: Some("Write another table's name in place of this one.".to_owned()),
        }
    }

    /// Reads the object itself, without Patina.
    fn storage(&self) -> Vec<Way> {
        let config = self.config;
        let storages = self.copy.storages();
        let known = storages.filter_map(|name| config.storage(name));
        let way = |storage: &crate::config::Storage| {
            let (fetch, object, note) = match &storage.kind {
                StorageKind::Directory(folder) => {
                    let object = folder.join(self.object());
                    (None, path(&object), None)
                }
                StorageKind::S3(bucket) => {
                    let file = self
                        .object()
                        .rsplit('/')
                        .next()
                        .unwrap_or_default()
                        .to_owned();
                    let fetch = rclone(bucket, &self.object(), &file);
                    let note = "rclone takes the keys of the bucket from `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.";
                    (Some(fetch), shell(&file), Some(note.to_owned()))
                }
            };
            let mut steps = Vec::from_iter(fetch);
            let what = match self.manifest().is_image() {
                true => "Get the database file",
                false => "Get the SQL text",
            };
            steps.push(Step::run(what, self.unpack(&object)));
            steps.push(self.check_dump());
            if self.manifest().is_image() {
                steps.extend(self.verify_image(&self.dump()));
            }
            Way {
                key: WayKey::Storage(&storage.name).text(),
                name: format!("Storage {} alone, without Patina", code(&storage.name)),
                steps,
                warning: None,
                note,
            }
        };
        known.map(way).collect()
    }

    fn object(&self) -> String {
        let key = self.copy.archive.as_ref().unwrap_or(&self.manifest().key);
        key.to_string()
    }

    fn unpack(&self, object: &str) -> String {
        let dump = self.dump();
        if self.copy.archive.is_some() {
            let (path, end) = (
                &self.copy.path,
                if self.copy.path.starts_with('-') {
                    "-- "
                } else {
                    ""
                },
            );
            return format!("tar -xzOf {object} {end}{} > {dump}", shell(path));
        }
        match self.manifest().stored.compression {
            Compression::None => format!("cat {object} > {dump}"),
            Compression::Gzip => format!("gzip -dc {object} > {dump}"),
            Compression::Zstd => format!("zstd -dc {object} > {dump}"),
        }
    }
}

fn rclone(bucket: &S3, object: &str, file: &str) -> Step {
    let remote = format!(
        ":s3,provider=Other,env_auth=true,region={},endpoint=\"{}\":{}/{}{object}",
        bucket.region, bucket.endpoint, bucket.bucket, bucket.prefix
    );
    Step::run(
        "Fetch the object",
        format!("rclone copyto {} {}", shell(&remote), shell(file)),
    )
}

/// True if a person can read the name in a command and copy it.
fn is_shown_in_commands(name: &str) -> bool {
    is_plain(name) && name.len() <= MOST_NAME_BYTES
}

/// Expected result of `PRAGMA foreign_key_check`.
fn violations(manifest: &Manifest) -> String {
    match manifest.evidence.foreign_key_violations {
        0 => "Verify: no row must come".to_owned(),
        count => format!("Verify: {}, as in the source", counted(count, "row")),
    }
}

fn wrangler_file(config: &Config, name: &DatabaseName, id: &str) -> Step {
    let account = config.cloudflare().map_or(String::new(), |cloudflare| {
        format!("account_id = {}\n", toml(&cloudflare.account_id))
    });
    Step::run(
        "Say which database wrangler means, in an empty folder or one of your own",
        format!(
            "cat > wrangler.toml <<'END'\nname = \"restore\"\ncompatibility_date = \"{COMPATIBILITY_DATE}\"\n{account}\
             [[d1_databases]]\nbinding = \"DB\"\ndatabase_name = \"{name}\"\ndatabase_id = {}\nEND",
            toml(id)
        ),
    )
}

fn time_travel(
    config: &Config,
    name: &DatabaseName,
    id: &str,
    bookmark: Option<&str>,
    moment: Option<&str>,
) -> Way {
    let mut steps = vec![
        wrangler_file(config, name, id),
        Step::run(
            "Get available restore points",
            format!("wrangler d1 time-travel info {name}"),
        ),
    ];
    if let Some(bookmark) = bookmark {
        steps.push(Step::run(
            "Restore to the state that the copy was made of",
            format!(
                "wrangler d1 time-travel restore {name} --bookmark={}",
                shell(bookmark)
            ),
        ));
    }
    if let Some(moment) = moment {
        steps.push(Step::run(
            "Or restore to a moment, such as when the copy was begun",
            format!(
                "wrangler d1 time-travel restore {name} --timestamp={}",
                shell(moment)
            ),
        ));
    }
    if bookmark.is_none() && moment.is_none() {
        // Wrangler also accepts seconds since 1970, and every shell can subtract.
        steps.push(Step::run(
            "Restore to a moment before the loss, here one hour ago (3600 seconds)",
            format!("wrangler d1 time-travel restore {name} --timestamp=$(( $(date +%s) - 3600 ))"),
        ));
    }
    steps.push(Step::by_hand("Verify restoration"));
    Way {
        key: WayKey::TimeTravel.text(),
        name: format!("D1 Time Travel (Last {TIME_TRAVEL})"),
        steps,
        warning: None,
        note: Some("Time Travel is faster and doesn't require downloading files.".to_owned()),
    }
}
