//! Thousands of made-up histories: the real engine on a clock, a bucket and crashes that a seed decides.
//!
//! A failure prints its seed; `PATINA_SIM_SEED=n` runs that one alone and tells what happens in it, and
//! `PATINA_SIM_SEEDS=n` runs more of them.

mod doom;
mod law;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use chrono::{DateTime, Datelike, TimeDelta, Utc, Weekday};
use patina::catalog::Lease;
use patina::clock::Clock;
use patina::engine::verify::Scope;
use patina::retention::{Guard, Guards};
use patina::store::{
    Body, Fault, FaultStore, MemoryStore, Prune, Store, StoreErrorKind, read_small,
};
use patina::types::{ArchiveManifest, ObjectKey};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tokio_util::sync::CancellationToken;

use self::doom::Doomed;
use self::law::{Broken, Harm, Known, Truth, broken};
use super::world::{Process, World};

const DATABASES: [&str; 2] = ["auth", "blog"];

/// Short, so that a month has many ends of copies' lives.
const RETENTION: [&str; 3] = [
    "daily_days = 2\nweekly_weeks = 1\nmin_copies = 2",
    "daily_days = 1\nweekly_weeks = 1\nmin_copies = 1",
    "daily_days = 3\nweekly_weeks = 2\nmin_copies = 3",
];

/// How many days a history has.
const DAYS: i64 = 30;

/// One history.
struct History {
    world: World,
    rng: StdRng,
    guards: Guards,
    harm: Harm,
    foreign: BTreeSet<ObjectKey>,
    rebuilt_at: Option<DateTime<Utc>>,
    retention: usize,
    /// The guard whose trouble comes more often than in other histories.
    tempts: Option<Guard>,
    has_died: bool,
    tells: bool,
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Lives,
    Dies,
}

