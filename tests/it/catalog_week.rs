//! Holds the catalog to what it keeps of archives, marks, pins, leases, absences and events.

use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use patina::catalog::{
    Catalog, CatalogError, CommittedArchive, CopyFilter, Damage, Event, EventKind, ItemContent,
    Packed,
};
use patina::config::AlertLevel;
use patina::retention::Guards;
use patina::types::{
    ARCHIVE_FORMAT, ArchiveManifest, ArchiveMember, Compression, JobId, ObjectKey, Sha256,
    StoredFacts,
};

use crate::catalog::{at, backup, fresh, name};

fn noon() -> DateTime<Utc> {
    at("2026-11-29T12:00:00Z")
}

/// The archive of 2026-W48 that holds these dailies.
fn archive(catalog: &Catalog, members: &[&ObjectKey]) -> ArchiveManifest {
    let members = members.iter().map(|key| ArchiveMember {
        path: key.to_string(),
        manifest: catalog.copy(key).unwrap().unwrap().manifest,
    });
    ArchiveManifest {
        runbook: None,
        format: ARCHIVE_FORMAT,
        instance: "one".to_owned(),
        key: "weekly/2026-W48.tar.gz".parse().unwrap(),
        week: "2026-W48".parse().unwrap(),
        zone: "UTC".to_owned(),
        job: JobId::random(),
        started_at: "2026-11-29T04:00:00Z".to_owned(),
        completed_at: "2026-11-29T04:00:03Z".to_owned(),
        stored: StoredFacts {
            sha256: Sha256::of(b"archive"),
            size_bytes: 900,
            compression: Compression::Gzip,
        },
        members: members.collect(),
        left_out: Vec::new(),
        patina_version: "0.1.0".to_owned(),
    }
}

fn pack(catalog: &Catalog, members: &[&ObjectKey]) -> ObjectKey {
    let manifest = archive(catalog, members);
    let storages = ["r2".to_owned()];
    catalog
        .commit_archive(&committed(&manifest, &storages), &[])
        .unwrap();
    manifest.key
}

fn committed<'a>(manifest: &'a ArchiveManifest, storages: &'a [String]) -> CommittedArchive<'a> {
    CommittedArchive {
        manifest,
        storages,
        is_read_whole: true,
        completed_at: noon(),
        expires_at: noon() + TimeDelta::weeks(12),
    }
}

fn event(kind: EventKind, database: Option<&str>) -> Event {
    Event {
        kind,
        severity: AlertLevel::Critical,
        database: database.map(name),
        message: "what, where and the way out".to_owned(),
        at: noon(),
    }
}

#[test]
fn a_copy_is_unarchived_until_a_live_archive_holds_it() {
    let (_folder, catalog) = fresh();
    catalog.take_over("one").unwrap();
    let monday = backup(&catalog, "orders", "2026-11-23", |_| ());
    let tuesday = backup(&catalog, "orders", "2026-11-24", |_| ());
    let later = backup(&catalog, "orders", "2026-11-30", |_| ());
    let open = || -> Vec<ObjectKey> {
        let sunday = "2026-11-29".parse().unwrap();
        let copies = catalog.unarchived(sunday).unwrap();
        copies.iter().map(|copy| copy.key().clone()).collect()
    };
    assert_eq!(open(), [monday.clone(), tuesday.clone()]);
    let key = pack(&catalog, &[&monday]);
    assert_eq!(open(), std::slice::from_ref(&tuesday));
    let holding = catalog.archives_of(&monday).unwrap();
    assert_eq!(holding[0].key(), &key);
    assert!(catalog.archives_of(&later).unwrap().is_empty());
    catalog
        .mark_damaged(&key, "r2", Damage::Corrupt, "hash differs", noon())
        .unwrap();
    assert_eq!(open(), [monday, tuesday]);
}

