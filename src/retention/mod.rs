//! Decides which copies may go, and says why for each object. Invariant: never the last verified copies of a database.
//!
//! A *copy* is one dump of one database. It is an object of its own, a member of weekly archives, or both, and is lost
//! only when the last object of this installation that holds it goes. It counts as verified while a verified one does.

mod holdings;
mod reason;
#[cfg(test)]
mod tests;

pub use reason::{Because, Fate, Guard, Guards, Kept};

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::types::{BackupDate, DatabaseName, IsoWeek, ObjectKey, counted};
use holdings::Holdings;

/// How long copies stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// A daily copy may go when it is more than so many days old; at least 1.
    pub daily_days: u32,
    /// A weekly archive may go when its Sunday is more than so many weeks ago; at least 1.
    pub weekly_weeks: u32,
    /// So many verified copies of each database stay whatever their age; at least 1.
    pub min_copies: u32,
}

/// An object in the storages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: ObjectKey,
    /// What it holds.
    pub content: Content,
    /// How sure it is.
    pub state: State,
    /// Whether this installation wrote it.
    pub is_ours: bool,
    /// Whether a person wants to keep it.
    pub is_pinned: bool,
    /// Whether it is read just now.
    pub is_leased: bool,
    /// Whether an earlier run chose it and did not end.
    pub is_marked: bool,
}

/// What an object holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// One database's dump of one day.
    Daily(Copy),
    /// The dumps of a week.
    Weekly {
        /// The week.
        week: IsoWeek,
        /// The dumps in it.
        members: Vec<Copy>,
    },
}

/// One dump of one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The key of its daily object.
    pub key: ObjectKey,
    /// The database.
    pub database: DatabaseName,
    /// The day it stands for.
    pub date: BackupDate,
}

/// How sure an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It counts, and its bytes were read back and right.
    Verified,
    /// It would count, but its bytes were never read: it was adopted.
    Unread,
    /// It does not count: it was not compared with its source, it is incomplete, or a person knows that it is damaged.
    Unfit,
    /// It is missing or changed in a storage, and no person has looked.
    Damaged,
}

/// Everything beside the objects that a decision rests on.
#[derive(Debug, Clone)]
pub struct Situation {
    /// The day it is, in the agent's zone.
    pub today: BackupDate,
    /// How long copies stay.
    pub policy: Policy,
    /// Why nothing at all may go now, where that is so.
    pub hold: Option<Hold>,
    /// Databases of which nothing may go, and why.
    pub frozen: BTreeMap<DatabaseName, String>,
    /// Databases of which more than half may go at once: a person agreed.
    pub acknowledged: BTreeSet<DatabaseName>,
    /// Databases whose copies a person gave up.
    pub forgotten: BTreeSet<DatabaseName>,
    /// The guards in force: all of them, but for tests that show what each is for.
    pub guards: Guards,
}

/// Why nothing at all may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// The time cannot be trusted; why.
    Clock(String),
    /// The catalog is new; until when, in a person's words.
    Quiet(String),
}

/// What becomes of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The object.
    pub key: ObjectKey,
    /// What becomes of it, and why.
    pub fate: Fate,
}

/// What becomes of every object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// One verdict per object, in the order of keys.
    pub verdicts: Vec<Verdict>,
    /// Databases whose copies would go if the breaker had not held them, and why.
    pub refused: BTreeMap<DatabaseName, String>,
}

impl Plan {
    /// The keys of the objects that may go.
    pub fn deleted(&self) -> impl Iterator<Item = &ObjectKey> {
        let verdicts = self.verdicts.iter();
        verdicts
            .filter(|verdict| verdict.fate.is_delete())
            .map(|verdict| &verdict.key)
    }

    /// What kept objects that are old enough to go: for each rule the first reason, and how many it kept.
    pub fn kept(&self) -> BTreeMap<&'static str, (&Kept, u64)> {
        let mut kept: BTreeMap<&'static str, (&Kept, u64)> = BTreeMap::new();
        for verdict in &self.verdicts {
            match &verdict.fate {
                Fate::Delete(_) | Fate::Keep(Kept::Young) => {}
                Fate::Keep(why) => kept.entry(why.word()).or_insert((why, 0)).1 += 1,
            }
        }
        kept
    }
}

