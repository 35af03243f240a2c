//! Writes the runbook for the loss of more than one database. Shape: spec, "Disaster Recovery Runbook". Invariant: the
//! databases are listed in restore order.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::command::{identifier, path, patina};
use super::keys::LEAKED;
use super::{Guide, Home, rescue};
use crate::catalog::{Catalog, CatalogError, Rehearsal, RehearsalOutcome};
use crate::config::{Config, StorageKind, WayIn};
use crate::quote::{self, code, line, markdown, shell};
use crate::types::{ByteCount, DatabaseName, Manifest, Priority, counted, grouped, share};

/// Instructions for the loss of more than one database.
#[derive(Debug, Clone)]
pub struct Runbook {
    /// Name of the installation.
    pub name: String,
    /// Time when it was written.
    pub at: DateTime<Utc>,
    /// The configured databases in restore order; if none is configured, all databases with copies.
    pub guides: Vec<Guide>,
    /// Command line program, with the configuration that it reads.
    patina: String,
    /// The last drill.
    rehearsal: Option<Rehearsal>,
    /// Command that writes a configuration on another host.
    rescue: String,
    /// Id of this installation, if it has one.
    instance: Option<String>,
    way_in: WayIn,
    /// Names of the storages, each with the information to access it.
    storages: Vec<(String, String)>,
}

