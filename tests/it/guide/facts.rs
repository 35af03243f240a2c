//! What guides and the runbook say: the keys of the ways, the order of restore, and no address that leads nowhere.

use patina::catalog::Catalog;
use patina::config::Config;
use patina::guide::{Guide, Runbook};
use serde_json::Value;
use tempfile::TempDir;

/// The reference file, as it is shipped, and a catalog that knows nothing yet.
struct Grove {
    folder: TempDir,
    config: Config,
    catalog: Catalog,
}

impl Grove {
    fn new(change: impl Fn(String) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shipped = std::fs::read_to_string("patina.toml").unwrap();
        // Its secrets come from the environment.
        let mut text = change(shipped).replace("${CLOUDFLARE_ACCOUNT_ID}", "account");
        for name in [
            "CLOUDFLARE_ACCOUNT_ID",
            "CLOUDFLARE_API_TOKEN",
            "R2_ACCESS_KEY_ID",
            "R2_SECRET_ACCESS_KEY",
        ] {
            text = text.replace(&format!("= \"env:{name}\""), "= \"abc123\"");
        }
        let path = folder.path().join("patina.toml");
        std::fs::write(&path, text).unwrap();
        // It holds secrets.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, mode).unwrap();
        let loaded = Config::load(&path);
        let config = loaded.unwrap_or_else(|problems| panic!("{}", problems.short()));
        let catalog = Catalog::open(&folder.path().join("catalog.db")).unwrap();
        Self {
            folder,
            config: config.config,
            catalog,
        }
    }

    fn guide(&self, name: &str) -> Guide {
        let name = name.parse().unwrap();
        let guide = Guide::read(&self.config, &self.catalog, &name, None).unwrap();
        guide.unwrap_or_else(|| panic!("no {name} in {}", self.folder.path().display()))
    }

    fn runbook(&self) -> Runbook {
        let now = "2026-11-30T12:00:00Z".parse().unwrap();
        Runbook::read(&self.config, &self.catalog, now).unwrap()
    }
}

const ORDER: [(&str, &str); 6] = [
    ("groveauth", "All auth depends on this"),
    ("grove-engine-db", "Core platform, references auth"),
    ("scout-db", "References users from groveauth"),
    ("autumnsgrove-posts", "Blog content"),
    ("autumnsgrove-git-stats", "Can be regenerated"),
    ("grove-domain-jobs", "Transient job data"),
];

#[test]
fn the_runbook_of_the_shipped_file_has_the_order_of_the_specification_with_a_reason_for_each_place()
{
    let grove = Grove::new(|text| text);
    let document = grove.runbook().document();
    let databases = document["databases"].as_array().unwrap();
    let told: Vec<(u64, &str, &str)> = databases
        .iter()
        .map(|one| {
            let word = |field: &str| one[field].as_str().unwrap();
            (
                one["order"].as_u64().unwrap(),
                word("database"),
                word("reason"),
            )
        })
        .collect();
    let wanted = (1..)
        .zip(ORDER)
        .map(|(order, (name, why))| (order, name, why));
    assert_eq!(told, wanted.collect::<Vec<_>>());
    let page = grove.runbook().markdown();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).collect();
    for (order, (name, why)) in (1..).zip(ORDER) {
        let begin = format!("| {order} | `{name}` |");
        let row = rows.iter().find(|row| row.starts_with(&begin));
        let row = row.unwrap_or_else(|| panic!("{begin} in {page}"));
        assert!(row.contains(why), "{row}");
    }
    assert!(
        page.contains("| 3 | `scout-db` | critical | `groveauth`, `grove-engine-db` |"),
        "{page}"
    );
    let guide = grove.guide("grove-engine-db");
    assert!(
        guide
            .markdown()
            .contains("Restore it after `groveauth`: Core platform, references auth")
    );
    assert_eq!(
        guide.document()["restoreAfter"],
        serde_json::json!(["groveauth"])
    );
}

#[test]
fn without_a_copy_time_travel_keeps_its_key_and_has_a_step_that_restores() {
    let grove = Grove::new(|text| text);
    let document = grove.guide("groveauth").document();
    let ways = document["restoreInstructions"].as_object().unwrap();
    assert_eq!(ways.keys().collect::<Vec<_>>(), ["method2_timetravel"]);
    let steps = ways["method2_timetravel"]["steps"].as_array().unwrap();
    let restores = |step: &Value| {
        let text = step.as_str().unwrap();
        text.contains("wrangler d1 time-travel restore groveauth --timestamp=")
    };
    assert!(steps.iter().any(restores), "{steps:?}");
    // The shell makes a moment of it by itself.
    let moment = std::process::Command::new("sh")
        .args(["-c", "echo $(( $(date +%s) - 3600 ))"])
        .output()
        .unwrap();
    let text = String::from_utf8(moment.stdout).unwrap();
    assert!(
        text.trim().parse::<i64>().unwrap() > 1_700_000_000,
        "{text}"
    );
}

#[test]
fn no_guide_names_an_address_that_leads_nowhere() {
    for (listen, shown, hidden) in [
        ("127.0.0.1:0", None, ":0/"),
        ("[::1]:0", None, ":0/"),
        ("0.0.0.0:0", None, "0.0.0.0"),
        (
            "0.0.0.0:8787",
            Some("http://127.0.0.1:8787/download/"),
            "0.0.0.0",
        ),
        ("[::]:8787", Some("http://[::1]:8787/download/"), "[::]"),
        (
            "127.0.0.1:8787",
            Some("http://127.0.0.1:8787/download/"),
            "any other host",
        ),
        (
            "192.0.2.7:8787",
            Some("http://192.0.2.7:8787/download/"),
            "on the host of Patina, with",
        ),
    ] {
        let folder = super::Desk::new(&format!(
            "[http]\nlisten = \"{listen}\"\nallow_ips = [\"192.0.2.0/24\"]\n[[storage]]\nname = \"nas\"\n\
             directory = \"store\"\n[[database]]\nname = \"shop\"\nsqlite = \"shop.db\"\n"
        ));
        folder
            .run("sqlite3 shop.db 'CREATE TABLE t(x); INSERT INTO t VALUES (1)' && patina backup");
        let guide = folder.run("patina guide shop");
        let runbook = folder.run("patina runbook");
        for page in [&guide, &runbook] {
            assert!(!page.contains(hidden), "{listen}: `{hidden}` in {page}");
            assert!(!page.contains("http://127.0.0.1:0"), "{listen}: {page}");
        }
        match shown {
            Some(shown) => assert!(guide.contains(shown), "{listen}: {guide}"),
            None => assert!(
                !guide.contains("curl") && guide.contains("/download/"),
                "{guide}"
            ),
        }
        assert!(guide.contains("Verify: 1 row:"), "{guide}");
    }
}