/// Decides the fate of every object. The order of `objects` does not matter.
pub fn decide(objects: &[Object], situation: &Situation) -> Plan {
    let mut broken = broken_by_damage(objects, situation);
    loop {
        let round = Round::new(objects, situation, &broken).run();
        let halved = round.halved(situation);
        if halved.is_empty() {
            return round.plan;
        }
        // One database's refusal keeps archives that hold others': at most one more round per database.
        broken.extend(halved);
    }
}

/// Databases of which nothing may go because something of them is damaged or a person has not looked.
fn broken_by_damage(objects: &[Object], situation: &Situation) -> BTreeMap<DatabaseName, String> {
    if !situation.guards.has(Guard::Breaker) {
        return BTreeMap::new();
    }
    let mut broken = situation.frozen.clone();
    let damaged = objects
        .iter()
        .filter(|object| object.state == State::Damaged);
    let mut first: BTreeMap<&DatabaseName, &ObjectKey> = BTreeMap::new();
    for object in damaged {
        for copy in object.copies() {
            let key = first.entry(&copy.database).or_insert(&object.key);
            *key = (*key).min(&object.key);
        }
    }
    for (database, key) in first {
        let why = || format!("`{key}` is missing or damaged");
        broken.entry(database.clone()).or_insert_with(why);
    }
    broken
}

impl Object {
    /// The copies it holds.
    fn copies(&self) -> &[Copy] {
        match &self.content {
            Content::Daily(copy) => std::slice::from_ref(copy),
            Content::Weekly { members, .. } => members,
        }
    }

    /// The day its age counts from.
    fn date(&self) -> BackupDate {
        match &self.content {
            Content::Daily(copy) => copy.date,
            Content::Weekly { week, .. } => week.last_day(),
        }
    }

    /// Why its age lets it go; `None`: it is young.
    fn is_old(&self, situation: &Situation) -> Option<Because> {
        let Policy {
            daily_days,
            weekly_weeks,
            ..
        } = situation.policy;
        let (days, because) = match self.content {
            Content::Daily(_) => (daily_days, Because::Daily { daily_days }),
            Content::Weekly { .. } => (
                weekly_weeks.saturating_mul(7),
                Because::Weekly { weekly_weeks },
            ),
        };
        let oldest_kept = situation.today.minus_days(u64::from(days));
        (self.date() < oldest_kept).then_some(because)
    }
}

/// One pass over all objects, with some databases held.
struct Round<'a> {
    objects: Vec<&'a Object>,
    situation: &'a Situation,
    broken: &'a BTreeMap<DatabaseName, String>,
    holdings: Holdings<'a>,
    covered: HashSet<&'a ObjectKey>,
    plan: Plan,
}

impl<'a> Round<'a> {
    fn new(
        objects: &'a [Object],
        situation: &'a Situation,
        broken: &'a BTreeMap<DatabaseName, String>,
    ) -> Self {
        let mut sorted: Vec<&Object> = objects.iter().collect();
        // The oldest first: where some of several must stay, the newest do.
        sorted.sort_by(|a, b| (a.date(), &a.key).cmp(&(b.date(), &b.key)));
        let archives = objects.iter().filter(|object| object.is_verified_archive());
        let covered = archives.flat_map(|archive| archive.copies().iter().map(|copy| &copy.key));
        Self {
            holdings: Holdings::of(objects),
            covered: covered.collect(),
            objects: sorted,
            situation,
            broken,
            plan: Plan::default(),
        }
    }

    fn run(mut self) -> Self {
        for object in std::mem::take(&mut self.objects) {
            let fate = self.fate(object);
            let key = object.key.clone();
            self.plan.verdicts.push(Verdict { key, fate });
        }
        self.plan.verdicts.sort_by(|a, b| a.key.cmp(&b.key));
        self
    }

