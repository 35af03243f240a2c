//! Converts the typed configuration into its meaning. Invariant: it always runs to the end, so that every mistake is
//! reported.
//!
//! Each part returns a value even if it found mistakes; the caller drops the whole if there was one.

mod alerts;
mod basics;
mod database;
mod http;
mod order;
mod secrets;
mod storage;

pub use alerts::events;
pub(super) use database::NO_DATABASE;

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use super::Environment;
use super::duration_text;
use super::finding::{Finding, Findings};
use super::model::Config;
use super::problem::Remains;
use super::raw::{At, RawConfig};
use super::read::Sources;
use crate::schedule::Schedule;

/// Builds the configuration, or at least finds everything wrong with it.
///
/// Returns no configuration if too little is left to build one; the findings then give the reason. Files that were read
/// are added to `inputs` in either case.
pub(super) fn validate(
    raw: RawConfig,
    sources: &Sources,
    env: &dyn Environment,
    findings: &mut Findings,
    inputs: &mut Vec<PathBuf>,
) -> (Option<Config>, Remains) {
    let mut checker = Checker {
        sources,
        env,
        findings,
        inputs,
    };
    let checker = &mut checker;
    let agent = checker.agent(&raw.agent);
    let jobs = checker.jobs(&raw.schedule);
    let export = checker.export(&raw.export);
    let retention = checker.retention(&raw.retention);
    let storages = checker.storages(&raw.storage);
    let cloudflare = raw.cloudflare.as_ref().map(|raw| checker.cloudflare(raw));
    let hooks = checker.hooks(&raw.hooks);
    let thresholds = checker.thresholds(&raw.alerts);
    let databases = checker.databases(&raw, export.defaults, thresholds);
    checker.restore_order(&raw);
    let alerts = checker.alerts(&raw, thresholds, &hooks);
    let remains = Remains {
        agent: agent.clone(),
        alerts: alerts.clone(),
    };
    let http = checker.http(&raw.http);
    let inputs = checker.inputs.clone();
    let config = http.map(|http| Config {
        agent,
        jobs,
        export,
        retention,
        storages,
        cloudflare: cloudflare.flatten(),
        databases,
        hooks,
        alerts,
        http,
        inputs,
    });
    (config, remains)
}

struct Checker<'a> {
    sources: &'a Sources,
    env: &'a dyn Environment,
    findings: &'a mut Findings,
    inputs: &'a mut Vec<PathBuf>,
}

