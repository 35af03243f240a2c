//! Checks `[[database]]` and fills in every default.

use std::collections::HashMap;
use std::ops::Range;

use super::basics::{TIMEOUT_LEAST, texts};
use super::{Checker, number};
use crate::config::model::{
    CopyMethod, D1Method, Database, ExportValues, MethodWord, SourceSpec, Thresholds,
};
use crate::config::raw::{At, RawConfig, RawDatabase};
use crate::types::DatabaseName;

/// Message and hint for a file that names no database although the operation needs one.
pub(crate) const NO_DATABASE: (&str, &str) = (
    "the file names no database",
    "add one: `patina add NAME --sqlite PATH` or `patina add NAME --d1 UUID`",
);

const EITHER: &str = "write either `d1 = \"<uuid>\"` or `sqlite = \"<path>\"`";

/// First occurrences of names and sources.
#[derive(Default)]
struct Seen {
    names: HashMap<String, Range<usize>>,
    sources: HashMap<String, Range<usize>>,
    told_cloudflare: bool,
}

impl Checker<'_> {
    /// Databases by priority, in file order within.
    pub(super) fn databases(
        &mut self,
        raw: &RawConfig,
        export: ExportValues,
        thresholds: Thresholds,
    ) -> Vec<Database> {
        if raw.database.is_empty() && raw.storage.is_empty() {
            self.findings.absent(0..0, NO_DATABASE.0, NO_DATABASE.1);
        }
        let mut seen = Seen::default();
        let mut databases: Vec<Database> = raw
            .database
            .iter()
            .filter_map(|database| {
                self.needs_cloudflare(raw, &database.value, &mut seen);
                self.database(database, export, thresholds, &mut seen)
            })
            .collect();
        databases.sort_by_key(|database| database.priority);
        databases
    }

    fn database(
        &mut self,
        raw: &At<RawDatabase>,
        export: ExportValues,
        thresholds: Thresholds,
        seen: &mut Seen,
    ) -> Option<Database> {
        let name = self.name(&raw.span, "name", &raw.value.name, &mut seen.names);
        let source = self.source(&raw.span, &raw.value, seen);
        let raw = &raw.value;
        let export = ExportValues {
            timeout: self.duration("timeout", &raw.timeout, export.timeout, TIMEOUT_LEAST),
            retries: number(&raw.retries, export.retries),
            compression: number(&raw.compression, export.compression),
            verify: number(&raw.verify, export.verify),
        };
        let database = Database {
            name: name?.parse().ok()?,
            source: source?,
            form: match raw.method.as_ref().map(|method| method.value) {
                Some(MethodWord::Sql) => CopyMethod::Sql,
                Some(MethodWord::Image) => CopyMethod::Image,
                _ => CopyMethod::Auto,
            },
            priority: number(&raw.priority, Default::default()),
            description: raw
                .description
                .as_ref()
                .map_or(String::new(), |text| text.value.clone()),
            restore_after: named(&raw.restore_after),
            reason: raw
                .reason
                .as_ref()
                .map_or(String::new(), |text| text.value.clone()),
            export,
            schedule: self.schedule("schedule", &raw.schedule),
            skip_data: texts(&raw.skip_data),
            script: raw.script.as_ref().map(|script| self.script(script)),
            alerts: self.own_thresholds(raw, thresholds),
            table_rows_below: self.table_thresholds(&raw.table_rows_below),
        };
        Some(database)
    }

    fn source(
        &mut self,
        table: &Range<usize>,
        raw: &RawDatabase,
        seen: &mut Seen,
    ) -> Option<SourceSpec> {
        let (spec, span) = match (&raw.d1, &raw.sqlite) {
            (None, None) => {
                let message = "a database needs a source: `d1` or `sqlite`";
                self.findings.absent(table.clone(), message, EITHER);
                return None;
            }
            (Some(d1), Some(sqlite)) => {
                let (first, second) = if d1.span.start < sqlite.span.start {
                    (d1, sqlite)
                } else {
                    (sqlite, d1)
                };
                self.error(&second.span, "a database has one source, found two")
                    .hint(EITHER)
                    .also(first.span.clone(), "the other one");
                return None;
            }
            (Some(d1), None) => (self.d1(d1, raw)?, d1),
            (None, Some(sqlite)) => (self.sqlite(sqlite, raw)?, sqlite),
        };
        if let Some(first) = seen.sources.insert(spec.location(), span.span.clone()) {
            let message = format!("two databases read `{}`", span.value);
            self.findings
                .warning(span.span.clone(), message)
                .hint("each copy is made and stored twice")
                .also(first, "first read");
        }
        Some(spec)
    }

    fn d1(&mut self, raw: &At<String>, database: &RawDatabase) -> Option<SourceSpec> {
        let method = match &database.method {
            Some(word) if word.value == MethodWord::Export => D1Method::Export,
            Some(word) if word.value != MethodWord::Raw => {
                self.error(&word.span, "this `method` is for `sqlite` databases")
                    .hint("a `d1` database has `raw` or `export`");
                D1Method::Raw
            }
            _ => D1Method::Raw,
        };
        let text = raw.value.trim();
        let parsed = uuid::Uuid::try_parse(text)
            .ok()
            .filter(|_| text.len() == uuid::fmt::Hyphenated::LENGTH);
        match parsed {
            Some(id) => Some(SourceSpec::D1 {
                id: id.hyphenated().to_string(),
                method,
            }),
            None => {
                self.error(&raw.span, format!("`d1` is not a UUID: `{}`", raw.value))
                    .hint("copy the `database_id` that `wrangler d1 list` shows");
                None
            }
        }
    }

    fn sqlite(&mut self, raw: &At<String>, database: &RawDatabase) -> Option<SourceSpec> {
        if let Some(word) = &database.method
            && matches!(word.value, MethodWord::Raw | MethodWord::Export)
        {
            self.error(&word.span, "this `method` is for `d1` databases")
                .hint("a `sqlite` database has `auto`, `sql` or `image`");
        }
        self.image_without_rows(database);
        if raw.value.trim().is_empty() || raw.value.contains(":memory:") {
            self.error(
                &raw.span,
                format!("`sqlite` names no file: `{}`", raw.value),
            )
            .hint("write the path of a SQLite file");
            return None;
        }
        Some(SourceSpec::Sqlite(self.path(raw)))
    }

    /// Rejects `skip_data` for an image, which contains every row.
    fn image_without_rows(&mut self, database: &RawDatabase) {
        let word = database.method.as_ref();
        let Some(word) = word.filter(|word| word.value == MethodWord::Image) else {
            return;
        };
        if let Some(table) = database.skip_data.first() {
            self.error(
                &table.span,
                "`skip_data` and `method = \"image\"` contradict each other",
            )
            .hint("an image holds every row: remove one of them, or set `method = \"sql\"`")
            .also(word.span.clone(), "the image");
        }
    }

    /// Reports D1 without an account once, at the first database that needs it.
    fn needs_cloudflare(&mut self, raw: &RawConfig, database: &RawDatabase, seen: &mut Seen) {
        let Some(d1) = &database.d1 else { return };
        if raw.cloudflare.is_some() || seen.told_cloudflare {
            return;
        }
        seen.told_cloudflare = true;
        self.error(&d1.span, "a `d1` database needs a `[cloudflare]` section")
            .hint("add `[cloudflare]` with `account_id` and `api_token`");
    }
}

/// Names of databases, each once; whether they exist is checked once all are known.
fn named(list: &[At<String>]) -> Vec<DatabaseName> {
    let mut names: Vec<DatabaseName> = Vec::new();
    for name in list.iter().filter_map(|item| item.value.parse().ok()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}
