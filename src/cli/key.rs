//! `patina key new`: a key for the API, shown once.

use anyhow::anyhow;
use chrono::{NaiveDate, TimeDelta};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;

use super::args::{KeyArgs, ScopeArg};
use super::context::Context;
use super::exit::{Exit, Refusal};
use crate::clock::{Clock, SystemClock};
use crate::http::key_digest;

/// 256 bits: nobody guesses them.
const SECRET_BYTES: usize = 32;

/// Enough to tell keys apart in a log.
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
    let key = format!("ptk_{id}_{secret}");
    if context.json {
        context.print_json(&json!({
            "key": key, "id": id, "sha256": sha256, "scopes": scopes, "expires": expires,
        }))?;
        return Ok(Exit::Ok);
    }
    let quoted: Vec<String> = scopes.iter().map(|scope| format!("\"{scope}\"")).collect();
    let mut lines = vec![
        "[[http.key]]".to_owned(),
        format!("id      = \"{id}\""),
        format!("sha256  = \"{sha256}\""),
        format!("scopes  = [{}]", quoted.join(", ")),
    ];
    lines.extend(expires.map(|day| format!("expires = \"{day}\"")));
    context.print(format_args!(
        "The key, shown this once; clients send it as the header X-Patina-Key:\n\n  {key}\n\n\
         For patina.toml, which keeps its digest alone; a running daemon takes it within a second of saving the file, and \
         `patina reload` says whether it did:\n\n{}",
        lines.join("\n")
    ))?;
    Ok(Exit::Ok)
}

fn random(length: usize) -> anyhow::Result<String> {
    let mut bytes = vec![0; length];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| anyhow!("the system gives no random numbers"))?;
    Ok(hex::encode(bytes))
}

/// A day as it is, or the day that lies so long ahead.
fn expiry(text: &str) -> Result<String, Refusal> {
    if NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok() {
        return Ok(text.to_owned());
    }
    let ahead = humantime::parse_duration(text).ok();
    let ahead = ahead.and_then(|ahead| TimeDelta::from_std(ahead).ok());
    let day = ahead.and_then(|ahead| SystemClock::new().now().checked_add_signed(ahead));
    day.map(|day| day.date_naive().to_string()).ok_or_else(|| {
        let text = format!("`{text}` is no expiry\nhint: write a day, 2027-01-31, or a time, 90d");
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