#[test]
fn a_packed_archive_waits_until_it_is_committed() {
    let (_folder, catalog) = fresh();
    let monday = backup(&catalog, "orders", "2026-11-23", |_| ());
    let packed = Packed {
        path: PathBuf::from("/state/spool/week.ready"),
        manifest: archive(&catalog, &[&monday]),
    };
    catalog.pack(&packed).unwrap();
    assert_eq!(catalog.packed().unwrap(), [packed]);
    let key = pack(&catalog, &[&monday]);
    assert_eq!(catalog.packed().unwrap(), []);
    let stored = catalog.archive(&key).unwrap().unwrap();
    assert_eq!(stored.manifest.members.len(), 1);
    assert_eq!(stored.placements[0].verified_at, Some(noon()));
    let error = catalog.commit_archive(&committed(&stored.manifest, &[]), &[]);
    assert!(matches!(error, Err(CatalogError::Unstored { .. })));
}

#[test]
fn a_marked_copy_is_no_copy_for_anyone_and_a_mark_can_be_taken_back() {
    let (_folder, catalog) = fresh();
    let monday = backup(&catalog, "orders", "2026-11-23", |_| ());
    let keys = [monday.clone()];
    catalog.mark(&keys, noon(), Guards::all()).unwrap();
    let last = || catalog.newest_good(&name("orders")).unwrap();
    assert!(last().is_none());
    assert!(catalog.copies(&CopyFilter::default()).unwrap().is_empty());
    assert_eq!(catalog.items().unwrap()[0].marked_at, Some(noon()));
    catalog.unmark(&keys).unwrap();
    assert!(last().is_some());
}

#[test]
fn an_object_is_an_item_until_the_last_storage_gave_it_up() {
    let (_folder, catalog) = fresh();
    let monday = backup(&catalog, "orders", "2026-11-23", |_| ());
    let week = pack(&catalog, &[&monday]);
    let items = catalog.items().unwrap();
    let keys: Vec<&ObjectKey> = items.iter().map(|item| &item.key).collect();
    assert_eq!(keys, [&monday, &week]);
    let ItemContent::Weekly { members, .. } = &items[1].content else {
        panic!("{:?}", items[1].content);
    };
    assert_eq!(members[0].key, monday);

    catalog
        .mark(std::slice::from_ref(&monday), noon(), Guards::all())
        .unwrap();
    let from = |storage: &str| [(monday.clone(), storage.to_owned())];
    catalog.removed(&from("r2")).unwrap();
    assert_eq!(catalog.items().unwrap().len(), 2);
    catalog.removed(&from("nas")).unwrap();
    assert_eq!(catalog.items().unwrap().len(), 1);
    assert_eq!(catalog.archives_of(&monday).unwrap().len(), 1);
}

#[test]
fn what_was_pinned_or_leased_since_it_was_marked_does_not_begin_to_go() {
    let (_folder, catalog) = fresh();
    let keys = ["2026-11-21", "2026-11-22", "2026-11-23"]
        .map(|date| backup(&catalog, "orders", date, |_| ()));
    catalog.mark(&keys, noon(), Guards::all()).unwrap();
    catalog.pin(&keys[0], None, noon()).unwrap();
    let until = noon() + TimeDelta::hours(1);
    let _lease = catalog.lease(&keys[1..2], "download", until).unwrap();
    let wanted = keys.clone().map(|key| (key, "r2".to_owned()));
    let begun = |at, guards| catalog.begin_removals(&wanted, at, guards).unwrap();
    assert_eq!(begun(noon(), Guards::all()), [wanted[2].clone()]);
    assert_eq!(catalog.removals().unwrap(), [wanted[2].clone()]);
    // What began already does not begin again; what was leased begins after the lease.
    assert_eq!(begun(until, Guards::all()), [wanted[1].clone()]);
    catalog.cancel_removals(&wanted).unwrap();
    assert_eq!(catalog.removals().unwrap(), []);
}

#[test]
fn a_lease_ends_when_it_is_given_back_or_at_its_time() {
    let (_folder, catalog) = fresh();
    let monday = backup(&catalog, "orders", "2026-11-23", |_| ());
    let keys = std::slice::from_ref(&monday);
    let is_leased = |now| catalog.care(now).unwrap().leased.contains(&monday);
    let until = noon() + TimeDelta::hours(1);
    let first = catalog.lease(keys, "verify", until).unwrap();
    let second = catalog.lease(keys, "download", until).unwrap();
    catalog.release(first, noon()).unwrap();
    assert!(is_leased(noon()));
    assert!(!is_leased(until));
    catalog.release(second, noon()).unwrap();
    assert!(!is_leased(noon()));
}

