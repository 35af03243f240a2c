//! Counts which objects hold each copy. Invariant: an object that is marked, or not ours, holds
//! nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Copy, Object, State};
use crate::types::{BackupDate, DatabaseName, ObjectKey};

/// A copy's place in the order of age.
pub(super) type Age<'a> = (BackupDate, &'a ObjectKey);

/// What every database has.
pub(super) struct Holdings<'a> {
    databases: BTreeMap<&'a DatabaseName, Database<'a>>,
}

#[derive(Default)]
struct Database<'a> {
    copies: HashMap<&'a ObjectKey, Held>,
    /// The copies that a verified object holds.
    verified: BTreeSet<Age<'a>>,
    before: usize,
}

/// How many objects hold a copy.
#[derive(Default)]
struct Held {
    all: usize,
    verified: usize,
}

/// What a database loses with an object.
pub(super) struct Lost<'a> {
    /// How many verified copies.
    pub(super) verified: usize,
    /// The newest copy that goes, verified or not.
    pub(super) newest: Age<'a>,
}

/// What a database has lost so far.
pub(super) struct Loss<'a> {
    pub(super) database: &'a DatabaseName,
    pub(super) lost: usize,
    pub(super) before: usize,
}

impl<'a> Holdings<'a> {
    pub(super) fn of(objects: &'a [Object]) -> Self {
        let mut databases: BTreeMap<&DatabaseName, Database<'_>> = BTreeMap::new();
        for object in objects {
            for copy in object.copies() {
                let database = databases.entry(&copy.database).or_default();
                if !holds(object) {
                    continue;
                }
                let held = database.copies.entry(&copy.key).or_default();
                held.all += 1;
                if object.state == State::Verified {
                    held.verified += 1;
                    database.verified.insert(age(copy));
                }
            }
        }
        for database in databases.values_mut() {
            database.before = database.copies.len();
        }
        Self { databases }
    }

    /// How many verified copies a database has.
    pub(super) fn verified(&self, database: &DatabaseName) -> usize {
        self.databases[database].verified.len()
    }

    /// Whether a database has a verified copy that is newer than this one.
    pub(super) fn has_newer(&self, database: &DatabaseName, than: Age<'_>) -> bool {
        let newest = self.databases[database].verified.last();
        newest.is_some_and(|newest| *newest > than)
    }

    /// What each database would lose with this object. One that only loses a second holder of a copy loses nothing.
    pub(super) fn lost_with(&self, object: &'a Object) -> BTreeMap<&'a DatabaseName, Lost<'a>> {
        let mut lost: BTreeMap<&DatabaseName, Lost<'_>> = BTreeMap::new();
        for copy in object.copies() {
            let Some(loss) = self.loss_of(object, copy) else {
                continue;
            };
            let entry = lost.entry(&copy.database).or_insert(Lost {
                verified: 0,
                newest: age(copy),
            });
            entry.verified += usize::from(loss);
            entry.newest = entry.newest.max(age(copy));
        }
        lost
    }

    /// Whether the copy that goes with this object is a verified one; `None`: it stays.
    fn loss_of(&self, object: &Object, copy: &Copy) -> Option<bool> {
        let held = self.databases[&copy.database].copies.get(&copy.key);
        let (all, verified) = held.map_or((0, 0), |held| (held.all, held.verified));
        let own = usize::from(holds(object));
        let own_verified = usize::from(holds(object) && object.state == State::Verified);
        let is_last_verified = own_verified > 0 && verified == own_verified;
        // A holder that nobody verified does not make up for one that was.
        (is_last_verified || all <= own).then_some(is_last_verified)
    }

    /// Takes an object away.
    pub(super) fn give_up(&mut self, object: &'a Object) {
        if !holds(object) {
            return;
        }
        for copy in object.copies() {
            let Some(database) = self.databases.get_mut(&copy.database) else {
                continue;
            };
            let Some(held) = database.copies.get_mut(&copy.key) else {
                continue;
            };
            held.all -= 1;
            held.verified -= usize::from(object.state == State::Verified);
            if held.verified == 0 {
                database.verified.remove(&age(copy));
            }
            if held.all == 0 {
                database.copies.remove(&copy.key);
            }
        }
    }

    pub(super) fn losses(&self) -> impl Iterator<Item = Loss<'a>> {
        self.databases.iter().map(|(name, database)| Loss {
            database: name,
            lost: database.before - database.copies.len(),
            before: database.before,
        })
    }
}

/// Whether what it holds is held: another installation may let its objects go at any time.
fn holds(object: &Object) -> bool {
    !object.is_marked && object.is_ours
}

fn age(copy: &Copy) -> Age<'_> {
    (copy.date, &copy.key)
}
