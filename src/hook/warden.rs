//! Supervises the process that runs a script. Invariant: when the supervisor ends, no process that the script started
//! is left, however it tried to hide, and the supervisor ends when Patina does.
//!
//! The first line on stdin is the call; the end of stdin means that the caller no longer waits. No script code runs in
//! this process: it adopts the orphans of the process below, which may die at any moment.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, ExitCode, ExitStatus, Stdio};
use std::thread;

use rustix::process::{WaitOptions, getpid, set_child_subreaper, wait};

use super::child::CALL_MAX_BYTES;
use super::{COMMAND, INSIDE, descendants};

/// Exit codes above this stand for a signal, as in a shell.
const SIGNAL_BASE: i32 = 128;

/// Runs the call on stdin in a child process and exits with its status. Reached only through the hidden command.
pub(super) fn main() -> ExitCode {
    match watched() {
        Ok(status) => ExitCode::from(code(status)),
        Err(error) => {
            let _ = writeln!(io::stderr(), "the call cannot be answered: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the signal that ended the process below, if any; `status` is that of the supervisor.
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
        // No more input follows; the copy ends with Patina.
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

/// Passes the call on. A child that died reads nothing; its exit status is more informative.
fn hand_over(mut stdin: ChildStdin, call: &[u8]) {
    let _ = stdin.write_all(call);
}

/// Reaps all ended processes, which would otherwise stay zombies if Patina is the first process of a container.
fn reap() {
    while let Ok(Some(_)) = wait(WaitOptions::empty()) {}
}
