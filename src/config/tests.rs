//! Reads small files and compares the findings with the expected messages.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

/// Variables and files that exist only here.
#[derive(Default)]
struct Fake {
    vars: HashMap<&'static str, &'static str>,
    files: HashMap<PathBuf, &'static str>,
    mode: u32,
}

impl Environment for Fake {
    fn var(&self, name: &str) -> Option<String> {
        self.vars.get(name).map(|value| (*value).to_owned())
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let text = self.files.get(path).map(|text| (*text).to_owned());
        text.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let inside = self
            .files
            .keys()
            .filter(|path| path.parent() == Some(folder));
        Ok(inside.cloned().collect())
    }

    fn is_file(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    fn mode(&self, _: &Path) -> Option<u32> {
        Some(self.mode)
    }
}

fn read(text: &str, env: &Fake) -> Result<Loaded, Problems> {
    Config::from_text(text, "patina.toml", Path::new("/etc/patina"), env)
}

fn config(text: &str) -> Config {
    match read(text, &Fake::default()) {
        Ok(loaded) => loaded.config,
        Err(problems) => panic!("{problems}"),
    }
}

/// Checks the findings of a text, one line each, without the file's name.
#[track_caller]
fn check(text: &str, env: &Fake, expected: &[&str]) {
    let problems = match read(text, env) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems,
    };
    let found = problems.short();
    let found: Vec<&str> = found
        .lines()
        .map(|line| line.strip_prefix("patina.toml:").unwrap_or(line))
        .collect();
    assert_eq!(found, expected);
}

const ONE: &str = "[[database]]\nname = \"blog\"\nsqlite = \"blog.db\"\n";

#[test]
fn one_database_is_a_whole_configuration() {
    let config = config(ONE);
    assert_eq!(config.agent().state, Path::new("/etc/patina/state"));
    assert_eq!(config.schedule().nightly.as_str(), "0 3 * * *");
    let storage = &config.storages()[0];
    let folder = PathBuf::from("/etc/patina/backups");
    assert_eq!(storage.kind, StorageKind::Directory(folder));
    let database = &config.databases()[0];
    let file = PathBuf::from("/etc/patina/blog.db");
    assert_eq!(database.source, SourceSpec::Sqlite(file));
    assert_eq!(database.export.timeout, Duration::from_secs(30));
    assert_eq!(config.retention().min_copies, 2);
    assert_eq!(config.http().listen.to_string(), "127.0.0.1:8787");
}

fn env(vars: &[(&'static str, &'static str)]) -> Fake {
    Fake {
        vars: vars.iter().copied().collect(),
        ..Fake::default()
    }
}

#[test]
fn every_value_of_a_database_falls_back_to_its_section() {
    let config = config(
        "[export]\ntimeout = \"2m\"\nretries = 1\n[alerts]\nshrink_below = 0.4\n\
         [[database]]\nname = \"a\"\nsqlite = \"a.db\"\n\
         [[database]]\nname = \"b\"\nsqlite = \"/b.db\"\npriority = \"critical\"\ntimeout = \"5m\"\n\
         compression = \"gzip\"\nverify = \"checksum\"\nschedule = \"@hourly\"\ngrow_above = 3\n",
    );
    let [b, a] = config.databases() else { panic!() };
    assert_eq!((a.name.as_str(), b.name.as_str()), ("a", "b"));
    assert_eq!(a.export.timeout, Duration::from_secs(120));
    assert_eq!(b.export.timeout, Duration::from_secs(300));
    assert_eq!(b.export.retries, 1);
    assert_eq!(b.export.verify, VerifyMode::Checksum);
    assert_eq!(b.schedule.as_ref().unwrap().as_str(), "@hourly");
    assert_eq!((b.alerts.shrink_below, b.alerts.grow_above), (0.4, 3.0));
    assert_eq!(a.alerts.grow_above, 2.0);
}

