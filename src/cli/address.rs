//! Parses addresses of copies and finds the copies: `blog`, `blog@latest~2`, `blog@2026-11-20`, or a key.

use std::fmt;
use std::str::FromStr;

use super::context::tell;
use super::exit::Refusal;
use super::names::unknown_database;
use crate::catalog::{Catalog, CopyFilter};
use crate::config::Config;
use crate::copy::{Found, by_key};
use crate::types::{BackupDate, DatabaseName, EvidenceClass, KeyKind, ObjectKey, counted};

/// The address of one copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// A copy of a database.
    Copy {
        /// The database.
        database: DatabaseName,
        /// Selection among its copies.
        when: When,
    },
    /// The object with this key.
    Key(ObjectKey),
}

/// Selection of one copy of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// The newest, or this number of copies before it.
    Latest(usize),
    /// The newest of a day.
    Day(BackupDate),
}

/// The reason that a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unreadable(String);

impl FromStr for Address {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let told = |error: &dyn fmt::Display| Unreadable(error.to_string());
        if text.contains('/') {
            let key: ObjectKey = text.parse().map_err(|error| told(&error))?;
            return Ok(Self::Key(match key.kind() {
                KeyKind::Manifest { of } => of.as_ref().clone(),
                _ => key,
            }));
        }
        let (name, when) = text.split_once('@').unwrap_or((text, "latest"));
        Ok(Self::Copy {
            database: name.parse().map_err(|error| told(&error))?,
            when: when.parse()?,
        })
    }
}

impl FromStr for When {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        if let Some(back) = text.strip_prefix("latest") {
            let back = match back.strip_prefix('~') {
                None if back.is_empty() => Some(0),
                None => None,
                Some(number) => digits(number),
            };
            if let Some(back) = back {
                return Ok(Self::Latest(back));
            }
        }
        text.parse().map(Self::Day).map_err(|_| {
            Unreadable(format!(
                "`@{}` names no copy: write `@latest`, `@latest~1` or `@YYYY-MM-DD`",
                crate::quote::name(text)
            ))
        })
    }
}

/// Parses a plain number; `+1` is not accepted.
fn digits(text: &str) -> Option<usize> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "{key}"),
            Self::Copy { database, when } => match when {
                When::Latest(0) => write!(f, "{database}"),
                When::Latest(back) => write!(f, "{database}@latest~{back}"),
                When::Day(date) => write!(f, "{database}@{date}"),
            },
        }
    }
}

/// Finds the copy at `address`.
///
/// # Errors
/// If it does not exist; the text names the existing copies.
pub(super) fn resolve(
    address: &Address,
    catalog: &Catalog,
    config: &Config,
) -> anyhow::Result<Found> {
    let (database, when) = match address {
        Address::Key(key) => {
            let text = format!("no copy has the key `{key}`\nhint: `patina list` shows all keys");
            return Ok(by_key(key, catalog)?.ok_or(Refusal::failed(text))?);
        }
        Address::Copy { database, when } => (database, when),
    };
    let (date, position) = match *when {
        When::Latest(back) => (None, back),
        When::Day(date) => (Some(date), 0),
    };
    let held = catalog.held(database, date, Some(position.saturating_add(1)))?;
    let found = match held.get(position) {
        Some(held) => by_key(&held.key, catalog)?,
        None => None,
    };
    match found {
        Some(found) => {
            tell_passed_over(database, date, &found, catalog)?;
            Ok(found)
        }
        None => Err(nothing(address, database, catalog, config)?.into()),
    }
}

/// Warns if a suspect or doubtful copy is newer than the chosen one, or is the chosen one.
fn tell_passed_over(
    database: &DatabaseName,
    date: Option<BackupDate>,
    found: &Found,
    catalog: &Catalog,
) -> anyhow::Result<()> {
    let manifest = found.manifest();
    if manifest.class == EvidenceClass::S {
        tell(format_args!(
            "warning: {} is SUSPECT: its source was damaged when it was made, and there is no other copy to take",
            manifest.key
        ));
        return Ok(());
    }
    let held = catalog.held(database, date, None)?;
    let ahead = held.iter().find(|held| held.is_ahead);
    match ahead.filter(|ahead| ahead.date >= manifest.date) {
        Some(ahead) if ahead.key == manifest.key => tell(format_args!(
            "warning: the date of {} is wrong: a clock was ahead when it was made, or somebody put it there; there is no \
             later copy",
            ahead.key
        )),
        Some(ahead) => tell(format_args!(
            "note: the date of {} is wrong: a clock was ahead when it was made, or somebody put it there; taken is {}, \
             which was made later",
            ahead.key, manifest.key
        )),
        None => {}
    }
    let unconfirmed = held.iter().find(|held| held.is_unconfirmed);
    match unconfirmed.filter(|found| found.date >= manifest.date) {
        Some(found) if found.key == manifest.key => tell(format_args!(
            "warning: {} is UNCONFIRMED: it was found in a storage and never stored by this catalog; there is no other copy \
             to take",
            found.key
        )),
        Some(found) => tell(format_args!(
            "note: {} is UNCONFIRMED: it was found in a storage and never stored by this catalog; taken is {}",
            found.key, manifest.key
        )),
        None => {}
    }
    let newer = held.iter().find(|held| held.is_suspect);
    if let Some(newer) = newer.filter(|newer| newer.date >= manifest.date) {
        tell(format_args!(
            "note: {} is newer, and suspect: its source was damaged when it was made; taken is {}",
            newer.key, manifest.key
        ));
    }
    Ok(())
}

