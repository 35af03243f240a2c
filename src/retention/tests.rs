//! Shows the effect of each rule, and that no history deletes the last verified copies.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use proptest::prelude::*;

use super::*;

fn day(text: &str) -> BackupDate {
    text.parse().unwrap()
}

fn copy(database: &str, date: BackupDate) -> Copy {
    Copy {
        key: format!("daily/{date}/{database}.sql").parse().unwrap(),
        database: database.parse().unwrap(),
        date,
    }
}

fn object(key: ObjectKey, content: Content) -> Object {
    Object {
        key,
        content,
        state: State::Verified,
        is_ours: true,
        is_pinned: false,
        is_leased: false,
        is_marked: false,
    }
}

fn daily(database: &str, date: &str) -> Object {
    let copy = copy(database, day(date));
    object(copy.key.clone(), Content::Daily(copy))
}

/// Archive of the week that ends on `sunday`, with these databases' dumps of all its days.
fn weekly(sunday: &str, databases: &[&str]) -> Object {
    let sunday = day(sunday);
    let days = (0..7).rev().map(|back| sunday.minus_days(back));
    let members = days.flat_map(|day| databases.iter().map(move |name| copy(name, day)));
    let week = sunday.week();
    let members = members.collect();
    object(ObjectKey::weekly(week), Content::Weekly { week, members })
}

fn on(today: &str) -> Situation {
    Situation {
        today: day(today),
        policy: Policy {
            daily_days: 7,
            weekly_weeks: 12,
            min_copies: 2,
        },
        hold: None,
        frozen: BTreeMap::new(),
        acknowledged: BTreeSet::new(),
        forgotten: BTreeSet::new(),
        guards: Guards::all(),
    }
}

/// Objects on Sunday 2026-11-29: last week's archive and this week's, and every day since the 20th.
fn sunday() -> (Vec<Object>, Situation) {
    let days = (20..=29).map(|day| daily("blog", &format!("2026-11-{day}")));
    let weeks = ["2026-11-22", "2026-11-29"].map(|sunday| weekly(sunday, &["blog"]));
    (days.chain(weeks).collect(), on("2026-11-29"))
}

fn deleted(objects: &[Object], situation: &Situation) -> Vec<String> {
    decide(objects, situation)
        .deleted()
        .map(ToString::to_string)
        .collect()
}

#[track_caller]
fn word(objects: &[Object], situation: &Situation, key: &ObjectKey) -> &'static str {
    let plan = decide(objects, situation);
    let verdict = plan
        .verdicts
        .iter()
        .find(|verdict| verdict.key == *key)
        .unwrap();
    match &verdict.fate {
        Fate::Keep(kept) => kept.word(),
        Fate::Delete(_) => "delete",
    }
}

/// Asserts that `guard`, and no other, keeps the object at `place`.
#[track_caller]
fn is_kept_by(guard: Guard, name: &str, objects: &[Object], situation: &Situation, place: usize) {
    let key = &objects[place].key;
    assert_eq!(word(objects, situation, key), name);
    let situation = Situation {
        guards: Guards::without(guard),
        ..situation.clone()
    };
    assert_eq!(
        word(objects, &situation, key),
        "delete",
        "{guard:?} is not what keeps it"
    );
}

#[test]
fn on_sunday_the_covered_days_before_the_last_seven_go() {
    let (objects, situation) = sunday();
    let gone = ["daily/2026-11-20/blog.sql", "daily/2026-11-21/blog.sql"];
    assert_eq!(deleted(&objects, &situation), gone);
}

#[test]
fn an_archive_goes_when_its_sunday_is_more_than_twelve_weeks_ago() {
    let mut objects: Vec<Object> = (0..15)
        .map(|back| {
            weekly(
                &day("2026-11-29").minus_days(7 * back).to_string(),
                &["blog"],
            )
        })
        .collect();
    objects.push(daily("blog", "2026-11-29"));
    assert_eq!(objects[12].key.as_str(), "weekly/2026-W36.tar.gz");
    let gone = ["weekly/2026-W34.tar.gz", "weekly/2026-W35.tar.gz"];
    assert_eq!(deleted(&objects, &on("2026-11-29")), gone);
}

