//! Takes every command out of guides and the runbook and runs it word for word: in the end the database is what it was.

mod bucket;
mod facts;
mod file;
mod image;
mod stranger;
mod wrangler;

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use patina::http::key_digest;

use tempfile::TempDir;

/// Nothing here takes nearly so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder in which a person sits on the worst day.
pub(crate) struct Desk {
    folder: TempDir,
    env: Vec<(String, String)>,
}

/// A running daemon, for the commands that ask it; ends when dropped.
pub(crate) struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `[http]` says so that the daemon listens on a port of its own and a key may download; nothing is due meanwhile.
pub(crate) fn served(port: u16) -> String {
    format!(
        "[schedule]\ncatch_up = \"0s\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n\
         [[http.key]]\nid = \"me\"\nsha256 = \"{}\"\nscopes = [\"download\"]\n",
        key_digest(SECRET)
    )
}

/// What stands behind the key's id.
const SECRET: &str = "a-secret-of-forty-three-letters-and-digits-1";

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Desk {
    /// With this configuration. `patina` is found in the path, as installed.
    pub(crate) fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("patina.toml"), config).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_patina"));
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(program, bin.join("patina")).unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let env = vec![("PATH".to_owned(), path)];
        Self { folder, env }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Starts the daemon, with its key where a person has it.
    pub(crate) fn serve(&mut self, port: u16) -> Daemon {
        self.set("PATINA_KEY", &format!("ptk_me_{SECRET}"));
        let mut daemon = Command::new(env!("CARGO_BIN_EXE_patina"));
        daemon.arg("run").current_dir(self.folder.path());
        daemon.env_remove("PATINA_CONFIG").stderr(Stdio::null());
        let env = self.env.iter().map(|(name, value)| (name, value));
        let daemon = Daemon(daemon.envs(env).spawn().unwrap());
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < PATIENCE, "it does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        daemon
    }

    pub(crate) fn try_to(&self, command: &str) -> Output {
        let mut shell = Command::new("bash");
        // rclone takes no certificates of a machine's own, and asks nobody here for one.
        for name in ["PATINA_CONFIG", "RUST_LOG", "CARGO", "AWS_CA_BUNDLE"] {
            shell.env_remove(name);
        }
        shell
            .args(["-euo", "pipefail", "-c", command])
            .current_dir(self.folder.path())
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap()
    }

    /// Runs one command as it stands; gives what it wrote.
    #[track_caller]
    pub(crate) fn run(&self, command: &str) -> String {
        let output = self.try_to(command);
        let told = String::from_utf8_lossy(&output.stderr);
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{command}\n{told}\n{out}");
        out
    }
}

/// One command of a page, and the sentence before it.
#[derive(Debug, Clone)]
struct Printed {
    say: String,
    command: String,
}

/// The commands of the section whose heading ends so, in their order.
#[track_caller]
fn section(page: &str, heading: &str) -> Vec<Printed> {
    let mut parts = page.split("\n## ").chain(page.split("\n### "));
    let part = parts.find(|part| {
        part.lines()
            .next()
            .is_some_and(|line| line.ends_with(heading))
    });
    let part = part.unwrap_or_else(|| panic!("no `{heading}` in {page}"));
    let found = commands(part.split("\n### ").next().unwrap());
    assert!(!found.is_empty(), "no command below `{heading}`");
    found
}

/// Every command of a text.
fn commands(text: &str) -> Vec<Printed> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("```sh\n") {
        let (command, behind) = after.split_once("\n```").expect("the block ends");
        let say = before.trim_end().lines().next_back().unwrap_or_default();
        found.push(Printed {
            say: say.to_owned(),
            command: command.to_owned(),
        });
        rest = behind;
    }
    found
}

impl Desk {
    /// Runs every command of a section, and holds each answer against the sentence that announced it.
    #[track_caller]
    fn follow(&self, steps: &[Printed]) {
        for step in steps {
            let out = self.run(&step.command);
            step.holds(&out);
        }
    }
}

impl Printed {
    /// Whether the answer is what the sentence says it must be.
    #[track_caller]
    fn holds(&self, out: &str) {
        let told = format!("{self:?} answered {out}");
        if self.say.contains("no row must come") {
            // wrangler answers with an empty list of results.
            let is_empty = out.trim().is_empty() || !out.contains("\"parent\"");
            assert!(is_empty, "{told}");
        } else if self.say.contains("it must say `ok`") {
            // The torture database holds rows that no CHECK let in.
            let is_known = |line: &str| line == "ok" || line.starts_with("CHECK constraint failed");
            assert!(!out.is_empty() && out.lines().all(is_known), "{told}");
        } else if let Some(rows) = self.say.split("Verify: ").nth(1) {
            let rows = rows.split(' ').next().unwrap().replace(',', "");
            assert!(out.contains(&rows), "{told}");
        }
    }
}
