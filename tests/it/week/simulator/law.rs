//! The promises, as questions about what lay in the bucket before and after. None of them asks retention itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use patina::catalog::{Care, Catalog, CopyState, Item, ItemContent};
use patina::store::{MemoryStore, Store, digest, read_small};
use patina::types::{ArchiveManifest, DatabaseName, Manifest, ObjectKey, Sha256, StoredFacts};

/// A promise that was broken.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) law: &'static str,
    pub(super) what: String,
}

pub(super) fn broken(law: &'static str, what: impl Into<String>) -> Result<(), Broken> {
    let what = what.into();
    Err(Broken { law, what })
}

/// What is known at one time.
pub(super) struct Known {
    items: Vec<Item>,
    care: Care,
}

/// A copy's day and key.
type Copy = (String, ObjectKey);

impl Known {
    pub(super) fn of(catalog: &Catalog, now: DateTime<Utc>) -> Self {
        Self {
            items: catalog.items().unwrap(),
            care: catalog.care(now).unwrap(),
        }
    }

    /// The copies of each database that an object of `kind` holds which was not chosen to go.
    fn copies(&self, is_asked: impl Fn(&Item) -> bool) -> BTreeMap<DatabaseName, BTreeSet<Copy>> {
        let mut copies: BTreeMap<DatabaseName, BTreeSet<Copy>> = BTreeMap::new();
        for item in self
            .items
            .iter()
            .filter(|item| item.marked_at.is_none() && is_asked(item))
        {
            for (database, copy) in held(item) {
                copies.entry(database).or_default().insert(copy);
            }
        }
        copies
    }

    fn verified(&self) -> BTreeMap<DatabaseName, BTreeSet<Copy>> {
        self.copies(is_verified)
    }

    fn item(&self, key: &ObjectKey) -> Option<&Item> {
        self.items.iter().find(|item| item.key == *key)
    }

    pub(super) fn keys(&self) -> Vec<ObjectKey> {
        self.items.iter().map(|item| item.key.clone()).collect()
    }
}

fn is_verified(item: &Item) -> bool {
    let mut live = item
        .placements
        .iter()
        .filter(|placement| placement.state == CopyState::Live);
    item.is_good && live.any(|placement| placement.verified_at.is_some())
}

fn held(item: &Item) -> Vec<(DatabaseName, Copy)> {
    match &item.content {
        ItemContent::Daily { database, date } => {
            vec![(database.clone(), (date.to_string(), item.key.clone()))]
        }
        ItemContent::Weekly { members, .. } => members
            .iter()
            .map(|member| {
                (
                    member.database.clone(),
                    (member.date.to_string(), member.key.clone()),
                )
            })
            .collect(),
    }
}

/// What the world knows and Patina has to find out.
pub(super) struct Truth<'a> {
    pub(super) min_copies: usize,
    pub(super) instance: &'a str,
    pub(super) is_time_wrong: bool,
    pub(super) rebuilt_at: Option<DateTime<Utc>>,
    pub(super) now: DateTime<Utc>,
}

/// P4 and P8 after a run of expiry: `gone` is what the bucket does not hold any more.
pub(super) fn expiry(
    before: &Known,
    after: &Known,
    gone: &[ObjectKey],
    truth: &Truth<'_>,
) -> Result<(), Broken> {
    let (had, has) = (before.verified(), after.verified());
    for (database, had) in &had {
        let left = has.get(database).map_or(0, BTreeSet::len);
        if left < had.len().min(truth.min_copies) {
            return broken(
                "last",
                format!("{database}: {} verified copies became {left}", had.len()),
            );
        }
    }
    if !gone.is_empty() && truth.is_time_wrong {
        return broken("clock", format!("{gone:?} went while the time was wrong"));
    }
    if let Some(at) = truth
        .rebuilt_at
        .filter(|at| truth.now - *at < TimeDelta::hours(24))
        && !gone.is_empty()
    {
        return broken("quiet", format!("{gone:?} went after the rebuild at {at}"));
    }
    for key in gone {
        let Some(item) = before.item(key) else {
            return broken("own", format!("{key} was never known"));
        };
        object(before, after, item, truth)?;
    }
    halves(before, after, gone)
}