#[test]
fn the_last_guard_keeps_the_newest_of_a_database_that_is_gone() {
    let objects = [
        weekly("2026-06-07", &["blog"]),
        weekly("2026-06-14", &["blog"]),
        daily("blog", "2026-11-29"),
    ];
    let situation = Situation {
        policy: Policy {
            min_copies: 2,
            ..on("2026-11-29").policy
        },
        acknowledged: BTreeSet::from(["blog".parse().unwrap()]),
        ..on("2026-11-29")
    };
    assert_eq!(deleted(&objects, &situation), ["weekly/2026-W23.tar.gz"]);
    is_kept_by(Guard::Last, "last", &objects, &situation, 1);
}

#[test]
fn the_newer_guard_keeps_what_nothing_verified_follows() {
    let mut objects = vec![
        weekly("2026-06-07", &["blog"]),
        weekly("2026-06-14", &["blog"]),
    ];
    objects[0].is_pinned = true;
    for week in ["2026-11-15", "2026-11-22"] {
        let mut unread = weekly(week, &["blog"]);
        unread.state = State::Unread;
        objects.push(unread);
    }
    is_kept_by(Guard::Newer, "newer", &objects, &on("2026-11-29"), 1);
}

#[test]
fn the_week_guard_keeps_a_day_that_no_verified_archive_holds() {
    let (mut objects, situation) = sunday();
    objects[10].state = State::Unread;
    is_kept_by(Guard::Week, "week", &objects, &situation, 0);
}

#[test]
fn the_guards_of_single_objects_keep_what_they_say() {
    let (objects, situation) = sunday();
    type Change = fn(&mut Object);
    let changes: [(Guard, &str, Change); 3] = [
        (Guard::Lease, "lease", |object| object.is_leased = true),
        (Guard::Pin, "pin", |object| object.is_pinned = true),
        (Guard::Own, "own", |object| object.is_ours = false),
    ];
    for (guard, name, change) in changes {
        let mut objects = objects.clone();
        change(&mut objects[0]);
        is_kept_by(guard, name, &objects, &situation, 0);
    }
}

#[test]
fn while_the_time_is_doubtful_or_the_catalog_new_nothing_goes() {
    let (objects, situation) = sunday();
    let holds = [
        (
            Guard::Clock,
            "clock",
            Hold::Clock("it went back".to_owned()),
        ),
        (Guard::Quiet, "quiet", Hold::Quiet("tomorrow".to_owned())),
    ];
    for (guard, name, hold) in holds {
        let situation = Situation {
            hold: Some(hold),
            ..situation.clone()
        };
        is_kept_by(guard, name, &objects, &situation, 0);
        assert!(deleted(&objects, &situation).is_empty());
    }
}

#[test]
fn the_breaker_holds_a_database_with_damage_and_no_other() {
    let (mut objects, situation) = sunday();
    objects.push(daily("shop", "2026-11-20"));
    objects.push(weekly("2026-11-22", &["shop"]));
    let last = objects.len() - 1;
    objects[last].key = "weekly/2026-W46.tar.gz".parse().unwrap();
    objects[9].state = State::Damaged;
    is_kept_by(Guard::Breaker, "breaker", &objects, &situation, 0);
    assert_eq!(deleted(&objects, &situation), ["daily/2026-11-20/shop.sql"]);
    let plan = decide(&objects, &situation);
    assert!(plan.refused[&"blog".parse().unwrap()].contains("2026-11-29/blog.sql"));
}