#[test]
fn a_table_has_a_threshold_of_its_own_or_that_of_its_database_or_of_all() {
    let config = config(
        "[alerts]\nrows_below = 0.4\n\
         [[database]]\nname = \"a\"\nsqlite = \"a.db\"\nrows_below = 0.9\n\
         table_rows_below = { sessions = 0.05, \"odd name\" = 0 }\n\
         [[database]]\nname = \"b\"\nsqlite = \"b.db\"\n[database.table_rows_below]\nlog = 1\n\
         [[database]]\nname = \"c\"\nsqlite = \"c.db\"\n",
    );
    let [a, b, c] = config.databases() else {
        panic!()
    };
    let below = [a, b, c].map(|database| database.alerts.rows_below);
    assert_eq!(below, [0.9, 0.4, 0.4]);
    let tables = |database: &Database| {
        let tables = database.table_rows_below.clone().into_iter();
        tables.collect::<Vec<(String, f64)>>()
    };
    let pair = |name: &str, part| (name.to_owned(), part);
    assert_eq!(tables(a), [pair("odd name", 0.0), pair("sessions", 0.05)]);
    assert_eq!((tables(b), tables(c)), (vec![pair("log", 1.0)], vec![]));
}

#[test]
fn a_part_of_the_rows_above_all_of_them_is_told_at_its_table() {
    let text = format!("{ONE}rows_below = 1.5\ntable_rows_below = {{ log = 0.5, t = 50 }}\n");
    let problems = read(&text, &Fake::default()).unwrap_err();
    let told: Vec<(&str, Option<&str>)> = problems
        .iter()
        .map(|problem| (problem.message.as_str(), problem.path.as_deref()))
        .collect();
    assert_eq!(told[0].0, "`rows_below` must be from 0 to 1, found 1.5");
    assert_eq!(told[1].0, "`t` must be from 0 to 1, found 50");
    assert_eq!(told.len(), 2);
    assert!(
        told[1].1.unwrap().ends_with("table_rows_below.t"),
        "{told:?}"
    );
    let hint = problems.iter().next().unwrap().hint.as_deref();
    assert!(hint.unwrap().contains("the rows there were"), "{hint:?}");
}

#[test]
fn an_empty_file_and_one_without_databases_are_errors() {
    let none = Fake::default();
    check(
        " \n",
        &none,
        &[
            "1:1: the file is empty",
            "hint: write a new one: `patina init`",
        ],
    );
    let hint = "hint: add one: `patina add NAME --sqlite PATH` or `patina add NAME --d1 UUID`";
    for text in ["# nothing\n", "[agent]\nname = \"a\"\n"] {
        check(text, &none, &["1:1: the file names no database", hint]);
    }
    // A file that names a storage serves to read copies; operations on databases require some.
    let text = "[[storage]]\nname = \"nas\"\ndirectory = \"copies\"\n";
    let loaded = read(text, &none).unwrap();
    assert!(loaded.config.databases().is_empty());
    let refused = loaded.with_databases().unwrap_err().short();
    assert!(
        refused.contains("1:1: the file names no database") && refused.contains(hint),
        "{refused}"
    );
}

#[test]
fn the_monthly_rehearsal_can_be_moved_and_switched_off() {
    let drill = |line: &str| {
        let text = format!("[schedule]\n{line}\n{ONE}");
        let drill = read(&text, &Fake::default())
            .unwrap()
            .config
            .schedule()
            .drill
            .clone();
        drill.map(|schedule| schedule.to_string())
    };
    assert_eq!(drill("").as_deref(), Some("0 6 1 * *"));
    assert_eq!(drill("drill = \"@weekly\"").as_deref(), Some("@weekly"));
    assert_eq!(drill("drill = \"never\""), None);
    check(
        &format!("[schedule]\ndrill = \"\"\n{ONE}"),
        &Fake::default(),
        &[
            "2:9: `drill`: a schedule is empty",
            "hint: write five fields, minute hour day month weekday: `0 3 * * *`",
        ],
    );
}

#[test]
fn a_missing_variable_is_a_finding_with_its_place() {
    let text = format!("[agent]\nname = \"x ${{HOST}}\"\n{ONE}");
    let expected = [
        "2:11: environment variable `HOST` is not set",
        "hint: set `HOST` before starting patina",
    ];
    check(&text, &Fake::default(), &expected);
    let loaded = read(&text, &env(&[("HOST", "a\"]\nb")])).unwrap_err();
    assert!(loaded.short().contains("control characters"), "{loaded}");
    let loaded = read(&text, &env(&[("HOST", "h\"1")])).unwrap();
    assert_eq!(loaded.config.agent().name, "x h\"1");
}

