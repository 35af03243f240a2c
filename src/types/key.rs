//! Names objects in a store. Invariant: a key is one of the forms below, so it can never leave its folder.

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

/// What a copy is: the text after its database's name in a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum CopyForm {
    /// SQL text that makes the database anew.
    #[default]
    Sql,
    /// The pages of a SQLite file as they were.
    Image,
}

impl CopyForm {
    /// The word in JSON: `sql` or `image`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sql => "sql",
            Self::Image => "image",
        }
    }

    /// What it is, for people: what follows `the copy is`.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Sql => "SQL text",
            Self::Image => "an image of the file's pages",
        }
    }

    /// What follows the name in a key: `.sql` or `.sqlite`.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Sql => ".sql",
            Self::Image => ".sqlite",
        }
    }
}

/// What a key names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyKind {
    /// One database's dump of one day.
    Daily {
        /// The day.
        date: BackupDate,
        /// The database.
        database: DatabaseName,
        /// The UTC time that tells a later copy from the day's first one.
        time: Option<NaiveTime>,
        /// What it is.
        form: CopyForm,
        /// How it is compressed.
        compression: Compression,
    },
    /// One week's archive.
    Weekly {
        /// The week.
        week: IsoWeek,
    },
    /// The commit record of another object.
    Manifest {
        /// The object's key.
        of: Box<ObjectKey>,
    },
    /// What says which installation, and which run of it, works in a place.
    Claim {
        /// Its number; the highest one counts.
        number: u64,
    },
}

/// The key of an object in a store. Its text says all that its kind does, so it is compared by its text alone; a clone
/// shares it, for an inventory may have many.
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
    /// The key of a daily dump; `time` (UTC) tells a later copy of the same day from the first.
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
            // The text has whole seconds, and a key is equal to what its text says.
            time: time.and_then(|time| time.with_nanosecond(0)),
            form,
            compression,
        })
    }

    /// The key of a week's archive.
    pub fn weekly(week: IsoWeek) -> Self {
        Self::from_kind(KeyKind::Weekly { week })
    }

    /// The key of the claim with this number.
    pub fn claim(number: u64) -> Self {
        Self::from_kind(KeyKind::Claim { number })
    }

    /// The key of this object's commit record.
    pub fn manifest(&self) -> Self {
        Self::from_kind(KeyKind::Manifest {
            of: Box::new(self.clone()),
        })
    }

    /// The key as stores spell it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What the key names.
    pub fn kind(&self) -> &KeyKind {
        &self.kind
    }

    /// What the copy of this key is; an archive has no form of its own.
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
        // Each part has one spelling, so the text is the one that its kind would get.
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
    // No database's name has a dot.
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