fn object(before: &Known, after: &Known, item: &Item, truth: &Truth<'_>) -> Result<(), Broken> {
    let (key, care) = (&item.key, &before.care);
    if care.pinned.contains(key) {
        return broken("pin", format!("{key} was pinned"));
    }
    if care.leased.contains(key) {
        return broken("lease", format!("{key} was being read"));
    }
    if *item.instance != *truth.instance {
        return broken("own", format!("{key} is of {}", item.instance));
    }
    let stays = after.copies(|_| true);
    let verified = after.verified();
    for (database, copy) in held(item) {
        if let Some(why) = trouble(before, &database) {
            return broken("breaker", format!("{key} went, although {why}"));
        }
        let stays = stays
            .get(&database)
            .is_some_and(|copies| copies.contains(&copy));
        let newest = verified.get(&database).and_then(BTreeSet::last);
        if !stays && newest.is_none_or(|newest| *newest < copy) {
            return broken(
                "newer",
                format!("{key} went, and {newest:?} is the newest of {database}"),
            );
        }
    }
    let is_daily = matches!(item.content, ItemContent::Daily { .. });
    let is_archive = |item: &&Item| matches!(item.content, ItemContent::Weekly { .. });
    let archives = before
        .items
        .iter()
        .filter(is_archive)
        .filter(|item| is_verified(item));
    let is_covered = archives
        .flat_map(held)
        .any(|(_, (_, covered))| covered == *key);
    let is_live = item
        .placements
        .iter()
        .any(|placement| placement.state == CopyState::Live);
    if is_daily && item.is_good && is_live && !is_covered {
        return broken("week", format!("{key} went, and no archive has it"));
    }
    Ok(())
}

/// What a person has to look at before anything of the database may go.
fn trouble(known: &Known, database: &DatabaseName) -> Option<String> {
    if let Some(why) = known.care.frozen.get(database) {
        return Some(why.clone());
    }
    let seen_at = known.care.acknowledged.get(database);
    let of_it = known
        .items
        .iter()
        .filter(|item| held(item).iter().any(|(name, _)| name == database));
    let mut damages = of_it.flat_map(|item| {
        item.placements
            .iter()
            .map(move |placement| (item, placement))
    });
    let found = damages.find(|(_, placement)| {
        placement.state != CopyState::Live
            && seen_at.is_none_or(|seen_at| placement.damaged_at.is_none_or(|at| at > *seen_at))
    });
    found.map(|(item, _)| format!("{} is damaged", item.key))
}

/// No database loses more than half at once unless a person looked.
fn halves(before: &Known, after: &Known, gone: &[ObjectKey]) -> Result<(), Broken> {
    if gone.is_empty() {
        return Ok(());
    }
    let (had, has) = (before.copies(|_| true), after.copies(|_| true));
    for (database, had) in had {
        let left = has
            .get(&database)
            .map_or(0, |has| had.intersection(has).count());
        let lost = had.len() - left;
        if 2 * lost > had.len() && !before.care.acknowledged.contains_key(&database) {
            return broken(
                "breaker",
                format!("{database} lost {lost} of {} copies", had.len()),
            );
        }
    }
    Ok(())
}

/// What the world did to the bucket by itself.
#[derive(Default)]
pub(super) struct Harm {
    pub(super) objects: BTreeSet<ObjectKey>,
    /// The digest of each object when it was first seen.
    seen: HashMap<ObjectKey, Sha256>,
}

/// P2, P6 and P8 at any time that no process runs: what has a manifest is whole, what the catalog has is there, and
/// nothing was ever written again.
pub(super) async fn bucket(
    bucket: &MemoryStore,
    catalog: &Catalog,
    harm: &mut Harm,
) -> Result<(), Broken> {
    let listing = bucket.list().await.unwrap();
    for (key, _) in &listing.objects {
        let found = digest(bucket, key).await.unwrap().unwrap();
        let first = *harm.seen.entry(key.clone()).or_insert(found.sha256);
        if first != found.sha256 && !harm.objects.contains(key) {
            return broken("P8", format!("{key} was written again"));
        }
        let text = key.as_str();
        let Some(object) = text
            .strip_prefix("manifests/")
            .and_then(|text| text.strip_suffix(".json"))
        else {
            continue;
        };
        let object: ObjectKey = object.parse().unwrap();
        let bytes = read_small(bucket, key, 1 << 20).await.unwrap().unwrap();
        let stored = stored_of(&object, &bytes);
        let digest = digest(bucket, &object).await.unwrap();
        let is_whole = digest.is_some_and(|digest| digest.sha256 == stored.sha256);
        if !is_whole && !harm.objects.contains(&object) {
            return broken("P2", format!("{object} has a manifest and is not whole"));
        }
    }
    let has = |key: &ObjectKey| listing.objects.iter().any(|(known, _)| known == key);
    for item in catalog.items().unwrap() {
        let is_live = item
            .placements
            .iter()
            .any(|placement| placement.state == CopyState::Live);
        let is_there = has(&item.key) && has(&item.key.manifest());
        let is_ours = item.marked_at.is_none() && !harm.objects.contains(&item.key);
        if is_live && is_ours && !is_there {
            return broken(
                "P6",
                format!("{} is in the catalog and not in the bucket", item.key),
            );
        }
    }
    Ok(())
}

fn stored_of(object: &ObjectKey, manifest: &[u8]) -> StoredFacts {
    if object.as_str().starts_with("weekly/") {
        return serde_json::from_slice::<ArchiveManifest>(manifest)
            .unwrap()
            .stored;
    }
    serde_json::from_slice::<Manifest>(manifest).unwrap().stored
}