const CLOUD: &str = "[[database]]\nname = \"a\"\nd1 = \"45EAE4C7-8ae7-4078-9218-8e1677a4360f\"\n\
                     [cloudflare]\naccount_id = \"acc\"\napi_token = ";

#[test]
fn secrets_come_from_variables_files_and_credentials() {
    let mut fake = env(&[("TOKEN", "t0"), ("CREDENTIALS_DIRECTORY", "/run/cred")]);
    fake.files.insert("/run/cred/cf".into(), "t1\n");
    fake.files.insert("/etc/patina/cf".into(), "t2\r\n");
    for (reference, value) in [("env:TOKEN", "t0"), ("cred:cf", "t1"), ("file:cf", "t2")] {
        let loaded = read(&format!("{CLOUD}\"{reference}\"\n"), &fake).unwrap();
        let token = &loaded.config.cloudflare().unwrap().api_token;
        assert_eq!(token.expose(), value);
        let shown = format!("{:?}", loaded.config);
        assert!(!shown.contains(value), "{shown}");
        assert!(loaded.warnings.is_empty());
    }
    for (reference, message) in [
        ("env:NONE", "environment variable `NONE` is not set"),
        ("env:", "`env:` names no variable"),
        ("cred:../x", "`cred:../x` names no credential"),
        (
            "cred:none",
            "cannot read the secret `cred:none`: entity not found",
        ),
        (
            "file:/none",
            "cannot read the secret `file:/none`: entity not found",
        ),
        ("", "`api_token` is empty"),
        (
            "${TOKEN}",
            "`api_token` is a secret: `${…}` is not replaced in it",
        ),
    ] {
        let problems = read(&format!("{CLOUD}\"{reference}\"\n"), &fake).unwrap_err();
        let problem = problems.iter().next().unwrap();
        let looked_at = usize::from(message.starts_with("cannot read")) + 1;
        assert_eq!(problems.inputs().len(), looked_at, "{reference}");
        assert_eq!((problem.line, problem.column), (6, 13), "{problem}");
        assert_eq!(problem.message, message);
        assert!(problem.hint.is_some());
    }
}

#[test]
fn a_secret_in_the_file_is_a_warning_and_refused_where_others_can_read_it() {
    let text = format!("{CLOUD}\"hunter2\"\n");
    let private = Fake {
        mode: 0o600,
        ..Fake::default()
    };
    let loaded = read(&text, &private).unwrap();
    let shown = loaded.warnings.short();
    assert!(shown.starts_with("patina.toml:6:13: warning: "), "{shown}");
    assert!(!shown.contains("hunter2"));
    let open = Fake {
        mode: 0o644,
        ..Fake::default()
    };
    let problems = read(&text, &open).unwrap_err();
    assert!(
        problems.short().contains("others can read this file"),
        "{problems}"
    );
}

#[test]
fn includes_append_lists_and_refuse_a_scalar_set_twice() {
    let mut fake = Fake::default();
    let b = "[agent]\nname = \"b\"\n[[database]]\nname = \"blog\"\nsqlite = \"x.db\"\n";
    let a = "[[database]]\nname = \"shop\"\nsqlite = \"shop.db\"\n";
    fake.files.insert("/etc/patina/conf.d/a.toml".into(), a);
    let main = format!("include = [\"conf.d/*.toml\"]\n[agent]\nname = \"a\"\n{ONE}");
    let config = read(&main, &fake).unwrap().config;
    let names: Vec<&str> = config.databases().iter().map(|d| d.name.as_str()).collect();
    assert_eq!(names, ["blog", "shop"]);
    let shop = PathBuf::from("/etc/patina/conf.d/shop.db");
    assert_eq!(config.databases()[1].source, SourceSpec::Sqlite(shop));
    assert_eq!(config.inputs().len(), 2);

    fake.files.insert("/etc/patina/conf.d/b.toml".into(), b);
    let expected = [
        "conf.d/b.toml:2:1: `name` is set twice",
        "note: first set at patina.toml:3:1",
        "hint: keep it in one file only",
        "conf.d/b.toml:4:8: `name` `blog` is used twice",
        "note: first used at patina.toml:5:8",
        "hint: give each one a name of its own",
    ];
    check(&main, &fake, &expected);
    let pretty = read(&main, &fake).unwrap_err().pretty(false);
    assert!(pretty.contains("first set at patina.toml:3:1"), "{pretty}");
}

