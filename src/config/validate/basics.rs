//! Checks `[agent]`, `[schedule]`, `[export]`, `[retention]` and `[hooks]`.

use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;

use super::{Checker, number};
use crate::config::expand::is_name;
use crate::config::model::{Agent, Export, ExportValues, Hooks, Jobs, Retention};
use crate::config::raw::{At, RawAgent, RawExport, RawHooks, RawRetention, RawSchedule};
use crate::config::shape::did_you_mean;
use crate::schedule::Schedule;

const HOUR: Duration = Duration::from_secs(3600);

/// Word for a job that is switched off.
const NEVER: &str = "never";

/// Shortest time limit: a shorter one is a typing mistake, because a connection alone takes as long.
pub(super) const TIMEOUT_LEAST: Duration = Duration::from_secs(1);

impl Checker<'_> {
    pub(super) fn agent(&mut self, raw: &RawAgent) -> Agent {
        if let Some(name) = &raw.name
            && (name.value.trim().is_empty() || name.value.chars().any(char::is_control))
        {
            self.error(&name.span, "`name` is empty or holds control characters")
                .hint("write one line, such as `grove`");
        }
        let default_state = self.sources.folder(0).join("state");
        Agent {
            name: raw
                .name
                .as_ref()
                .map_or("patina".to_owned(), |name| name.value.clone()),
            state: raw
                .state
                .as_ref()
                .map_or(default_state, |state| self.path(state)),
            timezone: self.timezone(&raw.timezone),
        }
    }

    fn timezone(&mut self, raw: &Option<At<String>>) -> Tz {
        let Some(raw) = raw else { return Tz::UTC };
        raw.value.parse().unwrap_or_else(|_| {
            let names = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
            let hint = did_you_mean(&raw.value, names)
                .unwrap_or_else(|| "use an IANA name, such as `Europe/Berlin`".to_owned());
            self.error(&raw.span, format!("unknown time zone `{}`", raw.value))
                .hint(hint);
            Tz::UTC
        })
    }

    pub(super) fn jobs(&mut self, raw: &RawSchedule) -> Jobs {
        Jobs {
            nightly: self.job("nightly", &raw.nightly, "0 3 * * *"),
            weekly: self.job("weekly", &raw.weekly, "0 4 * * 0"),
            reconcile: self.job("reconcile", &raw.reconcile, "0 5 * * 0"),
            verify: self.job("verify", &raw.verify, "30 5 * * *"),
            drill: self.optional_job("drill", &raw.drill, "0 6 1 * *"),
            catch_up: self.duration("catch_up", &raw.catch_up, 12 * HOUR, Duration::ZERO),
        }
    }

    fn job(&mut self, key: &str, raw: &Option<At<String>>, default: &str) -> Schedule {
        self.schedule(key, raw)
            .unwrap_or_else(|| default.parse().expect("the defaults are tested"))
    }

    /// Schedule of a job that can be switched off; `None`: it is.
    fn optional_job(
        &mut self,
        key: &str,
        raw: &Option<At<String>>,
        default: &str,
    ) -> Option<Schedule> {
        let is_off = |raw: &At<String>| raw.value.trim().eq_ignore_ascii_case(NEVER);
        match raw {
            Some(raw) if is_off(raw) => None,
            raw => Some(self.job(key, raw, default)),
        }
    }

    pub(super) fn export(&mut self, raw: &RawExport) -> Export {
        let timeout = Duration::from_secs(30);
        Export {
            concurrency: number(&raw.concurrency, 3) as usize,
            defaults: ExportValues {
                timeout: self.duration("timeout", &raw.timeout, timeout, TIMEOUT_LEAST),
                retries: number(&raw.retries, 3),
                compression: number(&raw.compression, Default::default()),
                verify: number(&raw.verify, Default::default()),
            },
        }
    }

    pub(super) fn retention(&mut self, raw: &RawRetention) -> Retention {
        Retention {
            daily_days: number(&raw.daily_days, 7),
            weekly_weeks: number(&raw.weekly_weeks, 12),
            min_copies: number(&raw.min_copies, 2),
            grace: self.duration("grace", &raw.grace, Duration::ZERO, Duration::ZERO),
        }
    }

    pub(super) fn hooks(&mut self, raw: &RawHooks) -> Hooks {
        let timeout = Duration::from_secs(10);
        for name in &raw.env_allow {
            if !is_name(&name.value) {
                let message = format!("`{}` is not a variable's name", name.value);
                self.error(&name.span, message)
                    .hint("use letters, digits and `_`");
            }
        }
        for host in &raw.http_allow {
            let bare = ["https://", "http://"]
                .iter()
                .find_map(|scheme| host.value.strip_prefix(scheme))
                .unwrap_or(&host.value);
            if bare.is_empty() || bare.contains(['/', ' ', '@', '?', '#']) {
                self.error(&host.span, format!("`{}` is not a host", host.value))
                    .hint("write the host alone, such as `events.pagerduty.com`");
            }
        }
        Hooks {
            scripts: raw.scripts.iter().map(|path| self.script(path)).collect(),
            timeout: self.duration("timeout", &raw.timeout, timeout, Duration::from_millis(1)),
            http_allow: texts(&raw.http_allow),
            exec_allow: raw
                .exec_allow
                .iter()
                .map(|path| self.program(path))
                .collect(),
            env_allow: texts(&raw.env_allow),
            on_error: number(&raw.on_error, Default::default()),
        }
    }

    /// Path of a script; the file must exist.
    pub(super) fn script(&mut self, raw: &At<String>) -> PathBuf {
        let path = self.path(raw);
        if !self.env.is_file(&path) {
            self.error(&raw.span, format!("script `{}` is not there", raw.value))
                .hint(format!("looked for `{}`", path.display()));
        }
        self.inputs.push(path.clone());
        path
    }

    fn program(&mut self, raw: &At<String>) -> PathBuf {
        let path = PathBuf::from(&raw.value);
        if !path.is_absolute() {
            self.error(
                &raw.span,
                format!("`{}` is not an absolute path", raw.value),
            )
            .hint("write where the program lies, such as `/usr/bin/logger`");
        }
        path
    }
}

/// Values of a list without their places.
pub(super) fn texts(list: &[At<String>]) -> Vec<String> {
    list.iter().map(|item| item.value.clone()).collect()
}
