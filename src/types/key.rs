//! Represents keys of objects in a store. Invariant: a key has one of the forms below, so that it never leaves its
//! folder.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use chrono::{NaiveTime, Timelike};

use super::date::decimal;
use super::{BackupDate, Compression, DatabaseName, IsoWeek, Refused};

const RULE: &str = "keys are daily/YYYY-MM-DD/<db>[~HHMMSSZ].sql or .sqlite [.gz|.zst], \
                    weekly/GGGG-Www.tar.gz, or manifests/ and one of these with .json";

/// Form of a copy, which determines the suffix of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum CopyForm {
    /// SQL text that recreates the database.
    #[default]
    Sql,
    /// Pages of a SQLite file, unchanged.
    Image,
}

impl CopyForm {
    /// Word in JSON: `sql` or `image`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sql => "sql",
            Self::Image => "image",
        }
    }

    /// Description for people, to follow `the copy is`.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Sql => "SQL text",
            Self::Image => "an image of the file's pages",
        }
    }

    /// Suffix after the name in a key: `.sql` or `.sqlite`.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Sql => ".sql",
            Self::Image => ".sqlite",
        }
    }
}

/// Kind of object that a key names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyKind {
    /// Dump of one database of one day.
    Daily {
        /// The day.
        date: BackupDate,
        /// The database.
        database: DatabaseName,
        /// UTC time that distinguishes a later copy from the day's first one.
        time: Option<NaiveTime>,
        /// Form of the copy.
        form: CopyForm,
        /// Compression.
        compression: Compression,
    },
    /// Archive of one week.
    Weekly {
        /// The week.
        week: IsoWeek,
    },
    /// Commit record of another object.
    Manifest {
        /// Key of that object.
        of: Box<ObjectKey>,
    },
    /// Claim: states which installation, and which run of it, uses a storage.
    Claim {
        /// Number of the claim; the highest one is in effect.
        number: u64,
    },
}

/// Key of an object in a store. Its text determines its kind, so it is compared by text only; clones share the text,
/// because an inventory may contain many.
#[derive(Debug, Clone)]
pub struct ObjectKey {
    text: Arc<str>,
    kind: KeyKind,
}

impl PartialEq for ObjectKey {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for ObjectKey {}

impl Hash for ObjectKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for ObjectKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ObjectKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl ObjectKey {
    /// Returns the key of a daily dump; `time` (UTC) distinguishes a later copy of the same day from the first.
    pub fn daily(
        date: BackupDate,
        database: &DatabaseName,
        time: Option<NaiveTime>,
        form: CopyForm,
        compression: Compression,
    ) -> Self {
        Self::from_kind(KeyKind::Daily {
            date,
            database: database.clone(),
            // The text has whole seconds, and a key must equal the one parsed from its text.
            time: time.and_then(|time| time.with_nanosecond(0)),
            form,
            compression,
        })
    }

    /// Returns the key of a week's archive.
    pub fn weekly(week: IsoWeek) -> Self {
        Self::from_kind(KeyKind::Weekly { week })
    }

    /// Returns the key of the claim with this number.
    pub fn claim(number: u64) -> Self {
        Self::from_kind(KeyKind::Claim { number })
    }

    /// Returns the key of this object's commit record.
    pub fn manifest(&self) -> Self {
        Self::from_kind(KeyKind::Manifest {
            of: Box::new(self.clone()),
        })
    }

    /// Text of the key in stores.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Kind of object that the key names.
    pub fn kind(&self) -> &KeyKind {
        &self.kind
    }

    /// Form of the copy of this key; archives and claims, which have none, give [`CopyForm::Sql`].
    pub fn form(&self) -> CopyForm {
        match &self.kind {
            KeyKind::Daily { form, .. } => *form,
            KeyKind::Manifest { of } => of.form(),
            KeyKind::Weekly { .. } | KeyKind::Claim { .. } => CopyForm::Sql,
        }
    }

