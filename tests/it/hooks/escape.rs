//! Programs of a script that hide from its end: none of them outlives the call, nor Patina.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use patina::hook::{HookName, Hooks};
use serde_json::json;

use super::{Desk, program};

/// What a call may take at most.
const TIMEOUT: Duration = Duration::from_secs(4);

/// The deadline, the second until the kill, and one for a busy machine.
const ENDS_WITHIN: Duration = Duration::from_secs(6);

/// A process ends at its next turn, which may be late.
const PATIENCE: Duration = Duration::from_secs(10);

/// A name, what the shell does that the script starts, and what the script does then. `KEEP` writes its number down and
/// stays for an hour.
const WAYS: &[(&str, &str, &str)] = &[
    ("a child in the background", "KEEP &", ""),
    ("a session of its own", "setsid sh -c 'KEEP' &", ""),
    (
        "two forks and a session, with its parents gone",
        "(setsid sh -c '(KEEP) & sleep 0' &)",
        "",
    ),
    (
        "a session, signals ignored",
        "setsid sh -c 'trap \"\" TERM HUP INT QUIT; KEEP' &",
        "",
    ),
    (
        "a session, and the script hangs",
        "setsid sh -c 'KEEP' &",
        "sleep(3600);",
    ),
    (
        "a session, and the program hangs",
        "setsid sh -c 'KEEP' & sleep 3600",
        "",
    ),
    (
        "a session, and the script dies of its memory",
        "setsid sh -c 'KEEP' &",
        "let m = #{}; let s = \"x\"; s.pad(200000, 'x'); let i = 0; \
         loop { m[i.to_string()] = s + i; i += 1; }",
    ),
    (
        "a session, and the program kills its parent",
        "setsid sh -c 'KEEP' & sleep 0.3; kill -9 $PPID",
        "",
    ),
    (
        "a child in the background, and the program kills who watches it",
        "KEEP & sleep 0.3; read -r _ _ _ warden _ < /proc/$PPID/stat; kill -9 $warden; sleep 3600",
        "",
    ),
    (
        "a hundred sessions",
        "for i in $(seq 100); do setsid sh -c 'KEEP' & done",
        "",
    ),
];

/// A desk whose `before_job` does it; each that stays has its number in a file of `pids`.
fn desk(shell: &str, then: &str) -> Desk {
    let desk = Desk::new(
        "",
        &format!(
            "timeout = \"{}s\"\nexec_allow = [\"/bin/sh\"]",
            TIMEOUT.as_secs()
        ),
    );
    std::fs::create_dir(desk.path("pids")).unwrap();
    let keep = format!(
        "exec sh -c \"echo > {}/\\$\\$; exec sleep 3600\" >/dev/null 2>&1 </dev/null",
        desk.path("pids").display()
    );
    let shell = format!("PATH=/usr/bin:/bin\n{}\n", shell.replace("KEEP", &keep));
    desk.write("it.sh", &shell);
    let path = desk.path("it.sh");
    // It is there before the script goes on.
    let wait = "sleep(1);";
    desk.write(
        "scripts/it.rhai",
        &format!(
            "fn before_job(j) {{ exec(\"/bin/sh\", [\"{}\"]); {wait} {then} }}",
            path.display()
        ),
    );
    desk
}

/// The numbers that were written down.
fn stayed(desk: &Desk) -> Vec<u32> {
    let files = std::fs::read_dir(desk.path("pids")).unwrap();
    files
        .map(|file| file.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect()
}

fn lives(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
}

async fn end(desk: &Desk, what: &str) {
    let begun = Instant::now();
    let pids = stayed(desk);
    assert!(!pids.is_empty(), "{what}: nothing was started");
    while let Some(pid) = pids.iter().find(|pid| lives(**pid)) {
        assert!(
            begun.elapsed() < PATIENCE,
            "{what}: {pid} of {pids:?} lives"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_a_program_left_running_dies_with_the_call_however_it_hides() {
    assert!(WAYS.len() >= 9, "{}", WAYS.len());
    for (what, shell, then) in WAYS {
        let desk = desk(shell, then);
        let begun = Instant::now();
        let hooks = desk.hooks();
        let called = hooks.call(HookName::BeforeJob, None, vec![json!({})]).await;
        assert!(
            begun.elapsed() < ENDS_WITHIN,
            "{what}: {:?}",
            begun.elapsed()
        );
        let hangs = what.contains("hangs") || what.contains("dies") || what.contains("kills");
        assert_eq!(called.is_err(), hangs, "{what}: {called:?}");
        end(&desk, what).await;
    }
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_any_more_is_ended() {
    let desk = desk("setsid sh -c 'KEEP' & sleep 3600", "");
    let hooks = desk.hooks();
    {
        let call = hooks.call(HookName::BeforeJob, None, vec![json!({})]);
        let given_up = tokio::time::timeout(Duration::from_secs(2), call).await;
        assert!(given_up.is_err(), "{given_up:?}");
    }
    end(&desk, "a call that was dropped").await;
}

#[tokio::test]
async fn a_patina_that_is_killed_leaves_nothing_of_its_scripts_behind() {
    let desk = desk("setsid sh -c 'KEEP' & sleep 3600", "");
    let mut command = Command::new(program());
    command
        .current_dir(desk.folder.path())
        .args(["hook", "run", "before_job", "--live"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    let mut patina = command.spawn().unwrap();
    let begun = Instant::now();
    while stayed(&desk).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "nothing was started");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    patina.kill().unwrap();
    patina.wait().unwrap();
    end(&desk, "a Patina that was killed").await;
}
