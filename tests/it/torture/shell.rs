//! Runs the stock `sqlite3` shell the way a person in trouble would.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// How the shell is started and what is put around the dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Shell {
    /// `-safe`: no file but the database may be touched.
    pub(crate) safe: bool,
    /// `BEGIN;` before the dump and `COMMIT;` after it.
    pub(crate) wrapped: bool,
    /// `PRAGMA foreign_keys=ON` first; the shell's default is off.
    pub(crate) foreign_keys: bool,
}

impl Shell {
    /// Every way there is.
    pub(crate) fn all() -> [Self; 8] {
        std::array::from_fn(|bits| Self {
            safe: bits & 1 != 0,
            wrapped: bits & 2 != 0,
            foreign_keys: bits & 4 != 0,
        })
    }

    /// Feeds `dump` to a shell that opens `into`; what the shell complained of is the error.
    pub(crate) fn restore(self, dump: &Path, into: &Path) -> Result<(), String> {
        let mut command = Command::new("sqlite3");
        command.args(["-init", "/dev/null", "-batch", "-bail"]);
        if self.safe {
            command.arg("-safe");
        }
        command.arg(into);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .expect("sqlite3 is installed: scripts/test-deps.sh");
        let mut stdin = child.stdin.take().unwrap();
        let mut dump = File::open(dump).unwrap();
        let feeder = std::thread::spawn(move || -> io::Result<()> {
            if self.foreign_keys {
                stdin.write_all(b"PRAGMA foreign_keys=ON;\n")?;
            }
            if self.wrapped {
                stdin.write_all(b"BEGIN;\n")?;
            }
            io::copy(&mut dump, &mut stdin)?;
            if self.wrapped {
                stdin.write_all(b"\nCOMMIT;\n")?;
            }
            Ok(())
        });
        let output = child.wait_with_output().unwrap();
        let fed = feeder.join().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if !output.status.success() || !complaint.is_empty() {
            return Err(format!("sqlite3 ended with {}: {complaint}", output.status));
        }
        fed.map_err(|error| format!("sqlite3 stopped reading the dump: {error}"))
    }
}

/// Restores `dump` as it is, without a transaction around it.
pub(crate) fn shell_restore(dump: &Path, into: &Path, safe: bool) -> Result<(), String> {
    let shell = Shell {
        safe,
        ..Shell::default()
    };
    shell.restore(dump, into)
}
