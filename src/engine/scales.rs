//! Puts what the catalog knows into the terms of [`retention`](crate::retention).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::catalog::{
    AGREEMENT, Care, Catalog, CatalogError, CopyState, Item, ItemContent, ItemMember, Placement,
};
use crate::config::Config;
use crate::retention::{Content, Copy, Guards, Hold, Object, Policy, Situation, State};
use crate::types::{BackupDate, DatabaseName, ObjectKey};

/// What copies are weighed by.
pub(super) struct Scales<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) config: &'a Config,
    /// Whether a storage of this name can be looked at.
    pub(super) knows: &'a (dyn Fn(&str) -> bool + Sync),
    pub(super) now: DateTime<Utc>,
}

impl Scales<'_> {
    pub(super) fn objects(&self, items: &[Item], care: &Care) -> Result<Vec<Object>, CatalogError> {
        let instance = self.catalog.instance()?;
        let removals = self.catalog.removals()?.into_iter();
        let going: BTreeSet<ObjectKey> = removals.map(|(key, _)| key).collect();
        let unconfirmed = self.catalog.unconfirmed()?;
        let objects = items.iter().map(|item| {
            let mut object = self.object(item, care, &instance);
            let is_unconfirmed = unconfirmed.contains(&item.key);
            if going.contains(&item.key) || is_unconfirmed {
                // Of one that goes some may be gone; and for what anybody may have put there no other copy goes.
                object.state = State::Unfit;
            }
            // Nor does it go itself: it may be this installation's all the same.
            object.is_ours &= !is_unconfirmed;
            object
        });
        Ok(objects.collect())
    }

    pub(super) fn situation(&self, care: Care, hold: Option<Hold>, guards: Guards) -> Situation {
        let frozen = care.held(self.now);
        let retention = self.config.retention();
        let zone = self.config.agent().timezone;
        Situation {
            today: BackupDate(self.now.with_timezone(&zone).date_naive()),
            policy: Policy {
                daily_days: retention.daily_days,
                weekly_weeks: retention.weekly_weeks,
                min_copies: retention.min_copies,
            },
            hold,
            acknowledged: agreed(&care, self.now),
            forgotten: self.forgotten(&care),
            frozen,
            guards,
        }
    }

    /// A database that is in the configuration again is as any other.
    fn forgotten(&self, care: &Care) -> BTreeSet<DatabaseName> {
        let gone = care.forgotten.iter();
        gone.filter(|name| self.config.database(name).is_none())
            .cloned()
            .collect()
    }

    fn object(&self, item: &Item, care: &Care, instance: &str) -> Object {
        Object {
            content: content(item),
            state: self.state(item, &care.acknowledged),
            is_ours: *item.instance == *instance,
            is_pinned: care.pinned.contains(&item.key),
            is_leased: care.leased.contains(&item.key),
            is_marked: item.marked_at.is_some(),
            key: item.key.clone(),
        }
    }

    fn state(&self, item: &Item, acknowledged: &BTreeMap<DatabaseName, DateTime<Utc>>) -> State {
        // What lies in a storage that left the configuration cannot be looked at.
        let known = |placement: &&Placement| (self.knows)(&placement.storage);
        let mut damages = item
            .placements
            .iter()
            .filter(known)
            .filter_map(|placement| {
                (placement.state != CopyState::Live).then_some(placement.damaged_at)
            });
        if damages.any(|at| !is_seen(item, at, acknowledged)) {
            return State::Damaged;
        }
        let mut live = item
            .placements
            .iter()
            .filter(known)
            .filter(|placement| placement.state == CopyState::Live)
            .peekable();
        match () {
            () if !item.is_good || live.peek().is_none() => State::Unfit,
            () if live.any(|placement| placement.verified_at.is_some()) => State::Verified,
            () => State::Unread,
        }
    }
}

fn agreed(care: &Care, now: DateTime<Utc>) -> BTreeSet<DatabaseName> {
    let fresh = care
        .acknowledged
        .iter()
        .filter(|(_, at)| now - **at < AGREEMENT);
    fresh.map(|(database, _)| database.clone()).collect()
}

fn content(item: &Item) -> Content {
    match &item.content {
        ItemContent::Daily { database, date } => Content::Daily(Copy {
            key: item.key.clone(),
            database: database.clone(),
            date: *date,
        }),
        ItemContent::Weekly { week, members } => {
            let copy = |member: &ItemMember| Copy {
                key: member.key.clone(),
                database: member.database.clone(),
                date: member.date,
            };
            Content::Weekly {
                week: *week,
                members: members.iter().map(copy).collect(),
            }
        }
    }
}

/// Whether a person has looked since the damage was found, at each database that it is about.
fn is_seen(
    item: &Item,
    damaged_at: Option<DateTime<Utc>>,
    acknowledged: &BTreeMap<DatabaseName, DateTime<Utc>>,
) -> bool {
    let is_seen = |database: &DatabaseName| {
        let seen_at = acknowledged.get(database);
        seen_at
            .zip(damaged_at)
            .is_some_and(|(seen_at, damaged_at)| damaged_at <= *seen_at)
    };
    match &item.content {
        ItemContent::Daily { database, .. } => is_seen(database),
        ItemContent::Weekly { members, .. } => {
            members.iter().all(|member| is_seen(&member.database))
        }
    }
}