#[test]
fn what_a_person_decided_about_expiry_is_kept() {
    let (_folder, catalog) = fresh();
    let monday = backup(&catalog, "orders", "2026-11-23", |_| ());
    catalog
        .pin(&monday, Some("before the move"), noon())
        .unwrap();
    let refused = event(EventKind::ExpiryRefused, Some("orders"));
    catalog.freeze(&name("orders"), &refused).unwrap();
    catalog.freeze(&name("orders"), &refused).unwrap();
    catalog.forget(&name("gone"), noon()).unwrap();
    catalog.keep_quiet(noon()).unwrap();
    catalog.keep_quiet(noon() - TimeDelta::days(1)).unwrap();
    let care = catalog.care(noon()).unwrap();
    assert!(care.pinned.contains(&monday));
    assert_eq!(care.frozen[&name("orders")], refused.message);
    assert!(care.forgotten.contains(&name("gone")));
    assert_eq!(care.quiet_until, Some(noon()));
    let mut events = catalog.events(10).unwrap();
    events.retain(|event| event.kind == EventKind::ExpiryRefused);
    assert_eq!(events, [refused], "told once");

    assert!(catalog.acknowledge(&name("orders"), noon()).unwrap());
    assert!(!catalog.acknowledge(&name("orders"), noon()).unwrap());
    assert!(catalog.unpin(&monday).unwrap() && !catalog.unpin(&monday).unwrap());
    catalog.remember(&name("gone")).unwrap();
    let care = catalog.care(noon()).unwrap();
    assert_eq!(care.acknowledged[&name("orders")], noon());
    assert!(care.frozen.is_empty() && care.pinned.is_empty() && care.forgotten.is_empty());
}

#[test]
fn why_nothing_of_a_database_expires_is_told_without_saying_twice_that_it_is_so() {
    let (_folder, catalog) = fresh();
    let told = "nothing of `orders` expires: ";
    let mut refused = event(EventKind::ExpiryRefused, Some("orders"));
    refused.message =
        format!("{told}3 of its 4 copies would go at once\nhint: look at `patina plan`");
    catalog.freeze(&name("orders"), &refused).unwrap();
    let mut doubled = event(EventKind::ExpiryRefused, Some("users"));
    doubled.message = "nothing of `users` expires: nothing of `users` expires: it is so".to_owned();
    catalog.freeze(&name("users"), &doubled).unwrap();
    let care = catalog.care(noon()).unwrap();
    assert_eq!(
        care.frozen[&name("orders")],
        "3 of its 4 copies would go at once"
    );
    assert_eq!(care.frozen[&name("users")], "it is so");
    let again = format!("{told}{}", care.frozen[&name("orders")]);
    assert_eq!(again.matches("nothing of").count(), 1);
}

#[test]
fn an_absence_remembers_when_it_was_first_seen() {
    let (_folder, catalog) = fresh();
    let monday = backup(&catalog, "orders", "2026-11-23", |_| ());
    let later = noon() + TimeDelta::minutes(10);
    let note = |at| catalog.note_absence(&monday, "r2", at).unwrap();
    assert_eq!(note(noon()), noon());
    assert_eq!(note(later), noon());
    catalog.forget_absence(&monday, "r2").unwrap();
    assert_eq!(note(later), later);
}

#[test]
fn a_damage_is_told_once_and_forgotten_when_every_byte_was_right_again() {
    let (_folder, catalog) = fresh();
    let monday = backup(&catalog, "orders", "2026-11-23", |_| ());
    let later = noon() + TimeDelta::days(1);
    let damage = |at| {
        catalog
            .mark_damaged(&monday, "r2", Damage::Missing, "gone twice", at)
            .unwrap();
    };
    let placement = || {
        let copy = catalog.copy(&monday).unwrap().unwrap();
        let mut placements = copy.placements.into_iter();
        placements
            .find(|placement| placement.storage == "r2")
            .unwrap()
    };
    damage(noon());
    damage(later);
    assert_eq!(placement().damaged_at, Some(noon()));
    let mut events = catalog.events(10).unwrap();
    events.retain(|event| event.kind != EventKind::BackupCompleted);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].kind, EventKind::MissingObject);
    catalog.mark_verified(&monday, "r2", later).unwrap();
    assert_eq!((placement().damaged_at, placement().damage), (None, None));
}

