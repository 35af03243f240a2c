//! A year of nights with everything that happens in one: seven phases, and the law at noon of every day.

use std::fs;
use std::sync::Arc;

use chrono::{DateTime, Days, TimeDelta, Utc, Weekday};
use chrono_tz::Europe::Berlin;
use patina::catalog::EventKind;
use patina::clock::Clock;
use patina::store::{MemoryStore, Prune, Store};
use patina::types::{BackupDate, ObjectKey};

use super::home::Home;
use super::law::{Book, Exempt, day_of};
use super::time::{SimTime, run};
use crate::week::damaged::damage;

const DATABASES: [&str; 3] = ["auth", "blog", "shop"];

/// The year begins on a Monday.
const FIRST: &str = "2026-01-05T08:00:00Z";

/// The installation, and what is known of it.
struct Year {
    home: Home,
    time: Arc<SimTime>,
    book: Book,
    /// Another installation that writes into the same bucket.
    other: Option<Home>,
    exempt: Exempt,
    nights: u64,
}

impl Year {
    fn new(time: &Arc<SimTime>) -> Self {
        let bucket = Arc::new(MemoryStore::new("bucket", time.clone()));
        Self {
            home: Home::new(time, &DATABASES, bucket),
            time: Arc::clone(time),
            book: Book::default(),
            other: None,
            exempt: Exempt::default(),
            nights: 0,
        }
    }

    fn today(&self) -> BackupDate {
        day_of(self.time.now())
    }

    /// The moment a wall clock in Berlin shows on a day.
    fn at(day: BackupDate, hour: u32) -> DateTime<Utc> {
        let local = day.0.and_hms_opt(hour, 0, 0).unwrap();
        local.and_local_timezone(Berlin).unwrap().to_utc()
    }

    fn next(&self, weekday: Weekday) -> BackupDate {
        let mut day = self.today().plus_days(1);
        while day.weekday() != weekday {
            day = day.plus_days(1);
        }
        day
    }