impl Runbook {
    /// Returns the runbook of this configuration, with its newest good copies.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn read(
        config: &Config,
        catalog: &Catalog,
        now: DateTime<Utc>,
    ) -> Result<Self, CatalogError> {
        let mut guides = Vec::with_capacity(config.databases().len());
        for name in names(config, catalog)? {
            guides.extend(Guide::read(config, catalog, &name, None)?);
        }
        let storages = config.storages().iter();
        Ok(Self {
            name: config.agent().name.clone(),
            at: now,
            guides,
            patina: patina(config),
            rehearsal: catalog.last_rehearsal()?,
            rescue: rescue::command(config),
            instance: catalog.known_instance()?,
            way_in: config.http().way_in(),
            storages: storages
                .map(|storage| (storage.name.clone(), place(&storage.kind)))
                .collect(),
        })
    }

    /// Returns the whole page.
    pub fn markdown(&self) -> String {
        let mut page = String::new();
        self.head(&mut page);
        self.severity(&mut page);
        self.access(&mut page);
        self.assess(&mut page);
        self.find(&mut page);
        self.restore(&mut page);
        self.verify(&mut page);
        page.push_str(AFTERWARDS);
        self.times(&mut page);
        self.without_patina(&mut page);
        self.damaged(&mut page);
        page.push('\n');
        page.push_str(LEAKED);
        page
    }

    /// Returns the document of `GET /runbook`.
    pub fn document(&self) -> Value {
        let databases = self.guides.iter().enumerate().map(|(index, guide)| {
            let mut document = guide.document();
            document["order"] = json!(index + 1);
            document
        });
        json!({
            "name": self.name,
            "generated": self.at.to_rfc3339_opts(SecondsFormat::Secs, true),
            "databases": databases.collect::<Vec<_>>(),
            "markdown": self.markdown(),
        })
    }

    fn head(&self, page: &mut String) {
        let at = self.at.format("%Y-%m-%d %H:%M UTC");
        let _ = writeln!(
            page,
            "# Disaster recovery runbook: {}\n\nWritten by Patina {} on {at}. {} regenerates it.\n",
            markdown(&self.name),
            env!("CARGO_PKG_VERSION"),
            code(&format!("{} runbook", self.patina))
        );
    }

    fn names(&self, is_wanted: impl Fn(&Guide) -> bool) -> String {
        let wanted = self.guides.iter().filter(|guide| is_wanted(guide));
        let names: Vec<String> = wanted
            .map(|guide| format!("`{}`", guide.database))
            .collect();
        match names.is_empty() {
            true => "none".to_owned(),
            false => names.join(", "),
        }
    }

    fn severity(&self, page: &mut String) {
        let critical = self.names(|guide| guide.priority == Some(Priority::Critical));
        let others = self.names(|guide| guide.priority != Some(Priority::Critical));
        let _ = writeln!(
            page,
            "## How bad is it\n\n| level | condition | respond within |\n|---|---|---|\n\
             | DEFCON 1 | all databases are lost or wrong | 1 hour |\n\
             | DEFCON 2 | a critical one is: {critical} | 2 hours |\n\
             | DEFCON 3 | only others are: {others} | 24 hours |\n"
        );
    }

    fn access(&self, page: &mut String) {
        page.push_str("## Before you begin\n\n");
        page.push_str(
            "- [ ] Tell the others that you are at it, and where you write what you do\n",
        );
        page.push_str("- [ ] Stop what still writes wrong data; switch no backup off\n");
        let _ = match &self.way_in {
            WayIn::Anywhere(url) => writeln!(
                page,
                "- [ ] A shell on the host of Patina, or an API key for {url} in `PATINA_KEY`"
            ),
            WayIn::ThisHost(url) => writeln!(
                page,
                "- [ ] A shell on the host of Patina, where {url} answers, too, with an API key in `PATINA_KEY`"
            ),
            WayIn::Unknown => writeln!(page, "- [ ] A shell on the host of Patina"),
        };
        if self.has_d1() {
            page.push_str("- [ ] The Cloudflare dashboard as owner or administrator\n");
            page.push_str("- [ ] Wrangler, logged in (`wrangler whoami`)\n");
        }
        for (name, place) in &self.storages {
            let _ = writeln!(page, "- [ ] Storage {}: {place}", code(name));
        }
        page.push('\n');
    }

    fn has_d1(&self) -> bool {
        self.guides
            .iter()
            .any(|guide| matches!(guide.home, Home::D1(_)))
    }

    fn assess(&self, page: &mut String) {
        page.push_str("## Step 1: assess the damage (5 minutes)\n\nWhich databases answer, and how many tables do they have?\n\n");
        let sql = "SELECT count(*) FROM sqlite_master";
        for guide in &self.guides {
            let command = match &guide.home {
                Home::D1(_) => {
                    let name = &guide.database;
                    format!(
                        "wrangler d1 execute {name} --remote --command={}",
                        shell(sql)
                    )
                }
                Home::Sqlite(file) => format!("sqlite3 {} {}", path(file), shell(sql)),
            };
            block(page, &command);
        }
        if self.has_d1() {
            page.push_str("Wrangler finds a database by its name in the account, or by the `wrangler.toml` that its guide below writes.\n\n");
        }
    }

    fn find(&self, page: &mut String) {
        page.push_str("## Step 2: find the newest good copies (5 minutes)\n\n");
        block(page, &format!("{} list", self.patina));
        page.push_str("Read the newest copy of every database again, byte for byte:\n\n");
        block(page, &format!("{} verify", self.patina));
        page.push_str("When this page was written they were:\n\n| database | copy of | size | rows | proof |\n|---|---|---|---|---|\n");
        for guide in &self.guides {
            let name = &guide.database;
            let _ = match &guide.chosen {
                Some(chosen) => {
                    let manifest = &chosen.manifest;
                    let (date, class) = (manifest.date, proof(manifest));
                    let size = ByteCount(manifest.plain.size_bytes);
                    let rows = grouped(manifest.evidence.total_rows());
                    writeln!(page, "| `{name}` | {date} | {size} | {rows} | {class} |")
                }
                None => writeln!(page, "| `{name}` | none | | | |"),
            };
        }
        page.push('\n');
    }

    fn restore(&self, page: &mut String) {
        page.push_str("## Step 3: restore in exactly this order\n\nEach database stands behind those it depends on.\n\n| order | database | priority | after | reason | what it holds |\n|---|---|---|---|---|---|\n");
        for (index, guide) in self.guides.iter().enumerate() {
            let (name, after) = (&guide.database, guide.after());
            let (reason, holds) = (markdown(&guide.reason), markdown(&guide.description));
            let priority = guide.priority.map(|priority| priority.to_string());
            let priority = priority.unwrap_or_default();
            let _ = writeln!(
                page,
                "| {} | `{name}` | {priority} | {after} | {reason} | {holds} |",
                index + 1
            );
        }
        page.push('\n');
        for (index, guide) in self.guides.iter().enumerate() {
            let _ = writeln!(page, "### {}. `{}`\n", index + 1, guide.database);
            match (&guide.chosen, guide.ways.first()) {
                (Some(_), Some(way)) => way.write(page),
                _ => {
                    let _ = writeln!(
                        page,
                        "There is no copy of it; {} says what is left.\n",
                        code(&format!("{} guide {}", self.patina, guide.database))
                    );
                }
            }
        }
        let _ = writeln!(
            page,
            "Every other way to restore a database, and its older copies, are in its guide: {}.\n",
            code(&format!("{} guide NAME", self.patina))
        );
    }

    fn verify(&self, page: &mut String) {
        page.push_str("## Step 4: verify\n\n");
        page.push_str("- [ ] The row counts above are those of the copies\n");
        for guide in &self.guides {
            if let Some(chosen) = &guide.chosen
                && let Some(table) = chosen.manifest.evidence.tables.first()
            {
                let (name, table) = (&guide.database, code(&identifier(&table.name)));
                let _ = writeln!(
                    page,
                    "- [ ] What reads `{name}` works again, and shows what stands in {table}"
                );
            }
        }
        page.push('\n');
    }

    fn times(&self, page: &mut String) {
        page.push_str("## How long it takes\n\nWhat each newest copy took on the host of Patina: to be made and tried, and to be restored from storage in the last rehearsal.\n\n| database | made and tried | restored and proven |\n|---|---|---|\n");
        for guide in &self.guides {
            let Some(chosen) = &guide.chosen else {
                continue;
            };
            let manifest = &chosen.manifest;
            let started: Option<DateTime<Utc>> = manifest.started_at.parse().ok();
            if let (Some(started), Some(ended)) = (started, manifest.completed()) {
                let seconds = (ended - started).as_seconds_f64();
                let restored = self.restored_in(guide).unwrap_or_default();
                let _ = writeln!(
                    page,
                    "| `{}` | {seconds:.1} s | {restored} |",
                    guide.database
                );
            }
        }
        self.rehearsed(page);
        page.push_str("\nPlan with 5 to 10 minutes for each database with its verification, and 1 to 2 hours for all of them with the checks of what uses them.\n\n");
    }

    /// Duration of the last drill for this database, if its copy was restored and proven.
    fn restored_in(&self, guide: &Guide) -> Option<String> {
        let mut results = self.rehearsal.as_ref()?.results.iter();
        let result = results.find(|result| result.database == guide.database)?;
        let is_proven = result.outcome == RehearsalOutcome::Proven;
        let seconds = Duration::from_millis(result.duration_ms).as_secs_f64();
        is_proven.then(|| format!("{seconds:.1} s"))
    }

    fn rehearsed(&self, page: &mut String) {
        let Some(rehearsal) = &self.rehearsal else {
            let _ = write!(
                page,
                "\nNothing was rehearsed yet; {} does it.\n",
                code(&format!("{} drill", self.patina))
            );
            return;
        };
        let (proven, all) = (rehearsal.proven(), rehearsal.results.len());
        let seconds = Duration::from_millis(rehearsal.duration_ms).as_secs_f64();
        let at = rehearsal.started_at.format("%Y-%m-%d %H:%M UTC");
        let _ = write!(
            page,
            "\nThe rehearsal of {at} brought {} back from storage in {seconds:.1} s.\n",
            share(proven, all, "database")
        );
    }

    fn without_patina(&self, page: &mut String) {
        let _ = write!(
            page,
            "## When the host of Patina is lost\n\n1. Install Patina on another host, go to an empty folder, and say where the storages are; the keys of a \
             bucket are taken from the variables that stand behind `env:`:\n\n"
        );
        let patina = format!("patina --config {}", rescue::FILE);
        block(page, &self.rescue);
        page.push_str("2. See whether everything comes back, and how long it takes; nothing is changed by it:\n\n");
        block(page, &format!("{patina} drill --cold"));
        page.push_str("3. Rebuild the catalog; nothing is deleted:\n\n");
        block(page, &format!("{patina} rebuild"));
        if let Some(instance) = &self.instance {
            let _ = write!(
                page,
                "Where it warns that several installations wrote there, say which one to bring back: this page is of \
                 {}, so {}.\n\n",
                code(instance),
                code(&format!("rebuild --instance {}", shell(instance)))
            );
        }
        page.push_str(
            "4. Restore every database, each into a file of its own in the folder `back`:\n\n",
        );
        block(page, &format!("{patina} restore --all --to back"));
        page.push_str("5. Put them where they belong, by the guide of each.\n\nWithout Patina: every object is plain SQL text, the file of a SQLite database (`.sqlite`), or a `.tar.gz` of such files with their `SHA256SUMS` and this page. They lie in\n\n");
        for (name, place) in &self.storages {
            let _ = writeln!(
                page,
                "- {}: {place}, under `daily/` and `weekly/`",
                code(name)
            );
        }
        page.push('\n');
    }

    fn damaged(&self, page: &mut String) {
        page.push_str("## When copies are damaged, too\n\n");
        let mut ways = Vec::new();
        if self.has_d1() {
            ways.push(
                "Look at D1 Time Travel first; the guide of each database has its commands."
                    .to_owned(),
            );
        }
        ways.push(format!(
            "Look at every copy there is, in every storage: {}.",
            code(&format!("{} verify --all", self.patina))
        ));
        ways.push(
            "Take an older day; the archives under `weekly/` hold every day of their week."
                .to_owned(),
        );
        if self.has_d1() {
            ways.push("Ask Cloudflare support for help with the recovery of D1.".to_owned());
        }
        ways.push("Last of all, put the data together from the logs of your applications and from other services.".to_owned());
        for (index, way) in ways.iter().enumerate() {
            let _ = writeln!(page, "{}. {way}", index + 1);
        }
    }
}