#[test]
fn a_slot_is_taken_once_and_an_earlier_one_that_was_jumped_over_stays_free() {
    let (_folder, catalog) = fresh();
    let take = |slot| catalog.take_slot("nightly", slot).unwrap();
    let last = |until| {
        let slot = catalog.last_slot("nightly", until).unwrap();
        slot.map(|slot| slot.at)
    };
    let (yesterday, tomorrow) = (noon() - TimeDelta::days(1), noon() + TimeDelta::days(1));
    assert_eq!(last(tomorrow), None);
    assert!(take(noon()) && !take(noon()));
    assert!(take(tomorrow) && take(yesterday) && !take(yesterday));
    assert!(catalog.take_slot("weekly", noon()).unwrap());
    assert_eq!(last(tomorrow), Some(tomorrow));
    assert_eq!(last(tomorrow - TimeDelta::seconds(1)), Some(noon()));
    assert_eq!(last(yesterday - TimeDelta::seconds(1)), None);
}

#[test]
fn a_slot_is_taken_anew_only_where_an_earlier_one_was_taken_after_it() {
    let (_folder, catalog) = fresh();
    let (day, hour) = (TimeDelta::days(1), TimeDelta::hours(1));
    let (yesterday, tomorrow) = (noon() - day, noon() + day);
    let take = |task: &str, slot| {
        assert!(catalog.take_slot(task, slot).unwrap());
        catalog.end_slot(task, slot, slot).unwrap();
    };
    let earlier = |task: &str, catch_up| {
        let found = catalog.earlier_taken_after(task, tomorrow, catch_up);
        found.unwrap()
    };
    take("nightly", yesterday);
    take("nightly", tomorrow);
    take("weekly", tomorrow);
    assert_eq!(earlier("nightly", hour), None);
    assert!(!catalog.take_anew("nightly", tomorrow, yesterday).unwrap());
    take("nightly", noon());
    assert_eq!(earlier("nightly", day * 2), Some(noon()));
    // Of another task it shows something only where it cannot have been caught up.
    assert_eq!(earlier("weekly", day), None);
    assert_eq!(earlier("weekly", hour), Some(noon()));
    for task in ["nightly", "weekly"] {
        assert!(catalog.take_anew(task, tomorrow, noon()).unwrap());
        assert!(!catalog.take_anew(task, tomorrow, noon()).unwrap());
        assert_eq!(earlier(task, hour), None);
        let taken = catalog.last_slot(task, tomorrow).unwrap().unwrap();
        assert_eq!((taken.at, taken.ended_at), (tomorrow, None));
    }
}

#[test]
fn a_slot_is_taken_again_only_while_nobody_ended_it_and_each_attempt_is_counted() {
    let (_folder, catalog) = fresh();
    let last = || catalog.last_slot("nightly", noon()).unwrap().unwrap();
    assert!(!catalog.retake_slot("nightly", noon()).unwrap());
    assert!(catalog.take_slot("nightly", noon()).unwrap());
    assert!(catalog.retake_slot("nightly", noon()).unwrap());
    assert_eq!((last().attempts, last().ended_at), (2, None));
    catalog.leave_slot("nightly", noon()).unwrap();
    assert_eq!(last().attempts, 1);
    let later = noon() + TimeDelta::minutes(5);
    catalog.end_slot("nightly", noon(), later).unwrap();
    assert_eq!(last().ended_at, Some(later));
    assert!(!catalog.retake_slot("nightly", noon()).unwrap());
}

#[test]
fn the_id_of_a_lost_installation_is_taken_over_until_something_is_stored_under_its_own() {
    let (_folder, catalog) = fresh();
    let own = catalog.instance().unwrap();
    assert_eq!(catalog.take_over("lost").unwrap(), "lost");
    assert_eq!(catalog.instance().unwrap(), "lost");
    assert_ne!(own, "lost");
    // A job alone, such as one that was refused, is no reason.
    backup(&catalog, "orders", "2026-11-23", |_| ());
    assert_eq!(catalog.take_over("one").unwrap(), "one");
    assert_eq!(catalog.take_over("other").unwrap(), "one");
    assert_eq!(catalog.instance().unwrap(), "one");
    assert_eq!(catalog.instances().unwrap(), ["one"]);
}