#[test]
fn the_breaker_holds_a_database_that_would_lose_more_than_half_until_a_person_agrees() {
    let weeks = ["2026-06-07", "2026-06-14", "2026-06-21", "2026-11-22"];
    let objects = weeks.map(|sunday| weekly(sunday, &["blog", "shop"]));
    let mut situation = on("2026-11-29");
    is_kept_by(Guard::Breaker, "breaker", &objects, &situation, 0);
    let plan = decide(&objects, &situation);
    assert_eq!(plan.refused.len(), 2, "{:?}", plan.refused);
    situation.acknowledged = plan.refused.into_keys().collect();
    assert_eq!(deleted(&objects, &situation).len(), 3);
}

#[test]
fn a_frozen_database_keeps_everything() {
    let (objects, mut situation) = sunday();
    let name: DatabaseName = "blog".parse().unwrap();
    situation
        .frozen
        .insert(name, "the disk was full".to_owned());
    is_kept_by(Guard::Breaker, "breaker", &objects, &situation, 0);
}

#[test]
fn a_forgotten_database_goes_with_its_age_the_last_copy_too() {
    let objects = [daily("blog", "2026-11-01"), weekly("2026-06-14", &["blog"])];
    let mut situation = on("2026-11-29");
    assert!(deleted(&objects, &situation).is_empty());
    situation.forgotten.insert("blog".parse().unwrap());
    assert_eq!(deleted(&objects, &situation).len(), 2);
}

#[test]
fn what_was_chosen_before_is_finished_unless_a_guard_objects_now() {
    let (mut objects, situation) = sunday();
    objects[0].is_marked = true;
    assert_eq!(word(&objects, &situation, &objects[0].key), "delete");
    objects[10].state = State::Unread;
    assert_eq!(word(&objects, &situation, &objects[0].key), "week");
}

#[test]
fn an_archive_that_an_earlier_run_chose_covers_its_days_and_counts_no_more() {
    let (mut objects, situation) = sunday();
    objects[10].is_marked = true;
    let key = &objects[0].key;
    assert_eq!(word(&objects, &situation, key), "delete");
    let rest: Vec<Object> = [0, 1, 10].map(|place: usize| objects[place].clone()).into();
    assert_eq!(word(&rest, &situation, key), "last");
}

#[test]
fn a_copy_that_never_counted_needs_no_archive_and_goes_only_before_verified_ones() {
    let (mut objects, situation) = sunday();
    let mut unfit = daily("blog", "2026-11-10");
    unfit.state = State::Unfit;
    objects.push(unfit);
    let key = objects[objects.len() - 1].key.clone();
    assert_eq!(word(&objects, &situation, &key), "delete");
    let alone = &objects[objects.len() - 1..];
    assert_eq!(word(alone, &situation, &key), "last");
}

const DATABASES: [&str; 3] = ["auth", "blog", "shop"];

/// Days of a made-up year, from day 1 on.
fn date(number: u64) -> BackupDate {
    day("2026-01-01").plus_days(number)
}

fn state() -> impl Strategy<Value = State> {
    prop_oneof![
        8 => Just(State::Verified),
        1 => Just(State::Unread),
        1 => Just(State::Unfit),
        1 => Just(State::Damaged),
    ]
}

prop_compose! {
    fn flags()(state in state(), own in 0..20u8, pin in 0..20u8, lease in 0..20u8, mark in 0..10u8)
        -> (State, [bool; 4])
    {
        (state, [own > 0, pin == 0, lease == 0, mark == 0])
    }
}

fn with(mut object: Object, (state, [own, pin, lease, mark]): (State, [bool; 4])) -> Object {
    object.state = state;
    object.is_ours = own;
    object.is_pinned = pin;
    object.is_leased = lease;
    object.is_marked = mark;
    object
}

