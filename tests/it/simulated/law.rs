//! What must be true at noon of every day. It asks the bucket and the calendar, never the code that decides.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Europe::Berlin;
use patina::catalog::{Catalog, EventKind};
use patina::config::AlertLevel;
use patina::store::{MemoryStore, Store, read_small};
use patina::types::{ArchiveManifest, BackupDate, EvidenceClass, KeyKind, Manifest, ObjectKey};

/// Days of a daily copy and weeks of an archive, as they are without a word in the configuration.
const DAILY_DAYS: u64 = 7;
const WEEKLY_WEEKS: u64 = 12;

/// The hourly look is at this minute.
const LOOK_MINUTE: i64 = 7;

/// A copy that was proven once.
#[derive(Debug, Clone)]
struct Proven {
    database: String,
    date: BackupDate,
    at: DateTime<Utc>,
}

/// What lies in the bucket.
#[derive(Default)]
struct Stored {
    /// Copies that count and can be fetched, as an object of their own or in an archive.
    copies: BTreeMap<ObjectKey, Proven>,
    dailies: BTreeSet<BackupDate>,
    archives: BTreeSet<ObjectKey>,
}

/// What was seen so far of one installation.
#[derive(Default)]
pub(super) struct Book {
    known: BTreeMap<ObjectKey, Proven>,
    /// The days on which a database was late or stale at noon.
    late: BTreeSet<(String, BackupDate)>,
    stale: BTreeSet<(String, BackupDate)>,
    /// Days that the clock showed and that were another one: what was told then may be right or not.
    pub(super) wrong: BTreeSet<BackupDate>,
    /// The objects that were stored then.
    pub(super) misdated: BTreeSet<ObjectKey>,
    pub(super) weeks: u64,
}

/// What a phase leaves out of the law, as it must.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Exempt {
    /// A week may be without an archive of its own, and what waits for it stays.
    pub(super) week: bool,
    /// Copies that are old enough to go may still be there.
    pub(super) expiry: bool,
}

pub(super) fn day_of(at: DateTime<Utc>) -> BackupDate {
    BackupDate(at.with_timezone(&Berlin).date_naive())
}

