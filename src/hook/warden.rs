//! Stands between Patina and the process that runs a script. Invariant: when it ends, nothing that the script started is
//! left, however that hid, and it ends when Patina does.
//!
//! The first line on stdin is the call; the end of stdin says that nobody waits for it any more. No script has a say in
//! this process: it takes in the orphans of the one below, which may die at any moment.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, ExitCode, ExitStatus, Stdio};
use std::thread;

use rustix::process::{WaitOptions, getpid, set_child_subreaper, wait};

use super::child::CALL_MAX_BYTES;
use super::{COMMAND, INSIDE, descendants};

/// Above this the code of the end is a signal, as in a shell.
const SIGNAL_BASE: i32 = 128;

/// Runs the call on stdin in a process of its own and ends as that does. Only the hidden command of the program's own
/// child gets here.
pub(super) fn main() -> ExitCode {
    match watched() {
        Ok(status) => ExitCode::from(code(status)),
        Err(error) => {
            let _ = writeln!(io::stderr(), "the call cannot be answered: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The signal that ended the process below, where one did; `status` is that of the warden.
pub(super) fn signal(status: ExitStatus) -> Option<i32> {
    let told = status.code().map(|code| code - SIGNAL_BASE);
    status.signal().or(told.filter(|signal| *signal > 0))
}

fn code(status: ExitStatus) -> u8 {
    let signal = status.signal().map(|signal| SIGNAL_BASE + signal);
    let code = signal.or(status.code()).unwrap_or(1);
    u8::try_from(code).unwrap_or(u8::MAX)
}

fn watched() -> io::Result<ExitStatus> {
    set_child_subreaper(Some(getpid()))?;
    let mut stdin = BufReader::new(io::stdin());
    let mut call = Vec::new();
    stdin
        .by_ref()
        .take(CALL_MAX_BYTES)
        .read_until(b'\n', &mut call)?;
    let (mut child, its_stdin) = start()?;
    thread::spawn(move || hand_over(its_stdin, &call));
    thread::spawn(move || {
        // Nothing more is said; this ends with Patina.
        let _ = io::copy(&mut stdin, &mut io::sink());
        descendants::end(getpid());
    });
    let status = child.wait()?;
    descendants::end(getpid());
    reap();
    Ok(status)
}

fn start() -> io::Result<(Child, ChildStdin)> {
    let program = std::env::current_exe()?;
    let mut child = Command::new(program)
        .args([COMMAND, INSIDE])
        .stdin(Stdio::piped())
        .spawn()?;
    let stdin = child.stdin.take().expect("it is piped");
    Ok((child, stdin))
}

/// A child that died reads nothing; how it ended tells more.
fn hand_over(mut stdin: ChildStdin, call: &[u8]) {
    let _ = stdin.write_all(call);
}

/// Asks about everybody who ended, or they would stay with a Patina that is the first process of a container.
fn reap() {
    while let Ok(Some(_)) = wait(WaitOptions::empty()) {}
}
