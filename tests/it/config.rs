//! Reads whole configuration files and compares what is said about them with golden files.
//!
//! `UPDATE_GOLDEN=1 cargo test` writes the golden files anew.

#![allow(clippy::unwrap_used)]

use std::io;
use std::path::{Path, PathBuf};

use patina::config::{Config, Environment, Loaded, Problems, Severity, StorageKind, System};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/config")
        .join(name)
}

#[track_caller]
fn compare(name: &str, found: &str) {
    let path = golden(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, found).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        found,
        expected,
        "{} differs; UPDATE_GOLDEN=1 accepts",
        path.display()
    );
}

fn problems_of(name: &str) -> Problems {
    let text = std::fs::read_to_string(golden(name)).unwrap();
    Config::from_text(&text, name, &golden(""), &System).unwrap_err()
}

#[test]
fn a_file_full_of_mistakes_tells_them_all_with_place_and_hint() {
    let problems = problems_of("mistakes.toml");
    assert!(problems.len() >= 12, "{}", problems.len());
    for problem in &problems {
        assert!(problem.line > 1 && problem.column > 0, "{problem}");
        assert!(
            problem.path.is_some() && problem.hint.is_some(),
            "{problem}"
        );
        assert_eq!(problem.severity, Severity::Error, "{problem}");
    }
    compare("mistakes.short.txt", &format!("{}\n", problems.short()));
    compare("mistakes.pretty.txt", &problems.pretty(false));
    let json = serde_json::to_string_pretty(&problems.json()).unwrap();
    compare("mistakes.json", &format!("{json}\n"));
}

#[test]
fn broken_toml_tells_every_broken_line_and_the_mistakes_of_the_others() {
    let problems = problems_of("broken.toml");
    compare("broken.short.txt", &format!("{}\n", problems.short()));
}

/// The repository's own `patina.toml`.
fn reference() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("patina.toml");
    std::fs::read_to_string(path).unwrap()
}

/// The four variables of the reference, and the real files.
struct Grove;

impl Environment for Grove {
    fn var(&self, name: &str) -> Option<String> {
        let known = [
            "CLOUDFLARE_ACCOUNT_ID",
            "CLOUDFLARE_API_TOKEN",
            "R2_ACCESS_KEY_ID",
            "R2_SECRET_ACCESS_KEY",
        ];
        known.contains(&name).then(|| name.to_lowercase())
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        System.read(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        System.list(folder)
    }

    fn is_file(&self, path: &Path) -> bool {
        System.is_file(path)
    }

    fn mode(&self, path: &Path) -> Option<u32> {
        System.mode(path)
    }
}

fn grove(text: &str) -> Loaded {
    Config::from_text(text, "patina.toml", Path::new("/srv/patina"), &Grove)
        .unwrap_or_else(|problems| panic!("{}", problems.short()))
}

#[test]
fn the_reference_file_is_ready_once_its_four_secrets_are_set() {
    let loaded = grove(&reference());
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings.short());
    let config = loaded.config;
    let names: Vec<&str> = config.databases().iter().map(|d| d.name.as_str()).collect();
    let expected = [
        "groveauth",
        "scout-db",
        "grove-engine-db",
        "autumnsgrove-posts",
        "autumnsgrove-git-stats",
        "grove-domain-jobs",
    ];
    assert_eq!(names, expected);
    let StorageKind::S3(s3) = &config.storages()[0].kind else {
        panic!("{:?}", config.storages());
    };
    assert_eq!(
        s3.endpoint,
        "https://cloudflare_account_id.r2.cloudflarestorage.com"
    );
    let now = "2026-11-22T12:00:00Z".parse().unwrap();
    compare(
        "reference.summary.txt",
        &format!("{}\n", config.summary(now)),
    );
}

#[test]
fn the_reference_file_without_its_secrets_says_which_are_missing_and_where() {
    struct Nothing;
    impl Environment for Nothing {
        fn var(&self, _: &str) -> Option<String> {
            None
        }
        fn read(&self, _: &Path) -> io::Result<String> {
            Err(io::ErrorKind::NotFound.into())
        }
        fn list(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
            Err(io::ErrorKind::NotFound.into())
        }
        fn is_file(&self, _: &Path) -> bool {
            false
        }
        fn mode(&self, _: &Path) -> Option<u32> {
            None
        }
    }
    let folder = Path::new("/srv/patina");
    let problems = Config::from_text(&reference(), "patina.toml", folder, &Nothing).unwrap_err();
    assert_eq!(problems.len(), 5, "{}", problems.short());
    for problem in &problems {
        assert!(problem.message.ends_with("is not set"), "{problem}");
        assert!(
            problem.path.is_some() && problem.hint.is_some(),
            "{problem}"
        );
    }
}

/// Every key of the schema with its section: `database.timeout`.
fn keys_of(schema: &serde_json::Value, at: &serde_json::Value, path: &str, keys: &mut Vec<String>) {
    if let Some(target) = at.get("$ref").and_then(|target| target.as_str()) {
        let target = schema.pointer(target.trim_start_matches('#')).unwrap();
        return keys_of(schema, target, path, keys);
    }
    for choice in at
        .get("anyOf")
        .and_then(|c| c.as_array())
        .into_iter()
        .flatten()
    {
        keys_of(schema, choice, path, keys);
    }
    if let Some(items) = at.get("items") {
        keys_of(schema, items, path, keys);
    }
    for (key, inner) in at
        .get("properties")
        .and_then(|p| p.as_object())
        .into_iter()
        .flatten()
    {
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        assert!(
            inner.get("description").is_some(),
            "`{path}` has no description"
        );
        keys.push(path.clone());
        keys_of(schema, inner, &path, keys);
    }
}