#[test]
fn single_brackets_around_a_list_do_not_hide_what_is_inside() {
    let expected = [
        "1:1: `database` is a list of tables",
        "hint: write `[[database]]`, with double brackets",
        "3:12: `priority` cannot be `hihg`",
        "hint: did you mean `high`?",
    ];
    let text = "[database]\nname = \"a\"\npriority = \"hihg\"\nsqlite = \"a\"\n";
    check(text, &Fake::default(), &expected);
}

#[test]
fn a_public_address_without_auth_is_refused() {
    let open = format!("{ONE}[http]\nlisten = \"0.0.0.0:80\"\n");
    let problems = read(&open, &Fake::default()).unwrap_err();
    assert!(
        problems
            .short()
            .contains("5:10: `listen` on `0.0.0.0:80` lets everybody in")
    );
    let digest = "ab".repeat(32);
    let key = format!(
        "{open}[[http.key]]\nid = \"ci\"\nsha256 = \"{digest}\"\nscopes = [\"read\"]\nexpires = 2027-01-31\n"
    );
    let http = config(&key);
    let expires = http.http().keys[0].expires.unwrap();
    assert_eq!(expires.to_rfc3339(), "2027-01-31T00:00:00+00:00");
}

#[test]
fn bad_durations_are_told_with_what_to_write() {
    for (text, hint) in [
        ("30", "`30s`"),
        ("5M", "`5m`"),
        ("1month", "`30d`"),
        ("soon", "`5m`"),
        ("0s", "default is `30s`"),
        ("", "`5m`"),
    ] {
        let text = format!("[export]\ntimeout = \"{text}\"\n{ONE}");
        let problems = read(&text, &Fake::default()).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems}");
        assert!(problems.short().contains(hint), "{problems}");
    }
    config(&format!("[export]\ntimeout = \"1m 30s\"\n{ONE}"));
}

#[test]
fn the_template_loads_without_a_finding() {
    let d1 = SourceSpec::D1 {
        id: "45eae4c7-8ae7-4078-9218-8e1677a4360f".to_owned(),
        method: D1Method::Raw,
    };
    let blog = SourceSpec::Sqlite("blog.db".into());
    let given = [
        ("auth".parse().unwrap(), d1),
        ("blog".parse().unwrap(), blog),
    ];
    let text = template("my \"host\"", &given).unwrap();
    let vars = env(&[
        ("CLOUDFLARE_ACCOUNT_ID", "a"),
        ("CLOUDFLARE_API_TOKEN", "b"),
    ]);
    let loaded = read(&text, &vars).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    assert!(loaded.warnings.is_empty());
    assert_eq!(loaded.config.databases().len(), 2);
    let problems = read(&template("x", &[]).unwrap(), &vars).and_then(Loaded::with_databases);
    let problems = problems.unwrap_err();
    assert_eq!(problems.len(), 1, "{problems}");
}

#[test]
fn the_summary_tells_databases_runs_storages_and_sinks() {
    let config = config(&format!("[agent]\ntimezone = \"Europe/Berlin\"\n{ONE}"));
    let shown = config
        .summary("2026-11-22T12:00:00Z".parse().unwrap())
        .to_string();
    for line in [
        "agent `patina`, time zone Europe/Berlin",
        "  blog  normal    sqlite /etc/patina/blog.db, at most 30s",
        "  nightly    Mon 2026-11-23 03:00 CET  (0 3 * * *)",
        "  local  /etc/patina/backups  (primary)",
        "  none: alerts stay in the log and on the dashboard",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
}

#[test]
fn no_input_makes_the_reader_panic() {
    let text = include_str!("../../tests/golden/config/mistakes.toml");
    let fake = Fake::default();
    let mut read_any = 0;
    for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
        let _ = read(&text[..at], &fake).map_err(|problems| problems.pretty(false).len());
        let _ = read(&text[at..], &fake).map_err(|problems| problems.json());
        read_any += 1;
    }
    assert!(read_any > 500, "fixture moved?");
}

