//! Configuration files as a reader of the specification would type them: each word that is none here is answered with
//! what it is called; and the order of restore.

use std::path::Path;

use patina::config::{Config, Problems, System};

const ONE: &str = "[[database]]\nname = \"a\"\nsqlite = \"a.db\"\n";

#[track_caller]
fn refused(text: &str) -> Problems {
    let read = Config::from_text(text, "patina.toml", Path::new("/etc/patina"), &System);
    read.err().unwrap_or_else(|| panic!("accepted: {text}"))
}

/// Sections as they are written, each with what makes the rest of it right.
const SECTIONS: [&str; 16] = [
    "",
    "[agent]",
    "[schedule]",
    "[export]",
    "[retention]",
    "[[storage]]\nname = \"s\"\ndirectory = \"s\"",
    "[[storage]]\nname = \"s\"\n[storage.s3]\nbucket = \"b\"\naccess_key_id = \"k\"\nsecret_access_key = \"s\"",
    "[cloudflare]\naccount_id = \"a\"\napi_token = \"t\"",
    "[[database]]\nname = \"b\"\nsqlite = \"b.db\"",
    "[hooks]",
    "[alerts]",
    "[[alerts.sink]]\nname = \"s\"\nwebhook = \"https://example.org\"",
    "[http]",
    "[http.access]\nteam = \"t\"\naud = \"a\"",
    "[[http.key]]\nid = \"i\"\nsha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"\nscopes = [\"read\"]",
    "[[database]]\nname = \"c\"\nd1 = \"45eae4c7-8ae7-4078-9218-8e1677a4360f\"\n[cloudflare]\naccount_id = \"a\"\napi_token = \"t\"",
];

/// Every word of the specification's files that a person would set here, and what its hint must name.
const WORDS: [(&str, &str); 39] = [
    ("binding", "remove it"),
    ("estimatedSize", "remove it"),
    ("nightlyCron", "`nightly`"),
    ("weeklyCron", "`weekly`"),
    ("dailyRetentionDays", "`daily_days`"),
    ("weeklyRetentionWeeks", "`weekly_weeks`"),
    ("RETENTION_WEEKS", "`weekly_weeks`"),
    ("retentionWeeks", "`weekly_weeks`"),
    ("bucketName", "`bucket`"),
    ("bucket_name", "`bucket`"),
    ("exportTimeout", "`timeout`"),
    ("timeoutMs", "`timeout`"),
    ("BATCH_SIZE", "remove it"),
    ("main", "remove it"),
    ("compatibility_date", "remove it"),
    ("compatibility_flags", "remove it"),
    ("crons", "`[schedule]`"),
    ("database_name", "`name`"),
    ("database_id", "`d1`"),
    ("METADATA_DB", "`state`"),
    ("DISCORD_WEBHOOK_URL", "`[[alerts.sink]]`"),
    ("webhook_url", "`[[alerts.sink]]`"),
    ("ALERT_ON_SUCCESS", "`on_success`"),
    ("ALERT_ON_FAILURE", "`on_failure`"),
    ("notify_on_success", "`on_success`"),
    ("notify_on_failure", "`on_failure`"),
    ("enabled", "remove it"),
    ("STALE_BACKUP_DAYS", "`stale_after`"),
    ("SIZE_DECREASE_THRESHOLD", "`shrink_below`"),
    ("SIZE_INCREASE_THRESHOLD", "`grow_above`"),
    ("CONSECUTIVE_FAILURE_LIMIT", "`consecutive_failures`"),
    ("PATINA_API_KEY", "`patina key new`"),
    ("PATINA_KEY", "`patina key new`"),
    ("CF_ACCESS_AUD", "`[http.access]`"),
    ("ALLOWED_IPS", "`allow_ips`"),
    ("maxRequests", "remove it"),
    ("windowSeconds", "remove it"),
    ("d1_databases", "`[[database]]`"),
    ("r2_buckets", "`[[storage]]`"),
];

#[test]
fn every_word_of_the_specification_is_answered_with_what_it_is_called_here_in_every_section() {
    for section in SECTIONS {
        for (word, named) in WORDS {
            let text = match section {
                "" => format!("{word} = \"1\"\n{ONE}"),
                section => format!("{ONE}{section}\n{word} = \"1\"\n"),
            };
            let problems = refused(&text);
            let short = problems.short();
            let unknown: Vec<_> = problems
                .iter()
                .filter(|problem| problem.message == format!("unknown key `{word}`"))
                .collect();
            assert_eq!(unknown.len(), 1, "{section}: {short}");
            let hint = unknown[0].hint.as_deref().unwrap_or_default();
            assert!(hint.contains(named), "{section} {word}: {hint}");
        }
    }
}

#[test]
fn the_id_of_a_database_is_d1_and_never_that_of_a_key() {
    let text = "[[database]]\nname = \"a\"\nid = \"45eae4c7-8ae7-4078-9218-8e1677a4360f\"\nbinding = \"A_DB\"\n\
                description = \"A\"\npriority = \"critical\"\nestimatedSize = \"212 KB\"\n";
    let short = refused(text).short();
    let expected = "patina.toml:3:1: unknown key `id`\nhint: write `d1 = \"…\"` for the id of a D1 database\n\
                    patina.toml:4:1: unknown key `binding`\nhint: remove it: Patina reads D1 and R2 over their APIs and needs no \
                    binding\n";
    assert!(short.starts_with(expected), "{short}");
    assert!(!short.contains("http.key"), "{short}");
}

#[test]
fn a_wrangler_file_is_answered_section_by_section_and_its_variables_one_by_one() {
    let text = "name = \"grove-patina\"\nmain = \"src/index.ts\"\n[triggers]\ncrons = [\"0 3 * * *\"]\n\
                [[d1_databases]]\nbinding = \"A\"\n[[r2_buckets]]\nbinding = \"BACKUPS\"\n\
                [vars]\nRETENTION_WEEKS = \"12\"\nALERT_ON_SUCCESS = \"false\"\nOTHER = \"1\"\n";
    let short = refused(text).short();
    for part in [
        ":1:1: unknown key `name`\nhint: `name` belongs in `[agent]`",
        ":2:1: unknown key `main`\nhint: remove it",
        ":3:2: unknown key `triggers`\nhint: write `[schedule]`",
        ":4:1: unknown key `triggers.crons`\nhint: write a cron text",
        ":5:3: unknown key `d1_databases`\nhint: write a `[[database]]`",
        ":7:3: unknown key `r2_buckets`\nhint: write a `[[storage]]`",
        ":9:2: unknown key `vars`\nhint: each value has a key of its own here",
        ":10:1: unknown key `vars.RETENTION_WEEKS`\nhint: write `weekly_weeks` in `[retention]`",
        ":11:1: unknown key `vars.ALERT_ON_SUCCESS`\nhint: write `on_success` in `[alerts]`",
    ] {
        assert!(short.contains(part), "{part}\n\nin\n\n{short}");
    }
}

#[test]
fn a_duration_in_milliseconds_is_told_in_seconds() {
    let short = refused(&format!("{ONE}[export]\ntimeout = 30000\n")).short();
    assert!(
        short.contains("30000 milliseconds are `timeout = \"30s\"`"),
        "{short}"
    );
    let short = refused(&format!("{ONE}[export]\ntimeout = 45\n")).short();
    assert!(short.contains("such as `timeout = \"45s\"`"), "{short}");
}

fn databases(list: &[(&str, &str)]) -> String {
    let one = |(name, more): &(&str, &str)| {
        format!("[[database]]\nname = \"{name}\"\nsqlite = \"{name}.db\"\n{more}\n")
    };
    list.iter().map(one).collect()
}

#[test]
fn databases_are_restored_behind_those_they_name_and_draw_them_forward() {
    let text = databases(&[
        (
            "shop",
            "priority = \"critical\"\nrestore_after = [\"users\", \"tax\"]",
        ),
        ("users", "priority = \"critical\""),
        ("blog", "priority = \"high\""),
        ("tax", ""),
        ("log", ""),
    ]);
    let loaded = Config::from_text(&text, "patina.toml", Path::new("/etc/patina"), &System);
    let config = loaded.unwrap().config;
    let order = config.restore_order();
    let order: Vec<&str> = order.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(order, ["users", "tax", "shop", "blog", "log"]);
    let export: Vec<&str> = config
        .databases()
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(
        export,
        ["shop", "users", "blog", "tax", "log"],
        "the order of export stays"
    );
}

#[test]
fn circles_and_names_that_are_none_are_refused_where_they_stand() {
    let text = databases(&[
        ("a", "restore_after = [\"b\"]"),
        ("b", "restore_after = [\"c\"]"),
        ("c", "restore_after = [\"a\"]"),
        ("d", "restore_after = [\"d\"]"),
        ("users", "restore_after = [\"user\", \"xyz\"]"),
        ("shop", "restore_after = [\"usres\"]"),
    ]);
    let short = refused(&text).short();
    for part in [
        ":12:18: `restore_after` goes in a circle: `a` after `b` after `c` after `a`\nhint: remove one of them",
        ":16:18: `restore_after` of `d` names `d` itself\nhint: name the databases that must be there first",
        ":20:26: `restore_after` names `xyz`, which is no database here\nhint: name a `[[database]]` of this file",
        ":24:18: `restore_after` names `usres`, which is no database here\nhint: did you mean `users`?",
    ] {
        assert!(short.contains(part), "{part}\n\nin\n\n{short}");
    }
    assert_eq!(short.matches("circle").count(), 1, "{short}");
}
