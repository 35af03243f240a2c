//! Starts a child process for each call and ends it. Invariant: soon after the second past the deadline neither the
//! child nor any of its descendants is left, and no more of its output is kept than the two caps allow.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};

use super::limits::{ADDRESS_SPACE_BYTES, KILL_GRACE};
use super::wire::{Answer, Call, LOG_MAX_BYTES, LogLevel, LogLine, VERDICT_MAX_BYTES};
use super::{COMMAND, HookErrorKind, descendants, explain, warden};

/// Variables with the location of certificates, passed to the child; it receives no other variable of this process.
const KEPT_VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Time for the child to end once its descendants were killed.
const END_GRACE: Duration = Duration::from_millis(300);

/// A completed call, successful or not.
pub(super) struct Ran {
    pub(super) answer: Answer,
    pub(super) log: Vec<LogLine>,
    pub(super) took: Duration,
}

/// Runs one call with `program` as the child.
pub(super) async fn run(program: &Path, call: &Call) -> Ran {
    let begun = Instant::now();
    let (answer, log) = match started(program, call).await {
        Ok(done) => done,
        Err(error) => {
            let message = format!("the child process cannot be used: {error}");
            (died(call, message), Vec::new())
        }
    };
    let took = begun.elapsed();
    Ran { answer, log, took }
}

async fn started(program: &Path, call: &Call) -> io::Result<(Answer, Vec<LogLine>)> {
    let mut group = Group::start(program)?;
    // The supervisor reads one line, and lives until stdin is closed.
    let mut input = serde_json::to_vec(call)?;
    input.push(b'\n');
    let mut stdin = group.child.stdin.take();
    let (out, err) = (group.child.stdout.take(), group.child.stderr.take());
    let mut said = Vec::new();
    let mut logged = Vec::new();
    let talk = async {
        let write = async {
            if let Some(stdin) = &mut stdin {
                // A child that died reads nothing; its output or exit status is more informative.
                let _ = stdin.write_all(&input).await;
            }
        };
        let (_, said, logged) = tokio::join!(
            write,
            capped(out, &mut said, VERDICT_MAX_BYTES + 1024),
            capped(err, &mut logged, LOG_MAX_BYTES),
        );
        said.and(logged)
    };
    let limit = Duration::from_millis(call.timeout_ms) + KILL_GRACE;
    let in_time = tokio::time::timeout(limit, talk).await;
    let status = group.end(stdin).await?;
    let answer = match in_time {
        Err(_) => late(call),
        Ok(Err(error)) => return Err(error),
        Ok(Ok(())) => match serde_json::from_slice(&said) {
            Ok(answer) => answer,
            Err(_) => died(call, how(status, &said)),
        },
    };
    Ok((answer, lines(&logged)))
}

/// A child and all its descendants, including those that left its process group: they stay below it while it lives.
struct Group {
    child: Child,
    id: Option<Pid>,
}

impl Group {
    fn start(program: &Path) -> io::Result<Self> {
        let mut command = Command::new(program);
        command
            .arg(COMMAND)
            .env_clear()
            .process_group(0)
            .kill_on_drop(true);
        command.env("MALLOC_ARENA_MAX", "1").current_dir("/");
        for name in KEPT_VARIABLES {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let id = id.and_then(Pid::from_raw);
        Ok(Self { child, id })
    }

    /// Ends all remaining processes. Returns the child's own exit status if it ended first.
    async fn end(&mut self, stdin: Option<ChildStdin>) -> io::Result<ExitStatus> {
        if let Some(id) = self.id {
            // Reads a few hundred small files.
            let below = tokio::task::spawn_blocking(move || descendants::end(id));
            below.await.map_err(io::Error::other)?;
        }
        drop(stdin);
        // Once its child has ended, the supervisor reaps all others and ends.
        let ended = tokio::time::timeout(END_GRACE, self.child.wait()).await;
        if let Ok(status) = ended {
            let id = self.id.take();
            let was_killed = status
                .as_ref()
                .is_ok_and(|status| status.signal().is_some());
            if let Some(id) = id.filter(|_| was_killed) {
                // A supervisor that is killed leaves orphans: at least those in its group end with it.
                let _ = kill_process_group(id, Signal::KILL);
            }
            return status;
        }
        self.kill();
        self.child.wait().await
    }

    /// Kills the child and its descendants. The child is not reaped yet, so that its process id cannot belong to
    /// another process.
    fn kill(&mut self) {
        if let Some(id) = self.id.take() {
            descendants::end(id);
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads to the end and keeps at most `most` bytes.
async fn capped(
    pipe: Option<impl AsyncRead + Unpin>,
    kept: &mut Vec<u8>,
    most: usize,
) -> io::Result<()> {
    let Some(mut pipe) = pipe else {
        return Ok(());
    };
    let mut buffer = [0; 8 << 10];
    loop {
        let read = pipe.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let room = most - kept.len();
        kept.extend_from_slice(&buffer[..read.min(room)]);
    }
}

fn lines(bytes: &[u8]) -> Vec<LogLine> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines: Vec<LogLine> = text
        .lines()
        .map(|line| {
            serde_json::from_str(line).unwrap_or_else(|_| LogLine {
                level: LogLevel::Warn,
                text: line.to_owned(),
            })
        })
        .collect();
    if bytes.len() == LOG_MAX_BYTES {
        // The last line is cut off.
        lines.pop();
        lines.push(LogLine {
            level: LogLevel::Warn,
            text: format!(
                "the script logged more than {} KiB; the rest is dropped",
                LOG_MAX_BYTES >> 10
            ),
        });
    }
    lines
}

fn late(call: &Call) -> Answer {
    let limit = humantime::format_duration(Duration::from_millis(call.timeout_ms));
    let hint = "do less, or raise `[hooks] timeout`";
    failed(
        call,
        HookErrorKind::Timeout,
        format!("it took longer than {limit}"),
        Some(hint),
    )
}

fn died(call: &Call, message: String) -> Answer {
    failed(call, HookErrorKind::Died, message, None)
}

fn failed(call: &Call, kind: HookErrorKind, message: String, hint: Option<&str>) -> Answer {
    Answer::Failed(explain::of_function(
        call,
        kind,
        message,
        hint.map(str::to_owned),
    ))
}

fn how(status: ExitStatus, said: &[u8]) -> String {
    if said.len() > VERDICT_MAX_BYTES {
        return format!("its process said more than {} KiB", VERDICT_MAX_BYTES >> 10);
    }
    let most = ADDRESS_SPACE_BYTES >> 20;
    match warden::signal(status) {
        Some(6) => format!("its process died; it may have needed more than {most} MiB"),
        Some(signal) => format!("its process was ended by signal {signal}"),
        None => format!(
            "its process gave no verdict and ended with code {}",
            status.code().unwrap_or(-1)
        ),
    }
}