/// Builds the error that names the existing copies instead.
fn nothing(
    address: &Address,
    database: &DatabaseName,
    catalog: &Catalog,
    config: &Config,
) -> anyhow::Result<Refusal> {
    let held = catalog.held(database, None, None)?;
    if let (Some(newest), Some(oldest)) = (held.first(), held.last()) {
        let (newest, oldest) = (&newest.key, &oldest.key);
        let what = match held.len() {
            1 => format!("the only copy is {newest}"),
            count => format!("there are {count}; the newest is {newest}, the oldest {oldest}"),
        };
        let text = format!("`{address}` names no copy\nhint: {what}");
        return Ok(Refusal::failed(text));
    }
    if let Some(others) = catalog.others_of(database)? {
        let (count, newest, instance) = (others.copies, &others.newest, &others.instance);
        let text = format!(
            "this installation has no copy of `{database}`; another one (`{instance}`) has {}\n\
             hint: its newest is {newest}: that key names it; if this installation lost its state folder, \
             `patina rebuild --instance {instance}` goes on as that one",
            counted(count, "copy")
        );
        return Ok(Refusal::failed(text));
    }
    if config.database(database).is_some() {
        let text = format!("there is no copy of `{database}` yet\nhint: patina backup {database}");
        return Ok(Refusal::failed(text));
    }
    unknown(database, catalog, config)
}

/// Builds the error for a name that neither the configuration nor the catalog has.
pub(super) fn unknown(
    database: &DatabaseName,
    catalog: &Catalog,
    config: &Config,
) -> anyhow::Result<Refusal> {
    let copies = catalog.copies(&CopyFilter::default())?;
    let stored = copies.iter().map(|copy| copy.manifest.database.as_str());
    let configured = config.databases().iter().map(|known| known.name.as_str());
    let mut known: Vec<&str> = configured.collect();
    for name in stored {
        if !known.contains(&name) {
            known.push(name);
        }
    }
    Ok(Refusal::usage(unknown_database(
        database,
        known.into_iter(),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(database: &str, when: When) -> Address {
        Address::Copy {
            database: database.parse().unwrap(),
            when,
        }
    }

    #[test]
    fn every_form_of_address_is_read() {
        let day = When::Day("2026-11-20".parse().unwrap());
        for (text, address) in [
            ("blog", copy("blog", When::Latest(0))),
            ("blog@latest", copy("blog", When::Latest(0))),
            ("blog@latest~0", copy("blog", When::Latest(0))),
            ("blog@latest~12", copy("blog", When::Latest(12))),
            ("blog@2026-11-20", copy("blog", day)),
        ] {
            assert_eq!(text.parse::<Address>().unwrap(), address, "{text}");
        }
        let key = "daily/2026-11-20/blog~031500Z.sql.gz";
        let address = Address::Key(key.parse().unwrap());
        assert_eq!(key.parse::<Address>().unwrap(), address);
        let manifest = format!("manifests/{key}.json");
        assert_eq!(manifest.parse::<Address>().unwrap(), address);
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_forms_there_are() {
        for text in [
            "",
            "@latest",
            "Blog",
            "blog@",
            "blog@latest~",
            "blog@latest~x",
            "blog@latest~-1",
            "blog@latest~+1",
            "blog@latestx",
            "blog@yesterday",
            "blog@2026-02-30",
            "blog@latest@latest",
            "../etc/passwd",
            "daily/2026-11-20/blog.db",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
        let error = "blog@noon".parse::<Address>().unwrap_err().to_string();
        assert!(error.contains("`@latest~1` or `@YYYY-MM-DD`"), "{error}");
    }
}