    fn from_kind(kind: KeyKind) -> Self {
        let text = match &kind {
            KeyKind::Daily {
                date,
                database,
                time,
                form,
                compression,
            } => {
                let time = time.map_or(String::new(), |t| t.format("~%H%M%SZ").to_string());
                let (form, compression) = (form.suffix(), compression.suffix());
                format!("daily/{date}/{database}{time}{form}{compression}")
            }
            KeyKind::Weekly { week } => format!("weekly/{week}.tar.gz"),
            KeyKind::Manifest { of } => format!("manifests/{of}.json"),
            KeyKind::Claim { number } => format!("claims/{number:08}.json"),
        };
        Self {
            text: text.into(),
            kind,
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl FromStr for ObjectKey {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        // Each part has one spelling, so the text equals the one generated from its kind.
        let kind = parse_kind(text).ok_or_else(|| Refused {
            what: "object key",
            value: text.to_owned(),
            rule: RULE,
        })?;
        Ok(Self {
            text: text.into(),
            kind,
        })
    }
}

super::text_serde!(ObjectKey);

fn parse_kind(text: &str) -> Option<KeyKind> {
    if let Some(rest) = text.strip_prefix("manifests/") {
        let of: ObjectKey = rest.strip_suffix(".json")?.parse().ok()?;
        let has_one = matches!(of.kind, KeyKind::Daily { .. } | KeyKind::Weekly { .. });
        return has_one.then(|| KeyKind::Manifest { of: Box::new(of) });
    }
    if let Some(rest) = text.strip_prefix("claims/") {
        let number = rest.strip_suffix(".json")?.parse().ok()?;
        return (rest.trim_end_matches(".json") == format!("{number:08}"))
            .then_some(KeyKind::Claim { number });
    }
    if let Some(rest) = text.strip_prefix("weekly/") {
        let week = rest.strip_suffix(".tar.gz")?.parse().ok()?;
        return Some(KeyKind::Weekly { week });
    }
    let (date, file) = text.strip_prefix("daily/")?.split_once('/')?;
    // Database names contain no dot.
    let (stem, suffix) = file.split_once('.')?;
    let (form, suffix) = [CopyForm::Image, CopyForm::Sql]
        .into_iter()
        .find_map(|form| Some((form, suffix.strip_prefix(&form.suffix()[1..])?)))?;
    let compression = [Compression::None, Compression::Gzip, Compression::Zstd]
        .into_iter()
        .find(|compression| compression.suffix() == suffix)?;
    let (database, time) = match stem.split_once('~') {
        None => (stem, None),
        Some((name, time)) => (name, Some(parse_time(time)?)),
    };
    Some(KeyKind::Daily {
        date: date.parse().ok()?,
        database: database.parse().ok()?,
        time,
        form,
        compression,
    })
}

fn parse_time(text: &str) -> Option<NaiveTime> {
    let &[h1, h2, m1, m2, s1, s2, b'Z'] = text.as_bytes() else {
        return None;
    };
    NaiveTime::from_hms_opt(
        decimal(&[h1, h2])?,
        decimal(&[m1, m2])?,
        decimal(&[s1, s2])?,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_equal_to_what_its_text_says() {
        let date = "2026-11-22".parse().unwrap();
        let time = NaiveTime::from_hms_milli_opt(3, 4, 5, 678);
        let key = ObjectKey::daily(
            date,
            &"blog".parse().unwrap(),
            time,
            CopyForm::Image,
            Compression::Zstd,
        );
        assert_eq!(key.as_str().parse::<ObjectKey>().unwrap(), key);
    }

    #[test]
    fn a_weeks_archive_is_named_after_its_iso_week() {
        let sunday: BackupDate = "2027-01-03".parse().unwrap();
        let key = ObjectKey::weekly(sunday.week());
        assert_eq!(key.as_str(), "weekly/2026-W53.tar.gz");
        assert_eq!(key.as_str().parse::<ObjectKey>().unwrap(), key);
    }

    #[test]
    fn every_form_of_key_is_read_back_as_it_was_written() {
        let keys = [
            "daily/2026-11-22/scout-db.sql",
            "daily/2026-11-22/scout-db.sql.gz",
            "daily/2026-11-22/a~031500Z.sql.zst",
            "daily/2026-11-22/a.sqlite",
            "daily/2026-11-22/a~031500Z.sqlite.gz",
            "weekly/2026-W53.tar.gz",
            "manifests/daily/2026-11-22/scout-db.sql.json",
            "manifests/weekly/2026-W47.tar.gz.json",
            "claims/00000042.json",
            "claims/123456789.json",
        ];
        for text in keys {
            let key = text.parse::<ObjectKey>().unwrap();
            assert_eq!(key.as_str(), text);
            assert_eq!(ObjectKey::from_kind(key.kind().clone()).as_str(), text);
        }
    }

    #[test]
    fn a_key_of_another_form_is_refused() {
        let keys = [
            "",
            "daily",
            "daily/2026-11-22/../x.sql",
            "daily/2026-11-22/A.sql",
            "daily/2026-2-1/a.sql",
            "daily/2026-11-22/a.sql.bz2",
            "daily/2026-11-22/a.sqlite.bz2",
            "daily/2026-11-22/a.sqlite3",
            "daily/2026-11-22/a.db",
            "daily/2026-11-22/a~31500Z.sql",
            "daily/2026-11-22/a~0315000Z.sql",
            "daily/2026-11-22/a~240000Z.sql",
            "daily/+026-11-22/a.sql",
            "daily/2026-11-31/a.sql",
            "weekly/2026-W5.tar.gz",
            "weekly/2027-W53.tar.gz",
            "manifests/manifests/weekly/2026-W47.tar.gz.json.json",
            "claims/42.json",
            "claims/+0000042.json",
            "claims/000000042.json",
            "claims/00000042.json.json",
            "manifests/claims/00000042.json.json",
            "/etc/passwd",
        ];
        for text in keys {
            assert!(text.parse::<ObjectKey>().is_err(), "{text}");
        }
    }
}
