//! Decides which copies may be deleted, with a reason for each object. Invariant: never the last verified copies of a
//! database.
//!
//! A *copy* is one dump of one database. It is an object of its own, a member of weekly archives, or both, and is lost
//! only when the last object of this installation that holds it is deleted. It counts as verified while a verified
//! object holds it.

mod holdings;
mod reason;
#[cfg(test)]
mod tests;

pub use reason::{Because, Fate, Guard, Guards, Kept};

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::types::{BackupDate, DatabaseName, IsoWeek, ObjectKey, counted};
use holdings::Holdings;

/// Retention periods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// A daily copy may be deleted if it is more than this many days old; at least 1.
    pub daily_days: u32,
    /// A weekly archive may be deleted if its Sunday is more than this many weeks ago; at least 1.
    pub weekly_weeks: u32,
    /// Number of verified copies of each database that are kept regardless of age; at least 1.
    pub min_copies: u32,
}

/// Object in the storages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Key of the object.
    pub key: ObjectKey,
    /// Contents.
    pub content: Content,
    /// State.
    pub state: State,
    /// True if this installation wrote it.
    pub is_ours: bool,
    /// True if a person pinned it.
    pub is_pinned: bool,
    /// True if it is being read.
    pub is_leased: bool,
    /// True if an earlier run marked it for deletion and did not finish.
    pub is_marked: bool,
}

/// Contents of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Dump of one database of one day.
    Daily(Copy),
    /// Dumps of a week.
    Weekly {
        /// The week.
        week: IsoWeek,
        /// Dumps in it.
        members: Vec<Copy>,
    },
}

/// Dump of one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Key of its daily object.
    pub key: ObjectKey,
    /// The database.
    pub database: DatabaseName,
    /// Day of the backup.
    pub date: BackupDate,
}

/// State of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It counts as a backup, and its bytes were read back and right.
    Verified,
    /// It would count, but its bytes were never read: it was adopted.
    Unread,
    /// It does not count: it was not compared with its source, it is incomplete, or a person knows that it is damaged.
    Unfit,
    /// It is missing or changed in a storage, and no person has acknowledged that.
    Damaged,
}

/// Inputs of a decision besides the objects.
#[derive(Debug, Clone)]
pub struct Situation {
    /// Current day, in the agent's time zone.
    pub today: BackupDate,
    /// Retention periods.
    pub policy: Policy,
    /// Reason that nothing at all may be deleted now, if any.
    pub hold: Option<Hold>,
    /// Databases of which nothing may be deleted, with the reason.
    pub frozen: BTreeMap<DatabaseName, String>,
    /// Databases of which more than half may be deleted at once, because a person agreed.
    pub acknowledged: BTreeSet<DatabaseName>,
    /// Databases whose copies a person gave up.
    pub forgotten: BTreeSet<DatabaseName>,
    /// Active guards: all of them, except in tests that show the effect of each.
    pub guards: Guards,
}

/// Reason that nothing at all may be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// The time cannot be trusted, for this reason.
    Clock(String),
    /// The catalog was rebuilt; with the end of the waiting period, for people.
    Quiet(String),
}

/// Decision about one object, with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Key of the object.
    pub key: ObjectKey,
    /// Decision and reason.
    pub fate: Fate,
}

/// Decisions about all objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// One verdict per object, in the order of keys.
    pub verdicts: Vec<Verdict>,
    /// Databases whose copies would be deleted if the breaker had not kept them, with the reason.
    pub refused: BTreeMap<DatabaseName, String>,
}

impl Plan {
    /// Keys of the objects that may be deleted.
    pub fn deleted(&self) -> impl Iterator<Item = &ObjectKey> {
        let verdicts = self.verdicts.iter();
        verdicts
            .filter(|verdict| verdict.fate.is_delete())
            .map(|verdict| &verdict.key)
    }

    /// Rules that kept objects old enough to be deleted: for each rule the first reason, and the number of objects.
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

/// Decides about every object. The order of `objects` does not matter.
///
/// ```
/// use patina::retention::{Content, Copy, Guards, Object, Policy, Situation, State, decide};
///
/// let daily = |date: &str| {
///     let key: patina::types::ObjectKey = format!("daily/{date}/blog.sql").parse().expect("a key");
///     let content = Content::Daily(Copy {
///         key: key.clone(),
///         database: "blog".parse().expect("a name"),
///         date: date.parse().expect("a day"),
///     });
///     let state = State::Verified;
///     Object { key, content, state, is_ours: true, is_pinned: false, is_leased: false, is_marked: false }
/// };
/// let situation = Situation {
///     today: "2026-11-29".parse()?,
///     policy: Policy { daily_days: 7, weekly_weeks: 12, min_copies: 2 },
///     hold: None,
///     frozen: Default::default(),
///     acknowledged: Default::default(),
///     forgotten: Default::default(),
///     guards: Guards::all(),
/// };
/// // Both are old; yet they are the last two verified copies, and no archive holds them.
/// let plan = decide(&[daily("2026-10-01"), daily("2026-10-02")], &situation);
/// assert_eq!(plan.deleted().count(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn decide(objects: &[Object], situation: &Situation) -> Plan {
    let mut broken = broken_by_damage(objects, situation);
    loop {
        let round = Round::new(objects, situation, &broken).run();
        let halved = round.halved(situation);
        if halved.is_empty() {
            return round.plan;
        }
        // A held database also keeps archives that contain copies of others: at most one more round per database.
        broken.extend(halved);
    }
}

/// Databases of which nothing may be deleted because an object of them is damaged or a person has not acknowledged.
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
    /// Copies that it holds.
    fn copies(&self) -> &[Copy] {
        match &self.content {
            Content::Daily(copy) => std::slice::from_ref(copy),
            Content::Weekly { members, .. } => members,
        }
    }

    /// Day from which its age counts.
    fn date(&self) -> BackupDate {
        match &self.content {
            Content::Daily(copy) => copy.date,
            Content::Weekly { week, .. } => week.last_day(),
        }
    }

    /// Reason that its age permits deletion; `None`: it is not old enough.
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

/// Pass over all objects, with some databases held.
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
        // The oldest first: if only some of several must stay, the newest do.
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

    /// Applies the guards that need only the object.
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

    /// True for a daily copy that counts, or would, and that no verified archive contains.
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

    /// Applies the guards that depend on what would be left of each database.
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

    /// Reason that the breaker holds one of its databases. Applied last, so that only objects that would be deleted are
    /// refused.
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

    /// Databases that would lose more than half of their copies, and are not held for that yet.
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
    /// True if it covers the daily copies in it. An archive marked by an earlier run does as long as it exists: its
    /// copies are already counted as lost.
    fn is_verified_archive(&self) -> bool {
        let is_archive = matches!(self.content, Content::Weekly { .. });
        is_archive && self.state == State::Verified && self.is_ours
    }
}
