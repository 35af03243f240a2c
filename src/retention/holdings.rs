//! Counts the objects that hold each copy. Invariant: an object that is marked, or not ours, holds nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Copy, Object, State};
use crate::types::{BackupDate, DatabaseName, ObjectKey};

/// Position of a copy in the order of age.
pub(super) type Age<'a> = (BackupDate, &'a ObjectKey);

/// Copies of every database.
pub(super) struct Holdings<'a> {
    databases: BTreeMap<&'a DatabaseName, Database<'a>>,
}

#[derive(Default)]
struct Database<'a> {
    copies: HashMap<&'a ObjectKey, Held>,
    /// Copies that a verified object holds.
    verified: BTreeSet<Age<'a>>,
    before: usize,
}

/// Numbers of objects that hold a copy.
#[derive(Default)]
struct Held {
    all: usize,
    verified: usize,
}

/// Loss of a database if an object is deleted.
pub(super) struct Lost<'a> {
    /// Number of verified copies.
    pub(super) verified: usize,
    /// Newest copy that is lost, verified or not.
    pub(super) newest: Age<'a>,
}

/// Total loss of a database so far.
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

    /// Number of verified copies of a database.
    pub(super) fn verified(&self, database: &DatabaseName) -> usize {
        self.databases[database].verified.len()
    }

    /// True if a database has a verified copy that is newer than this one.
    pub(super) fn has_newer(&self, database: &DatabaseName, than: Age<'_>) -> bool {
        let newest = self.databases[database].verified.last();
        newest.is_some_and(|newest| *newest > than)
    }

    /// Loss of each database if this object is deleted. A copy that another object still holds is no loss.
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

    /// Tells if the copy lost with this object is a verified one; `None`: the copy is not lost.
    fn loss_of(&self, object: &Object, copy: &Copy) -> Option<bool> {
        let held = self.databases[&copy.database].copies.get(&copy.key);
        let (all, verified) = held.map_or((0, 0), |held| (held.all, held.verified));
        let own = usize::from(holds(object));
        let own_verified = usize::from(holds(object) && object.state == State::Verified);
        let is_last_verified = own_verified > 0 && verified == own_verified;
        // An unverified holder does not replace a verified one.
        (is_last_verified || all <= own).then_some(is_last_verified)
    }

    /// Removes an object.
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

/// True if the object counts as a holder of its copies: another installation may delete its objects at any time.
fn holds(object: &Object) -> bool {
    !object.is_marked && object.is_ours
}

fn age(copy: &Copy) -> Age<'_> {
    (copy.date, &copy.key)
}
