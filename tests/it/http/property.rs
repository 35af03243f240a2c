//! Has Schemathesis try the API by its own description, against the real server: whatever it makes up, no answer is a
//! fault of the server's, none is undocumented, and each is as described.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::process::Site;
use super::{ALL, full_key, key_text};

/// So often each operation is tried, beside every bound and kind that its description names.
const EXAMPLES: &str = "15";

fn schemathesis() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    );
    let program = target.join("schemathesis/bin/schemathesis");
    assert!(
        program.exists(),
        "Schemathesis is missing\nhint: bash scripts/test-deps.sh"
    );
    program
}

/// Tries operations; `config` is Schemathesis's own file, and `which` are its arguments.
fn attempt(site: &Site, config: &str, which: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("schemathesis.toml"), config).unwrap();
    let url = format!("http://{}", site.address);
    let ran = Command::new(schemathesis())
        .current_dir(folder.path())
        .env("PYTHONUTF8", "1")
        .args(["run", &format!("{url}/openapi.json"), "--url", &url])
        .args(["--checks", "all"])
        .args(which)
        .args([
            "--continue-on-failure",
            "--no-color",
            "--max-examples",
            EXAMPLES,
        ])
        .args(["-H", &format!("X-Patina-Key: {}", key_text(ALL.0))])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ran.stdout);
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{told}\n{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing_in_what_the_description_promises() {
    let site = Site::new(20, &full_key());
    let job = site.trigger().await;
    site.wait_for(&job, "completed").await;
    // `/events` never ends.
    attempt(&site, "", &["--exclude-path", "/events"]);
    // What is there, so that answers other than 404 are looked at, too.
    let day = chrono::Utc::now().format("%Y-%m-%d");
    let known = format!("[parameters]\n\"path.db\" = \"blog\"\n\"path.date\" = \"{day}\"\n");
    let which = [
        "--phases",
        "fuzzing",
        "--include-path-regex",
        "^/(download|restore-guide)/",
    ];
    attempt(&site, &known, &which);
    assert!(!site.log().contains("panicked"), "{}", site.log());
}