impl Checker<'_> {
    fn error(&mut self, span: &Range<usize>, message: impl Into<String>) -> &mut Finding {
        self.findings.error(span.clone(), message)
    }

    /// Duration of a key, or `default`; `least` is the shortest one allowed.
    fn duration(
        &mut self,
        key: &str,
        raw: &Option<At<String>>,
        default: Duration,
        least: Duration,
    ) -> Duration {
        let Some(raw) = raw else { return default };
        let text = raw.value.trim();
        let months = text.bytes().zip(text.bytes().skip(1).chain([b' ']));
        let month = months
            .into_iter()
            .any(|(unit, next)| unit == b'M' && !next.is_ascii_alphabetic());
        if month || text.contains("month") {
            let minutes = text.replace('M', "m");
            self.error(&raw.span, format!("`{key}` uses months: `{text}`"))
                .hint(format!(
                    "for minutes write `{minutes}`, for months write days: `30d`"
                ));
            return default;
        }
        match humantime::parse_duration(text) {
            Ok(duration) if duration >= least => duration,
            Ok(_) => {
                let least = duration_text(least);
                self.error(
                    &raw.span,
                    format!("`{key}` must be at least {least}, found `{text}`"),
                )
                .hint(format!("the default is `{}`", duration_text(default)));
                default
            }
            Err(_) => {
                let hint = if text.parse::<f64>().is_ok() {
                    format!("add the unit: `{text}s`")
                } else {
                    "write a number and a unit: `30s`, `5m`, `12h`, `8d`".to_owned()
                };
                self.error(&raw.span, format!("`{key}` is not a duration: `{text}`"))
                    .hint(hint);
                default
            }
        }
    }

    /// Schedule of a key; `None` if it is not set or wrong.
    fn schedule(&mut self, key: &str, raw: &Option<At<String>>) -> Option<Schedule> {
        let raw = raw.as_ref()?;
        match raw.value.parse::<Schedule>() {
            Ok(schedule) => Some(schedule),
            Err(error) => {
                let span = self.inside(raw, error.offset, error.length);
                self.error(&span, format!("`{key}`: {error}"))
                    .maybe_hint(error.hint);
                None
            }
        }
    }

    /// Span of a part of a string; the whole string if it was typed with escapes or variables.
    fn inside(&self, raw: &At<String>, offset: usize, length: usize) -> Range<usize> {
        let typed = self.sources.typed(&raw.span);
        match typed.find(&raw.value).filter(|_| !raw.value.is_empty()) {
            Some(quote) => {
                let start = raw.span.start + quote + offset;
                start..start + length
            }
            None => raw.span.clone(),
        }
    }

    /// Path, made absolute by the folder of the file it is written in.
    fn path(&self, raw: &At<String>) -> PathBuf {
        let joined = self.sources.folder(raw.span.start).join(&raw.value);
        // `./state` is shown as `state`, in any folder.
        joined.components().collect()
    }

    /// Required text; reports one that is missing or empty.
    fn required(
        &mut self,
        table: &Range<usize>,
        key: &str,
        raw: &Option<At<String>>,
        hint: &str,
    ) -> Option<At<String>> {
        match raw {
            None => {
                self.findings
                    .absent(table.clone(), format!("`{key}` is missing"), hint);
                None
            }
            Some(raw) if raw.value.trim().is_empty() => {
                self.error(&raw.span, format!("`{key}` is empty"))
                    .hint(hint);
                None
            }
            Some(raw) => Some(raw.clone()),
        }
    }

    /// Required name: a-z, 0-9, `_` and `-`, unique in its list.
    fn name(
        &mut self,
        table: &Range<usize>,
        key: &str,
        raw: &Option<At<String>>,
        seen: &mut HashMap<String, Range<usize>>,
    ) -> Option<String> {
        let raw = self.required(table, key, raw, "give it a name that no other has")?;
        if let Err(refused) = raw.value.parse::<crate::types::DatabaseName>() {
            let suggestion = slug(&raw.value);
            self.error(&raw.span, format!("`{key}` cannot be `{}`", raw.value))
                .hint(match suggestion {
                    Some(name) => format!("{}: `{name}`", refused.rule),
                    None => refused.rule.to_owned(),
                });
            return None;
        }
        if let Some(first) = seen.get(&raw.value) {
            let first = first.clone();
            self.error(&raw.span, format!("`{key}` `{}` is used twice", raw.value))
                .hint("give each one a name of its own")
                .also(first, "first used");
            return None;
        }
        seen.insert(raw.value.clone(), raw.span);
        Some(raw.value)
    }

    /// URL with http or https, without a slash at the end.
    fn url(&mut self, key: &str, raw: &At<String>) -> String {
        let text = raw.value.trim_end_matches('/');
        let host = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        let plausible = host.is_some_and(|host| {
            !host.is_empty()
                && !host.starts_with(['/', ':'])
                && !host.contains(|c: char| c.is_whitespace() || "<>\"\\".contains(c))
        });
        if !plausible {
            self.error(&raw.span, format!("`{key}` is not a URL: `{}`", raw.value))
                .hint("write it with its scheme: `https://…`");
        }
        text.to_owned()
    }
}

/// Value that the schema's bounds already checked, or `default`.
fn number<T: Copy>(raw: &Option<At<T>>, default: T) -> T {
    raw.as_ref().map_or(default, |raw| raw.value)
}

/// Most similar allowed name.
fn slug(text: &str) -> Option<String> {
    let slug: String = text
        .trim()
        .to_ascii_lowercase()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c
            } else {
                '-'
            }
        })
        .take(64)
        .collect();
    let slug = slug.trim_matches(['-', '_']);
    (!slug.is_empty()).then(|| slug.to_owned())
}
