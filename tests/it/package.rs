//! The Debian package: made, installed below a folder, used, removed and purged.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A folder that is a small Debian to `dpkg`.
struct Root(TempDir);

impl Root {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        for name in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "etc"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("var/lib/dpkg/status"), "").unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `dpkg` below the folder; the package's own scripts are told of it by `DPKG_ROOT`.
    #[track_caller]
    fn dpkg(&self, action: &str, what: &Path) -> String {
        let mut command = match rustix::process::geteuid().is_root() {
            true => Command::new("dpkg"),
            false => {
                let mut command = Command::new("fakeroot");
                command.args(["dpkg", "--force-not-root"]);
                command
            }
        };
        command.arg(format!("--root={}", self.0.path().display()));
        // What it depends on is installed on the machine, not below the folder.
        command.args([
            "--force-depends",
            "--force-script-chrootless",
            "--log=/dev/null",
        ]);
        // Users' programs for administrators are not on everybody's path.
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"));
        let output = command.arg(action).arg(what).output().unwrap();
        said(&output)
    }
}

#[track_caller]
fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    let said = format!("{out}{err}");
    assert!(output.status.success(), "{said}");
    said
}

/// Packs the program that the tests run.
fn package() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("bash")
        .arg(root.join("scripts/deb.sh"))
        .arg(env!("CARGO_BIN_EXE_patina"))
        .env("PATINA_DEB_FAST", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    PathBuf::from(printed.lines().last().unwrap())
}

const CONFIG: &str = "[agent]\nname = \"grove\"\nstate = \"/var/lib/patina\"\n\
                      [[storage]]\nname = \"nas\"\ndirectory = \"store\"\n\
                      [[database]]\nname = \"blog\"\nsqlite = \"blog.db\"\n";

#[test]
fn the_package_installs_and_runs_and_its_removal_keeps_configuration_and_state() {
    let root = Root::new();
    let package = package();
    root.dpkg("--install", &package);
    check_form(&package, &root);
    for name in [
        "usr/bin/patina",
        "usr/lib/systemd/system/patina.service",
        "usr/share/man/man1/patina.1.gz",
        "usr/share/man/man1/patina-backup.1.gz",
        "usr/share/bash-completion/completions/patina",
        "usr/share/zsh/vendor-completions/_patina",
        "usr/share/fish/vendor_completions.d/patina.fish",
        "usr/share/doc/patina/examples/patina.toml",
        "usr/share/doc/patina/changelog.Debian.gz",
        "usr/share/doc/patina/copyright",
    ] {
        assert!(root.path(name).is_file(), "{name} is not there");
    }
    let wanted = "etc/systemd/system/multi-user.target.wants/patina.service";
    assert!(root.path(wanted).is_symlink(), "the unit is not enabled");
    let users = fs::read_to_string(root.path("etc/passwd")).unwrap();
    assert!(
        users.lines().any(|user| user.starts_with("patina:")),
        "{users}"
    );
    let folder = fs::metadata(root.path("etc/patina")).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o750);
    let unit = fs::read_to_string(root.path("usr/lib/systemd/system/patina.service")).unwrap();
    assert!(unit.contains("ExecStart=/usr/bin/patina "), "{unit}");

    let config = root.path("etc/patina/patina.toml");
    fs::write(&config, CONFIG).unwrap();
    fs::create_dir_all(root.path("var/lib/patina")).unwrap();
    let state = root.path("var/lib/patina/catalog.db");
    fs::write(&state, "x").unwrap();
    let program = root.path("usr/bin/patina");
    let checked = Command::new(&program)
        .args(["--config", config.to_str().unwrap(), "check"])
        .output()
        .unwrap();
    assert!(said(&checked).contains("agent `grove`"), "{checked:?}");

    root.dpkg("--remove", Path::new("patina"));
    assert!(!program.exists());
    assert!(config.exists() && state.exists());
    let told = root.dpkg("--purge", Path::new("patina"));
    assert!(!config.exists() && !root.path("etc/patina").exists());
    assert!(!root.path(wanted).is_symlink());
    assert!(state.exists(), "a purge took what may be copies");
    assert!(
        told.contains("is kept: there may be copies in it"),
        "{told}"
    );
}

/// One field of the package.
fn field(package: &Path, name: &str) -> String {
    let mut command = Command::new("dpkg-deb");
    let output = command.arg("--field").arg(package).arg(name).output();
    said(&output.unwrap()).trim().to_owned()
}

/// It says who makes it and holds to what Debian asks of every package.
#[track_caller]
fn check_form(package: &Path, root: &Root) {
    let maintainer = field(package, "Maintainer");
    assert_eq!(
        maintainer,
        "Patina contributors <noreply@patina.grove.place>"
    );
    assert_eq!(field(package, "Homepage"), "https://patina.grove.place");
    assert_eq!(field(package, "Package"), "patina");
    let lines = field(package, "Description");
    let short = lines.lines().next().unwrap();
    assert!(short.len() <= 80 && !short.ends_with('.'), "{short}");
    assert!(
        short.ends_with("databases"),
        "it goes on in the next line: {lines}"
    );
    assert!(lines.lines().count() > 1, "no long description: {lines}");

    let unpacked = |name: &str| {
        let output = Command::new("zcat").arg(root.path(name)).output().unwrap();
        said(&output)
    };
    let log = unpacked("usr/share/doc/patina/changelog.Debian.gz");
    let version = field(package, "Version");
    assert!(log.starts_with(&format!("patina ({version}) ")), "{log}");
    assert!(log.contains(&format!(" -- {maintainer}  ")), "{log}");
    let copyright = fs::read_to_string(root.path("usr/share/doc/patina/copyright")).unwrap();
    for part in ["Upstream-Name: patina", "License: MIT OR Apache-2.0"] {
        assert!(copyright.contains(part), "{part}: {copyright}");
    }
    assert!(!copyright.contains("localhost"), "{copyright}");
    let page = unpacked("usr/share/man/man1/patina.1.gz");
    assert!(page.contains(".SH NAME"), "{page}");

    // Whatever is installed is root's and nobody else's to write.
    let listed = Command::new("dpkg-deb")
        .arg("--contents")
        .arg(package)
        .output();
    let listed = said(&listed.unwrap());
    assert!(listed.lines().count() >= 20, "{listed}");
    for line in listed.lines() {
        let mut words = line.split_whitespace();
        let (mode, owner, name) = (
            words.next().unwrap(),
            words.next().unwrap(),
            words.nth(3).unwrap(),
        );
        assert!(["root/root", "0/0"].contains(&owner), "{line}");
        let expected = match (mode.starts_with('d'), name) {
            (true, _) | (_, "./usr/bin/patina") => "rwxr-xr-x",
            _ => "rw-r--r--",
        };
        assert_eq!(&mode[1..], expected, "{line}");
    }
}
