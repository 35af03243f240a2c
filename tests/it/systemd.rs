//! The unit that `patina install` writes, judged by systemd itself.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// What `systemd-analyze security` may say at most, in tenths.
const MOST_EXPOSURE: &str = "15";

fn patina(args: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_patina"))
        .args(args)
        .output();
    output.unwrap()
}

/// Writes everything below a folder.
fn installed() -> TempDir {
    let root = TempDir::new().unwrap();
    let path = root.path().to_str().unwrap();
    let output = patina(&["install", "--systemd", "--write", "--root", path]);
    assert!(output.status.success(), "{output:?}");
    root
}

fn analyze(args: &[&str], unit: &Path) -> Output {
    let mut command = Command::new("systemd-analyze");
    let output = command.args(args).arg(unit).output();
    output.expect("systemd is installed: scripts/test-deps.sh")
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit_and_little_that_it_exposes() {
    let root = installed();
    let unit = root.path().join("etc/systemd/system/patina.service");
    let verified = analyze(&["verify", "--man=no", "--recursive-errors=no"], &unit);
    let said = String::from_utf8(verified.stderr).unwrap();
    let about_it: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("patina"))
        .collect();
    assert!(verified.status.success() && about_it.is_empty(), "{said}");
    let threshold = format!("--threshold={MOST_EXPOSURE}");
    let args = ["security", "--offline=true", "--no-pager", &threshold];
    let judged = analyze(&args, &unit);
    let said = String::from_utf8(judged.stdout).unwrap();
    assert!(said.contains("Overall exposure level"), "{said}");
    assert!(judged.status.success(), "{said}");
    // The threshold counts: without the protections the same unit is refused.
    let text = fs::read_to_string(&unit).unwrap();
    let (open, _) = text.split_once("ProtectSystem=").unwrap();
    fs::write(&unit, open).unwrap();
    assert!(!analyze(&args, &unit).status.success());
}

#[test]
fn print_shows_what_write_writes_and_the_unit_names_this_program() {
    let root = installed();
    let printed = patina(&["install", "--systemd", "--print"]);
    let printed = String::from_utf8(printed.stdout).unwrap();
    for path in [
        "etc/systemd/system/patina.service",
        "etc/sysusers.d/patina.conf",
        "etc/tmpfiles.d/patina.conf",
    ] {
        let written = fs::read_to_string(root.path().join(path)).unwrap();
        assert!(printed.contains(&format!("# /{path}\n{written}")), "{path}");
    }
    let program = env!("CARGO_BIN_EXE_patina");
    assert!(printed.contains(&format!("ExecStart={program} --config ")));
    for line in [
        "Type=notify",
        "WatchdogSec=",
        "ExecReload=/bin/kill -HUP $MAINPID",
    ] {
        assert!(printed.lines().any(|text| text.starts_with(line)), "{line}");
    }
    let refused = patina(&["install", "--systemd", "--write", "--root", "/proc/none"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("hint: "));
}
