//! `patina key`: creates a key for the API, which is shown once, and lists the keys with age and last use.

use anyhow::anyhow;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;

use super::args::{KeyArgs, ScopeArg};
use super::context::Context;
use super::exit::{Exit, Refusal};
use super::table::{Side, Table};
use crate::app;
use crate::catalog::LastUse;
use crate::clock::{Clock, SystemClock};
use crate::config::{ApiKey, Config};
use crate::engine::keys::{self, KeyAge};
use crate::http::key_digest;
use crate::types::counted;

/// Length of a secret: 256 bits cannot be guessed.
const SECRET_BYTES: usize = 32;

/// Length of a random id: enough to distinguish keys in a log.
const ID_BYTES: usize = 4;

/// Runs `patina key new`.
pub(super) fn new(context: &Context, args: &KeyArgs) -> anyhow::Result<Exit> {
    let id = match &args.id {
        Some(id) => id.clone(),
        None => format!("k{}", random(ID_BYTES)?),
    };
    let secret = random(SECRET_BYTES)?;
    let expires = args.expires.as_deref().map(expiry).transpose()?;
    let scopes: Vec<&str> = args.scope.iter().map(|scope| scope.word()).collect();
    let sha256 = key_digest(&secret);
    let created = SystemClock::new().now().date_naive().to_string();
    let key = format!("ptk_{id}_{secret}");
    if context.json {
        context.print_json(&json!({
            "key": key, "id": id, "sha256": sha256, "scopes": scopes, "created": created,
            "expires": expires,
        }))?;
        return Ok(Exit::Ok);
    }
    let quoted: Vec<String> = scopes.iter().map(|scope| format!("\"{scope}\"")).collect();
    let mut lines = vec![
        "[[http.key]]".to_owned(),
        format!("id      = \"{id}\""),
        format!("sha256  = \"{sha256}\""),
        format!("scopes  = [{}]", quoted.join(", ")),
        format!("created = \"{created}\""),
    ];
    lines.extend(expires.map(|day| format!("expires = \"{day}\"")));
    context.print(format_args!(
        "The key, shown this once; clients send it as the header X-Patina-Key:\n\n  {key}\n\n\
         For patina.toml, which keeps its digest alone; a running daemon takes it within a second of saving the file, and \
         `patina reload` says whether it did:\n\n{}\n\n\
         To replace a key, leave the old entry until every client has this one: `patina key list` shows when each was \
         used last.",
        lines.join("\n")
    ))?;
    Ok(Exit::Ok)
}

/// A key, its age, and its last use.
struct Known<'a> {
    key: &'a ApiKey,
    age: KeyAge,
    used: Option<LastUse>,
}

/// Runs `patina key list`.
pub(super) fn list(context: &Context) -> anyhow::Result<Exit> {
    let config = context.load()?.config;
    let now = SystemClock::new().now();
    let catalog = app::known(&config)?;
    let ages = keys::ages(config.http(), catalog.as_ref(), now)?;
    let mut known = Vec::with_capacity(ages.len());
    for (key, age) in config.http().keys.iter().zip(ages) {
        let used = match &catalog {
            Some(catalog) => catalog.last_use(&format!("key:{}", key.id))?,
            None => None,
        };
        known.push(Known { key, age, used });
    }
    if context.json {
        let keys: Vec<_> = known.iter().map(|known| document(known, now)).collect();
        context.print_json(&json!({ "keys": keys }))?;
        return Ok(Exit::Ok);
    }
    if known.is_empty() {
        context.print("there is no key in patina.toml\nhint: `patina key new` makes one")?;
        return Ok(Exit::Ok);
    }
    context.print(table(&known, now))?;
    let due = known
        .iter()
        .filter(|known| known.age.is_due && !known.age.is_expired);
    for known in due {
        let advice = keys::advice(&known.age, config.http(), now);
        context.print(format_args!("\n{advice}"))?;
    }
    Ok(Exit::Ok)
}

fn table(known: &[Known<'_>], now: DateTime<Utc>) -> Table<6> {
    let mut table = Table::new([
        ("KEY", Side::Left),
        ("MAY", Side::Left),
        ("AGE", Side::Right),
        ("LAST USED", Side::Left),
        ("EXPIRES", Side::Left),
        ("STATE", Side::Left),
    ]);
    for Known { key, age, used } in known {
        let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
        let days = match age.days(now) {
            None => "not known yet".to_owned(),
            // It was created before it was first seen.
            Some(days) if !age.is_stated => format!("{} or more", counted(days, "day")),
            Some(days) => counted(days, "day"),
        };
        let used = used.as_ref().map_or_else(
            || "never seen".to_owned(),
            |used| {
                let at = used.at.format("%Y-%m-%d %H:%M UTC");
                format!("{at} from {}", used.address)
            },
        );
        let expires = key.expires.map_or_else(
            || "never".to_owned(),
            |at| at.format("%Y-%m-%d").to_string(),
        );
        let state = state(age).to_owned();
        table.row([
            key.id.clone(),
            scopes.join(", "),
            days,
            used,
            expires,
            state,
        ]);
    }
    table
}

fn state(age: &KeyAge) -> &'static str {
    match age {
        KeyAge {
            is_expired: true, ..
        } => "expired",
        KeyAge { is_due: true, .. } => "replace it",
        _ => "good",
    }
}

fn document(known: &Known<'_>, now: DateTime<Utc>) -> serde_json::Value {
    let Known { key, age, used } = known;
    json!({
        "id": key.id,
        "scopes": key.scopes,
        "since": age.since,
        "is_stated": age.is_stated,
        "age_days": age.days(now),
        "last_used_at": used.as_ref().map(|used| used.at),
        "last_used_from": used.as_ref().map(|used| &used.address),
        "addresses": used.as_ref().map_or(0, |used| used.addresses),
        "expires": key.expires,
        "state": state(age),
    })
}

/// Returns warnings about keys that should be replaced, for `patina check`; from the configuration alone if there is no
/// catalog.
pub(super) fn warnings(config: &Config, now: DateTime<Utc>) -> Vec<String> {
    let catalog = app::known(config).ok().flatten();
    let ages = keys::ages(config.http(), catalog.as_ref(), now).unwrap_or_default();
    let due = ages.iter().filter(|age| age.is_due && !age.is_expired);
    due.map(|age| format!("warning: {}", keys::advice(age, config.http(), now)))
        .collect()
}

fn random(length: usize) -> anyhow::Result<String> {
    let mut bytes = vec![0; length];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| anyhow!("the system gives no random numbers"))?;
    Ok(hex::encode(bytes))
}

/// Returns a day unchanged, or the day after the given duration from now.
fn expiry(text: &str) -> Result<String, Refusal> {
    if NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok() {
        return Ok(text.to_owned());
    }
    let ahead = humantime::parse_duration(text).ok();
    let ahead = ahead.and_then(|ahead| TimeDelta::from_std(ahead).ok());
    let day = ahead.and_then(|ahead| SystemClock::new().now().checked_add_signed(ahead));
    day.map(|day| day.date_naive().to_string()).ok_or_else(|| {
        let text = format!(
            "`{text}` is not a valid expiry\nhint: write a day, 2027-01-31, or a time, 90d"
        );
        Refusal::usage(text)
    })
}

impl ScopeArg {
    fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Download => "download",
            Self::Trigger => "trigger",
            Self::Metrics => "metrics",
        }
    }
}