#[test]
fn every_key_of_the_schema_stands_in_the_reference_file() {
    let schema = patina::config::schema();
    let mut keys = Vec::new();
    keys_of(&schema, &schema, "", &mut keys);
    assert!(keys.len() > 80, "{}: schema moved?", keys.len());

    let mut written = Vec::new();
    let mut section = String::new();
    for line in reference().lines() {
        let line = line.trim_start_matches('#').trim_end();
        if line.starts_with('[') {
            let end = line.find(']').unwrap();
            section = line[..end].trim_matches('[').to_owned();
            written.push(section.clone());
        } else if let Some((key, _)) = line.split_once('=') {
            let dot = if section.is_empty() { "" } else { "." };
            written.push(format!("{section}{dot}{}", key.trim()));
        }
    }
    let missing: Vec<&String> = keys.iter().filter(|key| !written.contains(key)).collect();
    assert!(missing.is_empty(), "not in patina.toml: {missing:?}");
}

#[test]
fn every_default_in_the_schema_is_the_one_that_counts() {
    // Building a file of all documented defaults must change nothing.
    let schema = patina::config::schema();
    let plain = "[[database]]\nname = \"a\"\nsqlite = \"a.db\"\n";
    let mut text = plain.to_owned();
    let mut written = 0;
    for section in [
        "agent",
        "schedule",
        "export",
        "retention",
        "hooks",
        "alerts",
        "http",
    ] {
        text.push_str(&format!("[{section}]\n"));
        let target = schema
            .pointer(&format!("/properties/{section}/$ref"))
            .unwrap();
        let target = target.as_str().unwrap().trim_start_matches('#');
        let properties = schema.pointer(target).unwrap()["properties"]
            .as_object()
            .unwrap();
        for (key, value) in properties {
            let description = value["description"].as_str().unwrap();
            let Some((_, rest)) = description.split_once("Default: `") else {
                continue;
            };
            let default = rest.split('`').next().unwrap();
            let bare = default.parse::<f64>().is_ok() || matches!(default, "true" | "false");
            let quote = if bare { "" } else { "\"" };
            if key != "public_url" {
                text.push_str(&format!("{key} = {quote}{default}{quote}\n"));
                written += 1;
            }
        }
    }
    assert!(written >= 25, "{written}: schema moved?");
    assert_eq!(grove(&text).config, grove(plain).config);
}

#[test]
fn a_file_on_disk_is_read_with_its_includes_and_a_missing_one_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("patina.toml");
    let missing = Config::load(&main).unwrap_err();
    assert!(
        missing
            .short()
            .contains("hint: write a new one: `patina init`"),
        "{missing}"
    );
    assert_eq!(missing.inputs(), std::slice::from_ref(&main));

    std::fs::create_dir(folder.path().join("conf.d")).unwrap();
    let part = "[[database]]\nname = \"blog\"\nsqlite = \"../blog.db\"\n";
    std::fs::write(folder.path().join("conf.d/blog.toml"), part).unwrap();
    std::fs::write(&main, "include = [\"conf.d/*.toml\"]\n").unwrap();
    let config = Config::load(&main).unwrap().config;
    assert_eq!(config.databases()[0].name.as_str(), "blog");
    assert_eq!(config.inputs().len(), 2);
    assert_eq!(config.path(), main);

    // Not text, and no file at all.
    std::fs::write(&main, [0xff, 0xfe]).unwrap();
    assert!(Config::load(&main).unwrap_err().short().contains("UTF-8"));
    assert!(Config::load(folder.path()).unwrap_err().has_errors());
}

#[test]
fn what_must_never_be_open_and_hosts_that_are_none_are_refused_with_the_way_out() {
    let text =
        |http: &str| format!("[http]\n{http}\n[[database]]\nname = \"a\"\nsqlite = \"a.db\"\n");
    for (http, words) in [
        (
            "open = [\"download\"]",
            "copies, guides and starting a backup always need a key",
        ),
        ("open = [\"trigger\"]", "always need a key"),
        ("open = [\"stats\"]", "use `dashboard`, `status`, `list`"),
        (
            "hosts = [\"https://patina.grove.place\"]",
            "without scheme, port or `*`",
        ),
        ("hosts = [\"*.grove.place\"]", "without scheme, port or `*`"),
        ("hosts = [\"a:8787\"]", "without scheme, port or `*`"),
        ("rotate_after = \"1h\"", "rotate_after"),
    ] {
        let problems = Config::from_text(&text(http), "patina.toml", &golden(""), &System);
        let short = problems.unwrap_err().short();
        assert!(short.contains(words), "{http}: {short}");
    }
    let good = "open = [\"status\", \"/list\"]\nhosts = [\"Backup.LAN.\", \"[::1]\"]\nrotate_after = \"30d\"";
    let loaded = Config::from_text(&text(good), "patina.toml", &golden(""), &System).unwrap();
    let http = loaded.config.http();
    assert_eq!(
        (http.open.len(), http.hosts.join(" ").as_str()),
        (2, "backup.lan ::1")
    );
}