#[test]
fn a_change_is_told_in_sentences_and_without_secrets() {
    let old = config(ONE);
    assert!(diff(&old, &old.clone()).is_empty());
    let new = config(
        "[agent]\nstate = \"/var/lib/p\"\n[schedule]\nnightly = \"@daily\"\n[retention]\ndaily_days = 3\n\
         [[database]]\nname = \"blog\"\nsqlite = \"blog.db\"\ntimeout = \"5m\"\npriority = \"high\"\n\
         [[database]]\nname = \"shop\"\nsqlite = \"shop.db\"\n",
    );
    let forward = [
        "database `shop` is new",
        "database `blog` changed: priority normal → high, timeout 30s → 5m",
        "schedule nightly `0 3 * * *` → `@daily`",
        "retention daily_days 7 → 3",
        "agent state changed: restart to apply",
    ];
    assert_eq!(diff(&old, &new), forward);
    assert!(diff(&new, &old).contains(&"database `shop` is gone; its copies stay".to_owned()));
}

#[test]
fn windows_line_ends_a_byte_order_mark_and_wide_letters_keep_columns_right() {
    let text = "\u{feff}# ä\r\n[agent]\r\nname = \"ä\" \r\n[retention]\r\ndaily_days = 0\r\n";
    let text = format!("{text}{}", ONE.replace('\n', "\r\n"));
    let expected = [
        "5:14: `daily_days` must be at least 1, found 0",
        "hint: use a number from 1 to 3650",
    ];
    check(&text, &Fake::default(), &expected);
    let wide = format!("agent = {{ name = \"ää\", nam = 1 }}\n{ONE}");
    check(
        &wide,
        &Fake::default(),
        &["1:24: unknown key `nam`", "hint: did you mean `name`?"],
    );
}

#[test]
fn a_key_of_another_section_is_told_with_that_section() {
    let text =
        format!("{ONE}[alerts]\ntable_rows_below = {{ t = 0.5 }}\n[export]\ndaily_days = 3\n");
    let expected = [
        "5:1: unknown key `table_rows_below`",
        "hint: `table_rows_below` belongs in `[[database]]`",
        "7:1: unknown key `daily_days`",
        "hint: `daily_days` belongs in `[retention]`",
    ];
    check(&text, &Fake::default(), &expected);
}

#[test]
fn sinks_need_one_address_and_name_known_scripts() {
    let mut fake = env(&[("HOOK", "https://example.org/x")]);
    fake.files
        .insert("/etc/patina/scripts/pagerduty.rhai".into(), "");
    let head = format!("{ONE}[hooks]\nscripts = [\"scripts/pagerduty.rhai\"]\n[[alerts.sink]]\n");
    let good = format!("{head}name = \"ops\"\nwebhook = \"env:HOOK\"\nformat = \"pagerduty\"\n");
    let loaded = read(&good, &fake).unwrap();
    let sink = &loaded.config.alerts().sinks[0];
    assert_eq!(
        (sink.kind, sink.url.expose()),
        (SinkKind::Webhook, "https://example.org/x")
    );
    let script = Path::new("/etc/patina/scripts/pagerduty.rhai");
    assert_eq!(sink.format.as_deref(), Some(script));
    assert!(loaded.config.inputs().contains(&script.to_owned()));
    let bad = format!("{head}name = \"ops\"\nformat = \"pagerdty\"\n");
    let expected = [
        "6:1: a sink needs an address",
        "hint: write one of `discord`, `slack`, `ntfy`, `webhook` and `heartbeat`",
        "8:10: no script is called `pagerdty`",
        "hint: did you mean `pagerduty`?",
    ];
    check(&bad, &fake, &expected);
}