async fn manifest<M: serde::de::DeserializeOwned>(bucket: &MemoryStore, key: &ObjectKey) -> M {
    let text = read_small(bucket, key, 1 << 22).await.unwrap().unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// Reads the bucket as somebody who has nothing else.
async fn stored(bucket: &MemoryStore, instance: &str) -> Stored {
    let listing = bucket.list().await.unwrap();
    let sizes: BTreeMap<_, _> = listing
        .objects
        .iter()
        .map(|(key, stat)| (key, stat.size_bytes))
        .collect();
    let mut stored = Stored::default();
    let mut add = |manifest: Manifest| {
        let counts =
            matches!(manifest.class, EvidenceClass::A | EvidenceClass::B) && !manifest.incomplete;
        if counts && manifest.instance == instance {
            let copy = Proven {
                database: manifest.database.to_string(),
                date: manifest.date,
                at: manifest.completed().unwrap(),
            };
            stored.copies.insert(manifest.key, copy);
        }
    };
    for (key, _) in &listing.objects {
        let KeyKind::Manifest { of } = key.kind() else {
            continue;
        };
        match of.kind() {
            KeyKind::Daily { date, .. } => {
                let found: Manifest = manifest(bucket, key).await;
                if sizes.get(of.as_ref()) == Some(&found.stored.size_bytes) {
                    if found.instance == instance && found.class != EvidenceClass::S {
                        stored.dailies.insert(*date);
                    }
                    add(found);
                }
            }
            _ => {
                let found: ArchiveManifest = manifest(bucket, key).await;
                if sizes.get(of.as_ref()) == Some(&found.stored.size_bytes)
                    && found.instance == instance
                {
                    stored.archives.insert(of.as_ref().clone());
                    found
                        .members
                        .into_iter()
                        .for_each(|member| add(member.manifest));
                }
            }
        }
    }
    stored
}

impl Book {
    /// Looks at the bucket and the catalog at noon.
    pub(super) async fn noon(
        &mut self,
        bucket: &MemoryStore,
        catalog: &Catalog,
        (now, exempt): (DateTime<Utc>, Exempt),
        databases: &[String],
    ) -> Result<(), String> {
        let stored = stored(bucket, &catalog.instance().unwrap()).await;
        self.known.extend(stored.copies.clone());
        let today = day_of(now);
        let sunday = today.week().last_day();
        let sunday = if sunday == today {
            today
        } else {
            sunday.minus_days(7)
        };
        self.lost(&stored, sunday)?;
        if today == sunday {
            self.weeks += 1;
            let key = ObjectKey::weekly(sunday.week());
            if !exempt.week && !stored.archives.contains(&key) {
                return Err(format!("{today}: {key} is not there"));
            }
        }
        let oldest = stored.dailies.first().copied().unwrap_or(today);
        if !exempt.expiry && self.weeks > 0 && oldest < sunday.minus_days(DAILY_DAYS) {
            return Err(format!("{today}: a daily copy of {oldest} did not expire"));
        }
        self.alarms(&stored, catalog, now, databases)
    }

    /// Whatever was proven once is there for as long as its archive is to be kept.
    fn lost(&self, stored: &Stored, sunday: BackupDate) -> Result<(), String> {
        let oldest = sunday.minus_days(7 * WEEKLY_WEEKS);
        let kept = self.known.iter().filter(|(_, copy)| copy.date >= oldest);
        match kept
            .map(|(key, _)| key)
            .find(|key| !stored.copies.contains_key(key))
        {
            Some(key) => Err(format!("{key} was proven and is lost")),
            None => Ok(()),
        }
    }

    /// A database is told to be late or stale when the last hourly look found it so, and only then.
    fn alarms(
        &mut self,
        stored: &Stored,
        catalog: &Catalog,
        now: DateTime<Utc>,
        databases: &[String],
    ) -> Result<(), String> {
        let looked = now - TimeDelta::minutes(60 - LOOK_MINUTE);
        let conditions = catalog.conditions().unwrap();
        for name in databases {
            // A copy of the future makes nothing fresh, and once its day has come it is no copy of that day.
            let copies = stored
                .copies
                .iter()
                .filter(|(key, copy)| copy.database == *name && !self.misdated.contains(*key));
            let Some(newest) = copies.map(|(_, copy)| copy.at).max() else {
                continue;
            };
            let age = looked - newest;
            let expected = match () {
                () if age >= TimeDelta::days(8) => Some(AlertLevel::Critical),
                () if age >= TimeDelta::hours(26) => Some(AlertLevel::Warning),
                () => None,
            };
            let found = conditions
                .iter()
                .find(|one| one.kind == EventKind::StaleBackup && one.scope == *name);
            let found = found.map(|one| one.severity);
            if found != expected {
                return Err(format!(
                    "{now}: {name} is {} h old, told {found:?}",
                    age.num_hours()
                ));
            }
            let day = (name.clone(), day_of(now));
            match expected {
                Some(AlertLevel::Critical) => drop(self.stale.insert(day)),
                Some(_) => drop(self.late.insert(day)),
                None => {}
            }
        }
        Ok(())
    }

    /// From a day on, each day of staleness has its alarm, and no alarm is of another day. Gives how many there were.
    pub(super) fn told(&self, catalog: &Catalog, since: BackupDate) -> Result<usize, String> {
        let events = catalog.events(100_000).unwrap();
        let told = events
            .iter()
            .filter(|event| event.kind == EventKind::StaleBackup)
            .filter(|event| day_of(event.at) >= since && !self.wrong.contains(&day_of(event.at)));
        let (mut daily, mut count) = (BTreeMap::<_, u32>::new(), 0);
        for event in told {
            count += 1;
            let name = event.database.as_ref().unwrap().to_string();
            let is_critical = event.severity == AlertLevel::Critical;
            let days = if is_critical { &self.stale } else { &self.late };
            let day = day_of(event.at);
            // One that begins in the afternoon is seen at the next noon.
            let is_due = [day, day.plus_days(1)].map(|day| days.contains(&(name.clone(), day)));
            if is_due == [false, false] {
                return Err(format!(
                    "an alarm of {} was not due: {}",
                    event.at, event.message
                ));
            }
            if is_critical {
                *daily.entry(name).or_default() += 1;
            }
        }
        let since_then = self.stale.iter().filter(|(_, day)| *day >= since);
        let names: BTreeSet<&String> = since_then.map(|(name, _)| name).collect();
        for name in names {
            let alarms = daily.get(name).copied().unwrap_or_default();
            let days = self
                .stale
                .iter()
                .filter(|(stale, day)| stale == name && *day >= since)
                .count();
            if alarms.abs_diff(days as u32) > 1 {
                return Err(format!(
                    "{name} was stale on {days} days and told {alarms} times"
                ));
            }
        }
        Ok(count)
    }
}