prop_compose! {
    fn history()(
        days in prop::collection::btree_map((0..120u64, 0..3usize), flags(), 0..60),
        weeks in prop::collection::btree_map(0..17u64, (flags(), 1..8u8), 0..17),
    ) -> Vec<Object> {
        let days = days.into_iter().map(|((number, database), flags)| {
            with(daily(DATABASES[database], &date(number).to_string()), flags)
        });
        let weeks = weeks.into_iter().map(|(number, (flags, held))| {
            let held: Vec<&str> = (0..3).filter(|bit| held & (1 << bit) > 0).map(|bit| DATABASES[bit]).collect();
            let sunday = date(7 * number).week().last_day();
            with(weekly(&sunday.to_string(), &held), flags)
        });
        days.chain(weeks).collect()
    }
}

prop_compose! {
    fn situation()(
        today in 0..200u64,
        daily_days in 1..20u32,
        weekly_weeks in 1..15u32,
        min_copies in 1..5u32,
        acknowledged in prop::collection::btree_set(0..3usize, 0..4),
    ) -> Situation {
        let acknowledged = acknowledged.into_iter().map(|database| DATABASES[database].parse().unwrap());
        Situation {
            today: date(today),
            policy: Policy { daily_days, weekly_weeks, min_copies },
            acknowledged: acknowledged.collect(),
            ..on("2026-01-01")
        }
    }
}

/// Number of verified copies of a database that unmarked objects hold.
fn verified<'a>(objects: impl Iterator<Item = &'a Object>, database: &str) -> usize {
    let held = objects
        .filter(|object| object.state == State::Verified && !object.is_marked && object.is_ours);
    let copies = held.flat_map(|object| object.copies());
    let of_it = copies.filter(|copy| copy.database.as_str() == database);
    of_it.map(|copy| &copy.key).collect::<HashSet<_>>().len()
}

proptest! {
    #[test]
    fn expiry_never_leaves_fewer_verified_copies_than_the_policy_says(
        objects in history(), situation in situation(),
    ) {
        let plan = decide(&objects, &situation);
        let gone: HashSet<&ObjectKey> = plan.deleted().collect();
        for database in DATABASES {
            let before = verified(objects.iter(), database);
            let left = objects.iter().filter(|object| !gone.contains(&object.key));
            let after = verified(left, database);
            let least = before.min(situation.policy.min_copies as usize);
            prop_assert!(after >= least, "{database}: {before} → {after}");
        }
    }

    #[test]
    fn the_order_of_objects_changes_nothing(objects in history(), situation in situation()) {
        let plan = decide(&objects, &situation);
        let mut reversed = objects.clone();
        reversed.reverse();
        prop_assert_eq!(&decide(&reversed, &situation), &plan);
        prop_assert_eq!(plan.verdicts.len(), objects.len());
    }

    #[test]
    fn deciding_again_after_a_deletion_that_ended_early_keeps_the_promise(
        objects in history(), situation in situation(), done in any::<prop::sample::Index>(),
    ) {
        let plan = decide(&objects, &situation);
        let chosen: Vec<&ObjectKey> = plan.deleted().collect();
        let done = done.index(chosen.len() + 1);
        let mut rest: Vec<Object> = objects.clone();
        for object in &mut rest {
            object.is_marked = chosen.contains(&&object.key);
        }
        rest.retain(|object| !chosen[..done].contains(&&object.key));
        let again = decide(&rest, &situation);
        let gone: HashSet<&ObjectKey> = again.deleted().collect();
        for database in DATABASES {
            let least = verified(objects.iter(), database).min(situation.policy.min_copies as usize);
            let left = rest.iter().filter(|object| !gone.contains(&object.key));
            prop_assert!(verified(left, database) >= least);
        }
    }

    #[test]
    fn what_is_young_pinned_leased_or_foreign_stays(objects in history(), situation in situation()) {
        let plan = decide(&objects, &situation);
        let gone: HashSet<&ObjectKey> = plan.deleted().collect();
        for object in objects.iter().filter(|object| gone.contains(&object.key)) {
            prop_assert!(object.is_old(&situation).is_some());
            prop_assert!(object.is_ours && !object.is_pinned && !object.is_leased);
        }
    }
}
