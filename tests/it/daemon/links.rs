//! What the daemon makes of files that lie elsewhere: links, includes, scripts, secrets.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use patina::catalog::ReloadOutcome;

use super::edits::{SOON, Watched};
use super::{Daemon, Home, entry};

/// A daemon whose configuration is at `path`, below the home.
fn watched(home: Home, path: &str, text: String) -> Watched {
    let config = home.path(path);
    let command = home.command(&["--config", config.to_str().unwrap(), "run"]);
    let daemon = Daemon::start(command, home.path("log"));
    Watched::of(home, daemon, text)
}

/// Points a link elsewhere in one step, as `ln -sfn` and Kubernetes do.
fn point(link: &Path, target: &str) {
    let new = link.with_file_name("..new");
    symlink(target, &new).unwrap();
    fs::rename(new, link).unwrap();
}

#[test]
fn a_kubernetes_volume_that_is_swapped_is_noticed_each_time() {
    let home = Home::new();
    let text = home.calm(&entry("first", ""));
    let mount = home.path("mount");
    fs::create_dir_all(mount.join("..v0")).unwrap();
    fs::write(mount.join("..v0/patina.toml"), &text).unwrap();
    symlink("..v0", mount.join("..data")).unwrap();
    symlink("..data/patina.toml", mount.join("patina.toml")).unwrap();
    let mut watched = watched(home, "mount/patina.toml", text);
    for version in 1..=3 {
        let folder = mount.join(format!("..v{version}"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("patina.toml"), watched.next()).unwrap();
        point(&mount.join("..data"), &format!("..v{version}"));
        fs::remove_dir_all(mount.join(format!("..v{}", version - 1))).unwrap();
        watched.check_one(&format!("version {version}"), version - 1, SOON);
    }
}

#[test]
fn a_link_that_leads_elsewhere_and_a_file_that_is_edited_behind_it_are_noticed() {
    let home = Home::new();
    let text = home.calm(&entry("first", ""));
    for folder in ["etc", "nix/a", "nix/b"] {
        fs::create_dir_all(home.path(folder)).unwrap();
    }
    fs::write(home.path("nix/a/patina.toml"), &text).unwrap();
    symlink("../nix/a/patina.toml", home.path("etc/patina.toml")).unwrap();
    let mut watched = watched(home, "etc/patina.toml", text);
    let at = |watched: &Watched, path: &str| watched.home.path(path);
    let text = watched.next();
    fs::write(at(&watched, "nix/b/patina.toml"), text).unwrap();
    point(&at(&watched, "etc/patina.toml"), "../nix/b/patina.toml");
    watched.check_one("another target", 0, SOON);
    let text = watched.next();
    fs::write(at(&watched, "nix/b/patina.toml"), text).unwrap();
    watched.check_one("behind the link", 1, SOON);
    // The one it led to first is watched no more, and would mean nothing.
    fs::write(at(&watched, "nix/a/patina.toml"), "[mistake").unwrap();
    fs::remove_dir_all(at(&watched, "nix/a")).unwrap();
    let text = watched.next();
    fs::write(at(&watched, "nix/b/patina.toml"), text).unwrap();
    watched.check_one("behind the link again", 2, SOON);
}

#[test]
fn includes_come_and_go_and_scripts_and_secrets_count_as_the_file_does() {
    let home = Home::new();
    for folder in ["conf.d", "s"] {
        fs::create_dir(home.path(folder)).unwrap();
    }
    fs::write(home.path("s/size.rhai"), "// one\n").unwrap();
    fs::write(home.path("s/imported.rhai"), "// one\n").unwrap();
    fs::write(home.path("hook"), "https://example.com/one\n").unwrap();
    let rest = "[hooks]\nscripts = [\"s/size.rhai\"]\n[[alerts.sink]]\nname = \"ops\"\nwebhook = \"file:hook\"\n";
    let text = format!(
        "include = [\"conf.d/*.toml\"]\n{}{rest}",
        home.calm(&entry("first", ""))
    );
    fs::write(home.path("patina.toml"), &text).unwrap();
    let watched = watched(home, "patina.toml", text);
    let shop = entry("shop", "");
    let edits: [(&str, Option<&str>, &[&str]); 7] = [
        ("conf.d/shop.toml", Some(&shop), &["database `shop` is new"]),
        (
            "conf.d/more.toml",
            Some("[retention]\ndaily_days = 9\n"),
            &["retention daily_days 7 → 9"],
        ),
        (
            "conf.d/shop.toml",
            None,
            &["database `shop` is gone; its copies stay"],
        ),
        ("s/size.rhai", Some("// two\n"), &[]),
        ("s/imported.rhai", Some("// two\n"), &[]),
        ("s/new.rhai", Some("// new\n"), &[]),
        (
            "hook",
            Some("https://example.com/two\n"),
            &["alert sink `ops` changed"],
        ),
    ];
    for (count, (path, text, told)) in edits.into_iter().enumerate() {
        match text {
            Some(text) => fs::write(watched.home.path(path), text).unwrap(),
            None => fs::remove_file(watched.home.path(path)).unwrap(),
        }
        let new = watched.settled(path, count, SOON);
        assert_eq!(new.len(), 1, "{path}: {new:#?}");
        assert_eq!(new[0].outcome, ReloadOutcome::Applied, "{path}: {new:#?}");
        assert_eq!(new[0].told, told, "{path}");
    }
    // What nothing includes is nothing.
    fs::write(watched.home.path("conf.d/shop.toml~"), shop).unwrap();
    fs::write(watched.home.path("s/notes.txt"), "x").unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(watched.home.reloads().len(), 7);
    let log = watched.daemon.stop();
    assert!(!log.contains("example.com"), "{log}");
}
