//! Checks `[alerts]`, its sinks, and the thresholds of each database.

use std::collections::{BTreeMap, HashMap};
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

use super::{Checker, number};
use crate::config::duration_text;
use crate::config::model::{Alerts, Hooks, Sink, SinkKind, Thresholds};
use crate::config::raw::{At, RawAlerts, RawConfig, RawDatabase, RawSink};
use crate::config::shape::did_you_mean;
use crate::types::{DatabaseName, EventKind};

/// Every event that a sink's `only` may name.
pub fn events() -> impl Iterator<Item = &'static str> {
    let kinds = EventKind::ALL.into_iter();
    let kinds = kinds.filter(|kind| *kind != EventKind::BackupStarted);
    kinds.map(EventKind::as_str)
}

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
/// Range of a part: from none to all.
const PART: RangeInclusive<f64> = 0.0..=1.0;

const DEFAULTS: Thresholds = Thresholds {
    stale_after: Duration::from_secs(8 * 24 * 3600),
    warn_after: Duration::from_secs(26 * 3600),
    shrink_below: 0.5,
    grow_above: 2.0,
    rows_below: 0.5,
    consecutive_failures: 3,
};

/// Keys of a threshold table: those of `[alerts]` or of one database.
struct RawThresholds<'a> {
    stale_after: &'a Option<At<String>>,
    warn_after: &'a Option<At<String>>,
    shrink_below: &'a Option<At<f64>>,
    grow_above: &'a Option<At<f64>>,
    rows_below: &'a Option<At<f64>>,
    consecutive_failures: &'a Option<At<u32>>,
}