const AFTERWARDS: &str = "## Step 5: afterwards\n\n\
    - [ ] Back up every database anew\n\
    - [ ] Look for the cause in the logs\n\
    - [ ] Replace every key and password that may have become known\n\
    - [ ] Write down what happened, when, and what it cost\n\
    - [ ] Correct what was wrong or missing in this page\n\n";

/// Returns the configured databases in restore order; if there are none, all databases with copies.
fn names(config: &Config, catalog: &Catalog) -> Result<Vec<DatabaseName>, CatalogError> {
    let configured = config.restore_order().into_iter();
    let configured: Vec<DatabaseName> = configured.map(|one| one.name.clone()).collect();
    match configured.is_empty() {
        true => Ok(catalog.stored_databases()?.into_iter().collect()),
        false => Ok(configured),
    }
}

/// Describes the proof of a copy, with the number of exceptions.
fn proof(manifest: &Manifest) -> String {
    match manifest.exceptions.len() {
        0 => manifest.proof(),
        count => format!(
            "{} ({})",
            manifest.proof(),
            counted(count as u64, "exception")
        ),
    }
}

fn block(page: &mut String, command: &str) {
    let _ = writeln!(page, "{}", quote::block(command));
}

fn place(kind: &StorageKind) -> String {
    match kind {
        StorageKind::Directory(folder) => {
            format!("the directory {}", code(&folder.to_string_lossy()))
        }
        StorageKind::S3(bucket) => format!(
            "the bucket {} at {}, prefix {}",
            code(&bucket.bucket),
            line(&bucket.endpoint),
            code(&bucket.prefix)
        ),
    }
}