impl History {
    fn new(seed: u64, guards: Guards, tempts: Option<Guard>, tells: bool) -> Self {
        Self {
            world: World::new("2026-06-01T00:00:00Z", &DATABASES, RETENTION[0]),
            rng: StdRng::seed_from_u64(seed),
            guards,
            harm: Harm::default(),
            foreign: BTreeSet::new(),
            rebuilt_at: None,
            retention: 0,
            tempts,
            has_died: false,
            tells,
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// As [`Self::chance`], and more often where the history tempts one of these guards.
    fn temptation(&mut self, percent: u32, guards: &[Guard]) -> bool {
        let is_meant = self.tempts.is_some_and(|guard| guards.contains(&guard));
        self.chance(if is_meant { percent.max(35) } else { percent })
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.tells {
            println!("{}  {}", self.now(), what());
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.world.clock.now()
    }

    async fn run(mut self) -> Result<(), Broken> {
        let first = self.now();
        for day in 0..DAYS {
            self.world.clock.go_to(first + TimeDelta::days(day));
            self.world_turns().await;
            self.day().await?;
        }
        self.lose_everything().await
    }

    /// What happens to an installation from outside.
    async fn world_turns(&mut self) {
        if self.temptation(6, &[Guard::Last]) {
            self.retention = self.rng.random_range(0..RETENTION.len());
            let databases = match self.temptation(30, &[Guard::Last, Guard::Newer]) {
                true => &DATABASES[..1],
                false => &DATABASES[..],
            };
            self.tell(|| {
                format!(
                    "the configuration: {databases:?}, {}",
                    RETENTION[self.retention]
                )
            });
            self.world.configure(databases, RETENTION[self.retention]);
        }
        if self.temptation(5, &[Guard::Breaker, Guard::Newer]) {
            self.harm_an_object().await;
        }
        if self.temptation(8, &[Guard::Own]) {
            self.plant_a_foreign_archive().await;
        }
    }

    async fn harm_an_object(&mut self) {
        let keys: Vec<String> = self.world.objects().await.into_iter().collect();
        let Some(key) = keys.choose(&mut self.rng) else {
            return;
        };
        let key: ObjectKey = key.parse().unwrap();
        if self.chance(50) {
            self.tell(|| format!("{key} rots"));
            self.world.bucket.damage(&key, |bytes| bytes[0] ^= 1);
        } else {
            self.tell(|| format!("{key} vanishes"));
            self.world.bucket.remove(&key).await.unwrap();
        }
        self.harm.objects.insert(key);
    }

    /// Another installation packs into the same bucket, a long time ago.
    async fn plant_a_foreign_archive(&mut self) {
        let objects = self.world.objects().await;
        let bucket = &self.world.bucket;
        let Some(ours) = objects.iter().find(|key| key.starts_with("weekly/")) else {
            return;
        };
        let ours: ObjectKey = ours.parse().unwrap();
        let theirs: ObjectKey = format!("weekly/2025-W{:02}.tar.gz", self.rng.random_range(10..50))
            .parse()
            .unwrap();
        let Some(bytes) = read_small(bucket.as_ref(), &ours, 1 << 20).await.unwrap() else {
            return;
        };
        let Some(text) = read_small(bucket.as_ref(), &ours.manifest(), 1 << 20)
            .await
            .unwrap()
        else {
            return;
        };
        let mut manifest: ArchiveManifest = serde_json::from_slice(&text).unwrap();
        manifest.key = theirs.clone();
        manifest.week = theirs.as_str()[7..15].parse().unwrap();
        manifest.instance = "another".to_owned();
        let text = serde_json::to_vec(&manifest).unwrap();
        // One that lost its object to rot still has its manifest.
        let is_taken = bucket.stat(&theirs.manifest()).await.unwrap().is_some();
        if is_taken || bucket.create(&theirs, Body::Bytes(&bytes)).await.is_err() {
            return;
        }
        self.tell(|| format!("another installation leaves {theirs}"));
        bucket
            .create(&theirs.manifest(), Body::Bytes(&text))
            .await
            .unwrap();
        // Its inner manifest names another week: whoever reads it finds it damaged, as it should.
        self.harm.objects.insert(theirs.clone());
        self.foreign.insert(theirs);
    }

    /// One day of the installation: one or more processes, and in each whatever is due.
    async fn day(&mut self) -> Result<(), Broken> {
        let is_sunday = self.now().weekday() == Weekday::Sun;
        let mut left: Vec<Verb> = Vec::new();
        if self.chance(40) {
            left.push(Verb::Night);
        }
        if is_sunday && self.chance(85) {
            left.push(Verb::Pack);
        }
        let verbs: [(u32, Verb, &[Guard]); 6] = [
            (25, Verb::Verify, &[]),
            (20, Verb::Reconcile, &[]),
            (
                15,
                Verb::Person,
                &[Guard::Pin, Guard::Lease, Guard::Newer, Guard::Last],
            ),
            (6, Verb::WrongTime, &[Guard::Clock]),
            (3, Verb::TotalLoss, &[Guard::Quiet, Guard::Newer]),
            (if is_sunday { 85 } else { 15 }, Verb::Expire, &Guard::ALL),
        ];
        for (percent, verb, guards) in verbs {
            if self.temptation(percent, guards) {
                left.push(verb);
            }
        }
        while !left.is_empty() {
            let (process, doom) = self.start().await;
            while !left.is_empty() {
                let verb = left.remove(0);
                self.world.clock.go_to(self.now() + TimeDelta::minutes(7));
                self.tell(|| format!("{verb:?}"));
                if verb == Verb::TotalLoss {
                    drop(process);
                    self.rebuild().await;
                    break;
                }
                if self.step(&process, verb, &doom).await? == End::Dies {
                    self.tell(|| "… and dies".to_owned());
                    doom.burial.cancel();
                    process.bury().await;
                    self.has_died = true;
                    break;
                }
            }
            doom.burial.cancel();
        }
        match self.has_died || self.chance(20) {
            true => self.settle().await,
            false => Ok(()),
        }
    }

    /// Starts a process that may be about to die, and whose bucket may fail.
    async fn start(&mut self) -> (Process, Arc<Doomed<FaultStore<MemoryStore>>>) {
        let mut plan = Vec::new();
        for _ in 0..3 {
            if self.chance(25) {
                let call = self.rng.random_range(1..40);
                let fault = match self.rng.random_range(0..6) {
                    0 => Fault::Before(Fault::passing()),
                    1 => Fault::After(Fault::passing()),
                    2 => Fault::Break { after_bytes: 40 },
                    3 => Fault::Flip { at: 30 },
                    4 => Fault::ShortListing { keep: 2 },
                    _ => Fault::Before(StoreErrorKind::Unavailable {
                        retryable: false,
                        cause: "the bucket is closed".to_owned(),
                    }),
                };
                plan.push((call, fault));
            }
        }
        let doom = Arc::new(Doomed {
            inner: Arc::new(FaultStore::new(Arc::clone(&self.world.bucket), plan)),
            at: match self.chance(35) {
                true => self.rng.random_range(1..30),
                false => u64::MAX,
            },
            takes_effect: self.chance(50),
            calls: AtomicU64::new(0),
            death: CancellationToken::new(),
            burial: CancellationToken::new(),
        });
        let process = self.world.start_on(doom.clone());
        tokio::select! {
            recovery = process.recover() => self.tell(|| format!("a process starts: {recovery:?}")),
            () = doom.death.cancelled() => self.tell(|| "a process dies as it starts".to_owned()),
        }
        (process, doom)
    }

    async fn step(
        &mut self,
        process: &Process,
        verb: Verb,
        doom: &Doomed<FaultStore<MemoryStore>>,
    ) -> Result<End, Broken> {
        if doom.death.is_cancelled() {
            return Ok(End::Dies);
        }
        let work = async {
            match verb {
                Verb::Night => self.night(process).await,
                Verb::Pack => {
                    let packed = process.pack().await;
                    self.tell(|| {
                        format!(
                            "packed: {:?}",
                            packed.map(|_| ()).map_err(|error| error.to_string())
                        )
                    });
                    Ok(())
                }
                Verb::Expire => self.expire(process, false).await,
                Verb::Verify => {
                    let scope = match self.chance(40) {
                        true => Scope::All,
                        false => Scope::Share,
                    };
                    process.verify(scope).await;
                    Ok(())
                }
                Verb::Reconcile => {
                    process.reconcile().await;
                    self.world.clock.go_to(self.now() + TimeDelta::minutes(11));
                    process.reconcile().await;
                    Ok(())
                }
                Verb::Person => {
                    self.person(process);
                    Ok(())
                }
                Verb::WrongTime => self.wrong_time(process).await,
                Verb::TotalLoss => Ok(()),
            }
        };
        tokio::select! {
            result = work => result.map(|()| End::Lives),
            () = doom.death.cancelled() => Ok(End::Dies),
        }
    }

    async fn night(&mut self, process: &Process) -> Result<(), Broken> {
        let name = DATABASES[self.rng.random_range(0..2)];
        self.world.live_on(name);
        let report = process.night().await;
        self.tell(|| {
            format!(
                "{} of {} backed up",
                report.job.successful, report.job.total
            )
        });
        Ok(())
    }

    async fn expire(&mut self, process: &Process, is_time_wrong: bool) -> Result<(), Broken> {
        let catalog = &process.wiring.catalog;
        let before = Known::of(catalog, self.now());
        let there: BTreeSet<ObjectKey> = self.keys().await;
        process.expire(self.guards).await;
        let left = self.keys().await;
        let gone: Vec<ObjectKey> = there.difference(&left).cloned().collect();
        self.tell(|| format!("gone: {gone:?}"));
        let after = Known::of(catalog, self.now());
        let instance = catalog.instance().unwrap();
        let truth = Truth {
            min_copies: process.wiring.config.retention().min_copies as usize,
            instance: &instance,
            is_time_wrong,
            rebuilt_at: self.rebuilt_at,
            now: self.now(),
        };
        law::expiry(&before, &after, &gone, &truth)
    }

    /// The committed objects in the bucket: those that have a manifest. A deletion that began earlier took that first.
    async fn keys(&self) -> BTreeSet<ObjectKey> {
        let listing = self.world.bucket.list().await.unwrap();
        let has = |key: &ObjectKey| listing.objects.iter().any(|(known, _)| known == key);
        let keys = listing.objects.iter().map(|(key, _)| key);
        keys.filter(|key| has(&key.manifest())).cloned().collect()
    }

    /// A person pins, reads, and agrees.
    fn person(&mut self, process: &Process) {
        let (catalog, now) = (&process.wiring.catalog, self.now());
        let keys = Known::of(catalog, now).keys();
        let Some(key) = keys.choose(&mut self.rng) else {
            return;
        };
        let deed = match self.tempts {
            Some(Guard::Pin) => 0,
            Some(Guard::Lease) => 1,
            _ => self.rng.random_range(0..4),
        };
        match deed {
            0 => catalog.pin(key, None, now).unwrap(),
            1 => {
                let until = now + TimeDelta::days(9);
                // A lease ends with its process, so one of a single object is seldom tempted.
                let keys = match self.tempts {
                    Some(Guard::Lease) => keys.as_slice(),
                    _ => std::slice::from_ref(key),
                };
                let _until_its_time: Lease = catalog.lease(keys, "download", until).unwrap();
            }
            _ => {
                for database in DATABASES {
                    catalog
                        .acknowledge(&database.parse().unwrap(), now)
                        .unwrap();
                }
            }
        }
    }

    /// The time jumps while a process runs, and is set right again.
    async fn wrong_time(&mut self, process: &Process) -> Result<(), Broken> {
        let right = self.now();
        let days = self.rng.random_range(2..60) * if self.chance(30) { -1 } else { 1 };
        self.world.clock.set(right + TimeDelta::days(days));
        let result = self.expire(process, true).await;
        self.world.clock.set(right);
        result
    }

    /// The state directory is lost and made anew from the bucket.
    async fn rebuild(&mut self) {
        std::fs::remove_dir_all(self.world.state()).unwrap();
        let process = self.world.start([]);
        process.rebuild().await;
        self.rebuilt_at = Some(self.now());
        if self.chance(60) {
            process.verify(Scope::All).await;
        }
    }

    /// A healthy process brings everything in order; then every promise that holds at rest is asked for.
    async fn settle(&mut self) -> Result<(), Broken> {
        self.has_died = false;
        let process = self.world.healthy().await;
        let spool = std::fs::read_dir(process.state.spool()).unwrap();
        let names = spool.map(|entry| entry.unwrap().file_name());
        let spool = names.filter(|name| name != ".patina-spool").count();
        if spool > 0 {
            return broken("P6", format!("{spool} files are left in the spool"));
        }
        let catalog = &process.wiring.catalog;
        if !catalog.packed().unwrap().is_empty() || !catalog.spooled().unwrap().is_empty() {
            return broken("P6", "something still waits to be stored");
        }
        law::bucket(&self.world.bucket, catalog, &mut self.harm).await
    }

    /// P7: the bucket alone gives the same inventory, and nothing is deleted.
    async fn lose_everything(mut self) -> Result<(), Broken> {
        let process = self.world.healthy().await;
        process.reconcile().await;
        let items = process.wiring.catalog.items().unwrap();
        let whole = |item: &&patina::catalog::Item| {
            item.marked_at.is_none() && !self.harm.objects.contains(&item.key)
        };
        let known: BTreeSet<ObjectKey> = items
            .iter()
            .filter(whole)
            .map(|item| item.key.clone())
            .collect();
        drop(process);
        let before = self.keys().await;
        std::fs::remove_dir_all(self.world.state()).unwrap();
        let process = self.world.start([]);
        process.rebuild().await;
        self.rebuilt_at = Some(self.now());
        self.expire(&process, false).await?;
        let found: BTreeSet<ObjectKey> = process
            .wiring
            .catalog
            .items()
            .unwrap()
            .into_iter()
            .map(|item| item.key)
            .collect();
        if let Some(key) = known.iter().find(|key| !found.contains(key)) {
            return broken("P7", format!("{key} is not in the rebuilt catalog"));
        }
        if self.keys().await != before {
            return broken("P7", "a rebuild took something away");
        }
        Ok(())
    }
}

/// What an installation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Night,
    Pack,
    Expire,
    Verify,
    Reconcile,
    Person,
    WrongTime,
    TotalLoss,
}

fn play(seed: u64, guards: Guards, tempts: Option<Guard>, tells: bool) -> Result<(), Broken> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let result = runtime.block_on(History::new(seed, guards, tempts, tells).run());
    runtime.shutdown_background();
    result
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Every second history tempts one guard after the other.
fn tempted_by(seed: u64) -> Option<Guard> {
    let guards = Guard::ALL.len() as u64;
    (seed % 2 == 1).then(|| Guard::ALL[(seed / 2 % guards) as usize])
}

/// Plays every fourth history from `first` on.
fn play_all(first: u64) {
    if let Some(seed) = number("PATINA_SIM_SEED") {
        if seed % SHARDS == first {
            play(seed, Guards::all(), tempted_by(seed), true)
                .unwrap_or_else(|broken| panic!("seed {seed}: {broken:?}"));
        }
        return;
    }
    let seeds = number("PATINA_SIM_SEEDS").unwrap_or(SEEDS);
    for seed in (first..seeds).step_by(SHARDS as usize) {
        if let Err(broken) = play(seed, Guards::all(), tempted_by(seed), false) {
            panic!(
                "seed {seed} broke {}: {}\nhint: PATINA_SIM_SEED={seed} tells its story",
                broken.law, broken.what
            );
        }
    }
    println!(
        "{} histories of {DAYS} days keep every promise",
        seeds / SHARDS
    );
}

/// So many histories are played, on so many threads of the test runner.
const SEEDS: u64 = 1_000;
const SHARDS: u64 = 4;

#[test]
fn no_history_breaks_a_promise_first_quarter() {
    play_all(0);
}

#[test]
fn no_history_breaks_a_promise_second_quarter() {
    play_all(1);
}

#[test]
fn no_history_breaks_a_promise_third_quarter() {
    play_all(2);
}

#[test]
fn no_history_breaks_a_promise_last_quarter() {
    play_all(3);
}

/// A guard that is needed is missed within so many histories.
const PATIENCE: u64 = 300;

#[test]
fn without_any_one_guard_a_history_breaks_a_promise() {
    for guard in Guard::ALL {
        let guards = Guards::without(guard);
        let found = (0..PATIENCE)
            .find_map(|seed| Some((seed, play(seed, guards, Some(guard), false).err()?)));
        let (seed, broken) = found.unwrap_or_else(|| panic!("nobody missed {guard:?}"));
        println!(
            "without {guard:?}, seed {seed} breaks {}: {}",
            broken.law, broken.what
        );
    }
}