impl Checker<'_> {
    /// Thresholds of `[alerts]`.
    pub(super) fn thresholds(&mut self, raw: &RawAlerts) -> Thresholds {
        let raw = RawThresholds {
            stale_after: &raw.stale_after,
            warn_after: &raw.warn_after,
            shrink_below: &raw.shrink_below,
            grow_above: &raw.grow_above,
            rows_below: &raw.rows_below,
            consecutive_failures: &raw.consecutive_failures,
        };
        self.threshold_table(&raw, DEFAULTS)
    }

    /// Thresholds of one database.
    pub(super) fn own_thresholds(&mut self, raw: &RawDatabase, base: Thresholds) -> Thresholds {
        let raw = RawThresholds {
            stale_after: &raw.stale_after,
            warn_after: &raw.warn_after,
            shrink_below: &raw.shrink_below,
            grow_above: &raw.grow_above,
            rows_below: &raw.rows_below,
            consecutive_failures: &raw.consecutive_failures,
        };
        self.threshold_table(&raw, base)
    }

    fn threshold_table(&mut self, raw: &RawThresholds<'_>, base: Thresholds) -> Thresholds {
        let found = Thresholds {
            stale_after: self.duration("stale_after", raw.stale_after, base.stale_after, HOUR),
            warn_after: self.duration("warn_after", raw.warn_after, base.warn_after, MINUTE),
            shrink_below: self.ratio("shrink_below", raw.shrink_below, base.shrink_below, PART),
            grow_above: self.ratio("grow_above", raw.grow_above, base.grow_above, 1.0..=1e6),
            rows_below: self.ratio("rows_below", raw.rows_below, base.rows_below, PART),
            consecutive_failures: number(raw.consecutive_failures, base.consecutive_failures),
        };
        let span = raw.warn_after.as_ref().or(raw.stale_after.as_ref());
        if let Some(at) = span
            && found.warn_after >= found.stale_after
        {
            let warn = duration_text(found.warn_after);
            let stale = duration_text(found.stale_after);
            self.error(
                &at.span,
                format!("`warn_after` ({warn}) must be shorter than `stale_after` ({stale})"),
            )
            .hint("the warning comes before the critical alert");
        }
        found
    }

    fn ratio(
        &mut self,
        key: &str,
        raw: &Option<At<f64>>,
        default: f64,
        range: RangeInclusive<f64>,
    ) -> f64 {
        let Some(raw) = raw else { return default };
        if raw.value.is_finite() && range.contains(&raw.value) {
            return raw.value;
        }
        let (least, most) = (range.start(), range.end());
        let message = format!(
            "`{key}` must be from {least} to {most}, found {}",
            raw.value
        );
        let of = match key {
            "shrink_below" | "grow_above" => "the mean size",
            _ => "the rows there were",
        };
        self.error(&raw.span, message).hint(format!(
            "it is a part of {of}: `0.5` is half, `2.0` is twice"
        ));
        default
    }

    /// Tables with a threshold of their own.
    pub(super) fn table_thresholds(
        &mut self,
        raw: &BTreeMap<String, At<f64>>,
    ) -> BTreeMap<String, f64> {
        let mut found = BTreeMap::new();
        for (table, ratio) in raw {
            let ratio = Some(ratio.clone());
            found.insert(table.clone(), self.ratio(table, &ratio, 1.0, PART));
        }
        found
    }

    pub(super) fn alerts(
        &mut self,
        config: &RawConfig,
        thresholds: Thresholds,
        hooks: &Hooks,
    ) -> Alerts {
        let raw = &config.alerts;
        let names: Vec<&str> = config
            .database
            .iter()
            .filter_map(|database| database.value.name.as_ref())
            .map(|name| name.value.as_str())
            .collect();
        let mut seen = HashMap::new();
        let sinks = raw
            .sink
            .iter()
            .filter_map(|sink| self.sink(sink, hooks, &names, &mut seen));
        Alerts {
            sinks: sinks.collect(),
            on_success: number(&raw.on_success, false),
            on_failure: number(&raw.on_failure, true),
            thresholds,
            redact: number(&raw.redact, false),
        }
    }

    fn sink(
        &mut self,
        raw: &At<RawSink>,
        hooks: &Hooks,
        names: &[&str],
        seen: &mut HashMap<String, Range<usize>>,
    ) -> Option<Sink> {
        let table = &raw.span;
        let raw = &raw.value;
        let name = self.name(table, "name", &raw.name, seen);
        let target = self.target(table, raw);
        let format = raw
            .format
            .as_ref()
            .and_then(|format| self.format_script(format, hooks));
        for event in &raw.only {
            self.event(event);
        }
        let databases = raw
            .databases
            .iter()
            .filter_map(|name| self.known_database(name, names))
            .collect();
        let secret = raw.secret.as_ref().and_then(|secret| {
            if raw.webhook.is_none() {
                self.error(&secret.span, "`secret` signs a `webhook` only")
                    .hint("remove it");
            }
            self.secret("secret", secret)
        });
        let (kind, url) = target?;
        Some(Sink {
            name: name?,
            kind,
            url,
            format,
            only: super::basics::texts(&raw.only),
            min_severity: number(&raw.min_severity, Default::default()),
            databases,
            secret,
            allow_private: number(&raw.allow_private, false),
        })
    }

    /// The one key that gives the sink's kind and URL.
    fn target(
        &mut self,
        table: &Range<usize>,
        raw: &RawSink,
    ) -> Option<(SinkKind, crate::config::Secret)> {
        let hint = "write one of `discord`, `slack`, `ntfy`, `webhook` and `heartbeat`";
        let mut given: Vec<(SinkKind, &At<String>)> = [
            (SinkKind::Discord, &raw.discord),
            (SinkKind::Slack, &raw.slack),
            (SinkKind::Ntfy, &raw.ntfy),
            (SinkKind::Webhook, &raw.webhook),
            (SinkKind::Heartbeat, &raw.heartbeat),
        ]
        .into_iter()
        .filter_map(|(kind, raw)| raw.as_ref().map(|raw| (kind, raw)))
        .collect();
        given.sort_by_key(|(_, raw)| raw.span.start);
        match given.as_slice() {
            [] => {
                self.findings
                    .absent(table.clone(), "a sink needs an address", hint);
                None
            }
            [(kind, url)] => {
                let secret = self.secret(kind.as_str(), url)?;
                let text = secret.expose();
                if !text.starts_with("https://") && !text.starts_with("http://") {
                    let message = format!("`{}` is not a URL", kind.as_str());
                    self.error(&url.span, message)
                        .hint("the value begins with `https://`");
                }
                Some((*kind, secret))
            }
            [(first, at), (second, other), ..] => {
                let message = format!(
                    "a sink is one kind, found `{}` and `{}`",
                    first.as_str(),
                    second.as_str()
                );
                self.error(&other.span, message)
                    .hint("write a second `[[alerts.sink]]`")
                    .also(at.span.clone(), "the first one");
                None
            }
        }
    }

    fn format_script(&mut self, raw: &At<String>, hooks: &Hooks) -> Option<PathBuf> {
        let stem = |path: &PathBuf| path.file_stem().map(|s| s.to_string_lossy().into_owned());
        let script = hooks
            .scripts
            .iter()
            .find(|path| stem(path).as_ref() == Some(&raw.value));
        if script.is_none() {
            let stems: Vec<String> = hooks.scripts.iter().filter_map(stem).collect();
            let hint = did_you_mean(&raw.value, stems.iter().map(String::as_str));
            self.error(&raw.span, format!("no script is called `{}`", raw.value))
                .hint("list its file in `[hooks] scripts`")
                .maybe_hint(hint);
        }
        script.cloned()
    }

    fn event(&mut self, raw: &At<String>) {
        if events().any(|event| event == raw.value) {
            return;
        }
        let hint = did_you_mean(&raw.value, events()).unwrap_or_else(|| {
            let events: Vec<&str> = events().collect();
            format!("the events are {}", events.join(", "))
        });
        self.error(&raw.span, format!("unknown event `{}`", raw.value))
            .hint(hint);
    }

    fn known_database(&mut self, raw: &At<String>, names: &[&str]) -> Option<DatabaseName> {
        if names.contains(&raw.value.as_str()) {
            return raw.value.parse().ok();
        }
        let hint = did_you_mean(&raw.value, names.iter().copied())
            .unwrap_or_else(|| "name a `[[database]]` of this file".to_owned());
        self.error(&raw.span, format!("unknown database `{}`", raw.value))
            .hint(hint);
        None
    }
}