    /// One process works until then. `evening` is called at ten in the evening, before each night.
    async fn work_until(
        &mut self,
        end: DateTime<Utc>,
        mut evening: impl FnMut(&Home, BackupDate),
    ) -> Result<(), String> {
        let (home, time, book) = (&self.home, &self.time, &mut self.book);
        let (other, exempt, nights) = (&self.other, self.exempt, &mut self.nights);
        let mut lawful = Ok(());
        let days = async {
            let mut day = day_of(time.now());
            while lawful.is_ok() {
                time.sleep_until(Self::at(day, 12)).await;
                if day_of(time.now()) == day && time.now() <= Self::at(day, 13) {
                    let (bucket, catalog) = (&home.bucket, home.catalog());
                    let at = (time.now(), exempt);
                    lawful = book.noon(bucket, &catalog, at, home.names()).await;
                }
                time.sleep_until(Self::at(day, 22)).await;
                for name in DATABASES.iter().filter(|name| home.database(name).exists()) {
                    home.live_on(name);
                }
                evening(home, day);
                *nights += 1;
                if let Some(other) = other {
                    other.live_on("blog");
                    // A little after ours, or before it: both happen.
                    time.sleep_until(Self::at(day.plus_days(1), 1 + 4 * (*nights % 2) as u32))
                        .await;
                    other.back_up().await;
                }
                day = day.plus_days(1);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = home.run_until(end) => {}
            () = days => {}
        }
        lawful
    }

    async fn weeks(&mut self, weeks: u64) -> Result<(), String> {
        let end = Self::at(self.today().plus_days(7 * weeks), 9);
        self.work_until(end, |_, _| ()).await
    }

    /// Off from Saturday night until Sunday morning: night and week are made good in the same second.
    async fn downtimes_over_sunday(&mut self) -> Result<(), String> {
        for _ in 0..3 {
            let sunday = self.next(Weekday::Sun);
            self.work_until(Self::at(sunday.minus_days(1), 23), |_, _| ())
                .await?;
            self.time.sleep_until(Self::at(sunday, 9)).await;
            self.work_until(Self::at(sunday.plus_days(1), 9), |_, _| ())
                .await?;
        }
        Ok(())
    }

    /// A database that takes more than an hour each night, and one Sunday more than two.
    async fn a_slow_database(&mut self) -> Result<(), String> {
        let monday = Self::at(self.today().plus_days(28), 9);
        self.work_until(monday, |home, _| home.fail_next("auth", 12))
            .await?;
        let (skipped, others) = (self.skipped(), self.worst_wait(&["blog", "shop"]));
        if skipped > 0 || others > TimeDelta::minutes(1) {
            return Err(format!(
                "{skipped} weeks were left out; others waited {others}"
            ));
        }
        let sunday = self.next(Weekday::Sun);
        self.exempt = Exempt {
            week: true,
            expiry: true,
        };
        let slow = move |home: &Home, day: BackupDate| {
            home.fail_next("auth", if day.plus_days(1) == sunday { 14 } else { 0 });
        };
        self.work_until(Self::at(sunday.plus_days(1), 9), slow)
            .await?;
        self.exempt = Exempt::default();
        match self.skipped() {
            1 => self.weeks(1).await,
            count => Err(format!(
                "{count} weeks were left out for a night of more than two hours"
            )),
        }
    }

    /// How many weeks were told to be left out.
    fn skipped(&self) -> usize {
        let events = self.home.catalog().events(100_000).unwrap();
        let skipped = events
            .iter()
            .filter(|one| one.kind == EventKind::WeeklySkipped);
        skipped.count()
    }

    /// The longest that a database waited for its copy in one of the last nights.
    fn worst_wait(&self, names: &[&str]) -> TimeDelta {
        let catalog = self.home.catalog();
        let jobs = catalog.jobs(20).unwrap();
        let waits = jobs.iter().flat_map(|job| {
            let results = catalog.results(job.id).unwrap().into_iter();
            let those = results.filter(|one| names.contains(&one.database.as_str()));
            those.map(|one| one.completed_at.unwrap() - job.started_at)
        });
        waits.max().unwrap()
    }

    /// A database that cannot be read for twelve days.
    async fn failures(&mut self) -> Result<(), String> {
        let (file, aside) = (self.home.database("blog"), self.home.database("aside"));
        fs::rename(&file, &aside).unwrap();
        self.work_until(Self::at(self.today().plus_days(12), 9), |_, _| ())
            .await?;
        fs::rename(&aside, &file).unwrap();
        let monday = Self::at(self.next(Weekday::Mon), 9);
        self.work_until(monday, |_, _| ()).await
    }

    /// A source that is damaged for three weeks. Nothing of it expires, whatever its age, until it is whole again.
    async fn a_damaged_source(&mut self) -> Result<(), String> {
        let (file, whole) = (self.home.database("shop"), self.home.database("whole"));
        fs::copy(&file, &whole).unwrap();
        damage(&file);
        self.exempt.expiry = true;
        self.weeks(3).await?;
        fs::rename(&whole, &file).unwrap();
        self.weeks(1).await?;
        // A good copy followed: what is old goes, for more than half at once after a person's word.
        let (catalog, now) = (self.home.catalog(), self.time.now());
        for name in DATABASES {
            catalog.acknowledge(&name.parse().unwrap(), now).unwrap();
        }
        self.weeks(1).await?;
        self.exempt = Exempt::default();
        self.weeks(1).await
    }

    /// The clock runs three days ahead from a Thursday noon on, over what it takes for a Sunday, and is set right two
    /// hours later; the process is started again the day after.
    async fn a_wrong_clock(&mut self) -> Result<(), String> {
        let thursday = self.next(Weekday::Thu);
        self.work_until(Self::at(thursday, 14), |_, _| ()).await?;
        let (before, right) = (self.objects().await, self.time.now());
        let wrong = Self::at(thursday.plus_days(3), 3) + TimeDelta::minutes(30);
        self.book.wrong.insert(day_of(wrong));
        // The process runs before and after the jump: it is the running time that gives the clock away.
        let (home, time) = (&self.home, &self.time);
        let jumps = async {
            time.sleep_until(right + TimeDelta::minutes(10)).await;
            time.set(wrong);
        };
        tokio::join!(home.run_until(wrong + TimeDelta::hours(3)), jumps);
        let after = self.objects().await;
        let gone: Vec<_> = before.iter().filter(|key| !after.contains(key)).collect();
        let kept = self.home.catalog().last_expiry().unwrap().unwrap();
        let kept = kept
            .kept
            .iter()
            .find(|by| by.rule == "clock")
            .map(|by| by.objects);
        if !gone.is_empty() || kept.is_none_or(|kept| kept == 0) {
            return Err(format!(
                "while the clock was wrong {gone:?} went, and {kept:?} objects were kept for it"
            ));
        }
        self.time.set(right + TimeDelta::hours(3));
        // What it stored as the night of that Sunday makes nothing fresh. The night is run when the Sunday has come, and so
        // is its week: what is old goes.
        let is_new = |key: &ObjectKey| !before.contains(key);
        self.book
            .misdated
            .extend(after.iter().filter(|key| is_new(key)).cloned());
        if self.book.misdated.is_empty() {
            return Err("the wrong clock stored nothing".to_owned());
        }
        self.work_until(Self::at(self.next(Weekday::Mon), 9), |_, _| ())
            .await?;
        let stored = self.objects().await;
        let sunday = format!("daily/{}/", day_of(wrong));
        let is_its_night = |key: &&ObjectKey| {
            key.as_str().starts_with(&sunday) && !self.book.misdated.contains(key)
        };
        let nights = stored.iter().filter(is_its_night).count();
        if nights != DATABASES.len() {
            return Err(format!(
                "{nights} databases have a copy of the Sunday that the clock ran ahead to"
            ));
        }
        self.work_until(Self::at(self.next(Weekday::Sun), 9), |_, _| ())
            .await?;
        self.weeks(2).await
    }

    /// Another installation writes a database of the same name into the same bucket, as one that shared it before places
    /// belonged to one: ours must be as if it were not there.
    async fn a_second_installation(&mut self) -> Result<(), String> {
        let bucket = Arc::clone(&self.home.bucket);
        self.other = Some(Home::new(&self.time, &["blog"], bucket));
        self.weeks(4).await?;
        let other = self.other.take().unwrap();
        let (theirs, ours) = (other.catalog(), self.home.catalog());
        let theirs = theirs.items().unwrap();
        for item in &theirs {
            if self.home.bucket.stat(&item.key).await.unwrap().is_none() {
                return Err(format!("{} of the other installation is gone", item.key));
            }
        }
        let instance = ours.instance().unwrap();
        match theirs.iter().any(|item| *item.instance == *instance) || theirs.len() < 20 {
            true => Err(format!(
                "the other installation has {} copies",
                theirs.len()
            )),
            false => Ok(()),
        }
    }

    async fn objects(&self) -> Vec<ObjectKey> {
        let listing = self.home.bucket.list().await.unwrap();
        listing.objects.into_iter().map(|(key, _)| key).collect()
    }
}

#[test]
fn a_year_of_nights_packs_each_week_loses_nothing_and_alarms_when_and_only_when_it_must() {
    let started = std::time::Instant::now();
    let end: DateTime<Utc> = FIRST.parse::<DateTime<Utc>>().unwrap() + Days::new(365);
    run(FIRST, async |time| {
        let mut year = Year::new(&time);
        let told = |year: &Year, phase: &str| {
            println!("{} {phase}, {:.1?}", year.today(), started.elapsed());
        };
        year.weeks(8).await.unwrap();
        told(&year, "regular");
        year.downtimes_over_sunday().await.unwrap();
        told(&year, "downtimes over Sunday");
        year.a_slow_database().await.unwrap();
        told(&year, "a slow database");
        let since = year.today();
        year.failures().await.unwrap();
        // One when it is late, and from the eighth of its twelve days on one a day.
        let alarms = year.book.told(&year.home.catalog(), since).unwrap();
        assert!((5..=8).contains(&alarms), "{alarms} alarms");
        told(&year, "failures");
        let since = year.today();
        year.a_damaged_source().await.unwrap();
        // One when it is late, and for the rest of three weeks one a day.
        let alarms = year.book.told(&year.home.catalog(), since).unwrap();
        assert!((13..=16).contains(&alarms), "{alarms} alarms");
        let since = year.today();
        told(&year, "a damaged source");
        year.a_wrong_clock().await.unwrap();
        told(&year, "a wrong clock");
        year.a_second_installation().await.unwrap();
        told(&year, "a second installation");
        year.work_until(end, |_, _| ()).await.unwrap();
        told(&year, "regular to the end");
        assert_eq!(year.book.told(&year.home.catalog(), since), Ok(0));
        assert!(
            year.nights >= 360 && year.book.weeks >= 50,
            "{} nights, {} weeks",
            year.nights,
            year.book.weeks
        );
    });
}

/// Plays three weeks with `harm` done after two, and gives the law that was broken.
fn broken(harm: impl AsyncFnOnce(&Home)) -> String {
    run(FIRST, async |time| {
        let mut year = Year::new(&time);
        year.weeks(2).await.unwrap();
        harm(&year.home).await;
        year.weeks(1).await.unwrap_err()
    })
}

#[test]
fn the_year_notices_a_copy_that_is_lost_a_week_that_is_not_packed_and_an_alarm_that_is_silent() {
    let lost = broken(async |home| {
        let key: ObjectKey = "weekly/2026-W02.tar.gz".parse().unwrap();
        home.bucket.remove(&key).await.unwrap();
    });
    assert!(lost.contains("was proven and is lost"), "{lost}");
    let unpacked = broken(async |home| {
        // Somebody holds the place of the coming archive.
        let key: ObjectKey = "weekly/2026-W04.tar.gz".parse().unwrap();
        let body = patina::store::Body::Bytes(b"not an archive");
        home.bucket.create(&key, body).await.unwrap();
    });
    assert!(unpacked.contains("is not there"), "{unpacked}");
    let silent = run(FIRST, async |time| {
        let mut year = Year::new(&time);
        year.weeks(1).await.unwrap();
        fs::remove_file(year.home.database("blog")).unwrap();
        year.weeks(1).await.unwrap();
        // The alarm is taken back though nothing is better.
        let catalog = year.home.catalog();
        catalog
            .forget_conditions(EventKind::StaleBackup, &[])
            .unwrap();
        let now = Year::at(year.today(), 12);
        time.sleep_until(now).await;
        let Year { home, book, .. } = &mut year;
        let noon = book.noon(
            &home.bucket,
            &catalog,
            (now, Exempt::default()),
            home.names(),
        );
        noon.await.unwrap_err()
    });
    assert!(silent.contains("blog is"), "{silent}");
}