    fn fate(&mut self, object: &'a Object) -> Fate {
        let Some(because) = object.is_old(self.situation) else {
            return Fate::Keep(Kept::Young);
        };
        let kept = self
            .guarded(object)
            .or_else(|| self.held(object))
            .or_else(|| {
                let why = self.breaks(object)?;
                Some(Kept::Breaker(why))
            });
        match kept {
            Some(kept) => Fate::Keep(kept),
            None => {
                self.holdings.give_up(object);
                Fate::Delete(because)
            }
        }
    }

    /// The guards that look at the object alone.
    fn guarded(&self, object: &Object) -> Option<Kept> {
        let has = |guard| self.situation.guards.has(guard);
        match &self.situation.hold {
            Some(Hold::Clock(why)) if has(Guard::Clock) => return Some(Kept::Clock(why.clone())),
            Some(Hold::Quiet(until)) if has(Guard::Quiet) => {
                return Some(Kept::Quiet(until.clone()));
            }
            _ => {}
        }
        match object {
            _ if !object.is_ours && has(Guard::Own) => Some(Kept::Own),
            _ if object.is_pinned && has(Guard::Pin) => Some(Kept::Pin),
            _ if object.is_leased && has(Guard::Lease) => Some(Kept::Lease),
            _ if self.is_uncovered(object) && has(Guard::Week) => Some(Kept::Week),
            _ => None,
        }
    }

    /// Whether it is a daily copy that counts, or would, and that no verified archive holds.
    fn is_uncovered(&self, object: &Object) -> bool {
        let counts = matches!(object.state, State::Verified | State::Unread);
        match &object.content {
            Content::Daily(copy) => {
                let is_forgotten = self.situation.forgotten.contains(&copy.database);
                counts && !is_forgotten && !self.covered.contains(&copy.key)
            }
            Content::Weekly { .. } => false,
        }
    }

    /// The guards that look at what would be left of each database.
    fn held(&self, object: &'a Object) -> Option<Kept> {
        let situation = self.situation;
        let lost = self.holdings.lost_with(object);
        for (database, loss) in lost {
            if situation.forgotten.contains(database) {
                continue;
            }
            let left = self.holdings.verified(database) - loss.verified;
            if situation.guards.has(Guard::Last) && left < situation.policy.min_copies as usize {
                return Some(Kept::Last {
                    database: database.clone(),
                    left,
                    min_copies: situation.policy.min_copies,
                });
            }
            let is_newest = !self.holdings.has_newer(database, loss.newest);
            if situation.guards.has(Guard::Newer) && is_newest {
                let database = database.clone();
                return Some(Kept::Newer { database });
            }
        }
        None
    }

    /// Why the breaker holds its databases. Asked last, so that only what would go is refused.
    fn breaks(&mut self, object: &Object) -> Option<String> {
        let names = object.copies().iter().map(|copy| &copy.database);
        let broken: BTreeMap<_, _> = names
            .filter_map(|name| self.broken.get_key_value(name))
            .map(|(name, why)| (name.clone(), why.clone()))
            .collect();
        let why = broken.values().next().cloned();
        self.plan.refused.extend(broken);
        why
    }

    /// Databases that would lose more than half of their copies, and were not held for that yet.
    fn halved(&self, situation: &Situation) -> BTreeMap<DatabaseName, String> {
        if !situation.guards.has(Guard::Breaker) {
            return BTreeMap::new();
        }
        let is_free = |name: &DatabaseName| {
            !situation.acknowledged.contains(name) && !situation.forgotten.contains(name)
        };
        let halved = self
            .holdings
            .losses()
            .filter(|loss| 2 * loss.lost > loss.before && is_free(loss.database));
        halved
            .map(|loss| {
                let its = counted(loss.before, "copy");
                let why = format!("{} of its {its} would go at once", loss.lost);
                (loss.database.clone(), why)
            })
            .collect()
    }
}

impl Object {
    /// Whether it covers the daily copies in it. One that an earlier run chose does as long as it is there: its copies
    /// are counted as lost already.
    fn is_verified_archive(&self) -> bool {
        let is_archive = matches!(self.content, Content::Weekly { .. });
        is_archive && self.state == State::Verified && self.is_ours
    }
}
