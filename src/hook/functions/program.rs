//! Provides `exec`. Invariant: only a listed program is started, by its path, without a shell and with an empty
//! environment.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use rhai::{Array, Engine, EvalAltResult, Map};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::log::line;
use super::raised;
use crate::hook::limits::STRING_BYTES;
use crate::hook::wire::{Effects, LogLevel, Reach};

/// Upper bound for each output stream; both together fit one value of a script.
const OUTPUT_MAX_BYTES: usize = STRING_BYTES / 2;

pub(super) fn register(engine: &mut Engine, reach: &Reach, deadline: Instant) {
    let starter = Arc::new(Starter {
        effects: reach.effects,
        allowed: reach.exec_allow.clone(),
        deadline,
    });
    let other = Arc::clone(&starter);
    engine.register_fn("exec", move |program: &str| {
        other.start(program, &Array::new())
    });
    engine.register_fn("exec", move |program: &str, arguments: Array| {
        starter.start(program, &arguments)
    });
}

struct Starter {
    effects: Effects,
    allowed: Vec<PathBuf>,
    deadline: Instant,
}

impl Starter {
    fn start(&self, program: &str, arguments: &Array) -> Result<Map, Box<EvalAltResult>> {
        let Some(path) = self
            .allowed
            .iter()
            .find(|path| path.to_str() == Some(program))
        else {
            let message = format!(
                "the program `{program}` may not be started\nhint: add its absolute path to `[hooks] exec_allow`"
            );
            return Err(raised(message));
        };
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        if self.effects == Effects::Recorded {
            line(
                LogLevel::Recorded,
                format!("exec {program} {}", arguments.join(" ")).trim_end(),
            );
            return Ok(ended(0, String::new(), String::new()));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime =
            runtime.map_err(|error| raised(format!("no program can be started: {error}")))?;
        let left = self.deadline.saturating_duration_since(Instant::now());
        let mut command = Command::new(path);
        command.args(arguments);
        let run = runtime.block_on(async { tokio::time::timeout(left, output(command)).await });
        match run {
            Ok(Ok(map)) => Ok(map),
            Ok(Err(error)) => Err(raised(format!("`{program}` cannot be run: {error}"))),
            Err(_) => Err(raised(format!(
                "`{program}` did not end in the time the hook has"
            ))),
        }
    }
}

async fn output(mut command: Command) -> std::io::Result<Map> {
    command
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn()?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (out, err, status) = tokio::join!(text(out), text(err), child.wait());
    Ok(ended(status?.code().unwrap_or(-1), out?, err?))
}

async fn text(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        (&mut pipe)
            .take(OUTPUT_MAX_BYTES as u64)
            .read_to_end(&mut bytes)
            .await?;
        // Drain the rest, or the program would block forever.
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    }
    // Replacing invalid UTF-8 makes the text longer.
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    text.truncate(text.floor_char_boundary(OUTPUT_MAX_BYTES));
    Ok(text)
}

fn ended(code: i32, out: String, err: String) -> Map {
    let mut map = Map::new();
    map.insert("code".into(), i64::from(code).into());
    map.insert("stdout".into(), out.into());
    map.insert("stderr".into(), err.into());
    map
}
