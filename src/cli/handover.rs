//! Passes a command's request to the daemon that uses the same state folder, and shows its progress. Invariant: a
//! command that ends early does not affect the daemon's work.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::time::{Instant, sleep, timeout};

use super::context::{Context, tell};
use super::exit::{Exit, Refusal};
use super::meter::Screen;
use super::shown::Shown;
use crate::config::Config;
use crate::daemon::Signals;
use crate::daemon::wish::{self, Note, Outcome, VERSION, Verb, Watched, Wish};
use crate::engine::state::StateDir;
use crate::progress::{Board, Progress, Reading};

/// Time within which a daemon that was just started listens.
const LONGEST_START: Duration = Duration::from_secs(3);

const ASK_EVERY: Duration = Duration::from_millis(50);

/// Time within which a daemon that starts or reloads answers; it takes longer if its storages hang.
const LONGEST_HEARING: Duration = Duration::from_secs(60);

/// Behaviour of a command if no daemon accepts its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Without {
    /// It works by itself, beside the daemon.
    Alone,
    /// It must not work beside a daemon, and fails with the reason.
    Refused,
}

/// Lets a running daemon carry out `verb`. `None` if there is no daemon, or none that accepts requests and the command
/// needs none.
///
/// # Errors
/// If the daemon refuses, fails or ends, or if it cannot be reached and the command must not work beside it.
pub(super) async fn offer(
    context: &Context,
    verb: Verb,
    without: Without,
) -> anyhow::Result<Option<Exit>> {
    let state = match Config::load(&context.config) {
        Ok(loaded) => Some(loaded.config.agent().state.clone()),
        // This shell may lack variables that the daemon has.
        Err(_) => Config::state_named_in(&context.config),
    };
    let Some(state) = state else { return Ok(None) };
    let name = verb.name();
    match StateDir::holder(&state) {
        Ok(Some(holder)) if holder.hears_hangups => {}
        // Only the folder's owner can see if a daemon uses it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && is_of_another(&state) => {
            return Err(Refusal::failed(unreachable(&state, name, &error)).into());
        }
        _ => return Ok(None),
    }
    match connect(&state).await {
        Ok(stream) => {
            let exit = ask(context, stream, verb).await?;
            Ok(Some(exit))
        }
        Err(_) if without == Without::Alone => Ok(None),
        Err(error) => Err(Refusal::failed(unreachable(&state, name, &error)).into()),
    }
}

/// True if a state folder belongs to another user, as far as this user can see.
fn is_of_another(state: &Path) -> bool {
    let owner = std::fs::metadata(state).map(|facts| facts.uid());
    owner.map_or(true, |owner| owner != rustix::process::geteuid().as_raw())
}

/// Describes why the daemon cannot be reached, with a hint.
fn unreachable(state: &Path, verb: &str, error: &io::Error) -> String {
    let place = state.display();
    let also = match verb {
        "backup" => "; `POST /trigger` of its API starts a backup, too",
        _ => "",
    };
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "the state folder `{place}` and the daemon that works in it belong to another user; only that one and root \
             may use them\nhint: run `patina {verb}` as that user, or with sudo{also}"
        ),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => format!(
            "the daemon that works in `{place}` takes nothing over from commands: it is starting, or of a Patina before \
             this one\nhint: try again in a moment; else restart it: `systemctl restart patina`{also}"
        ),
        _ => format!(
            "the daemon that works in `{place}` cannot be asked: {error}\n\
             hint: its log says more; stop it, and `patina {verb}` works by itself{also}"
        ),
    }
}

async fn connect(state: &Path) -> io::Result<UnixStream> {
    let began = Instant::now();
    loop {
        match wish::connect(state).await {
            Err(error)
                if error.kind() != io::ErrorKind::PermissionDenied
                    && began.elapsed() < LONGEST_START =>
            {
                sleep(ASK_EVERY).await;
            }
            connected => return connected,
        }
    }
}

async fn ask(context: &Context, stream: UnixStream, verb: Verb) -> anyhow::Result<Exit> {
    let name = verb.name();
    let wish = Wish {
        version: VERSION,
        config: std::fs::canonicalize(&context.config).unwrap_or_else(|_| context.config.clone()),
        json: context.json,
        verb,
    };
    let mut signals = Signals::listen()?;
    let (read, mut write) = stream.into_split();
    let mut line = serde_json::to_vec(&wish)?;
    line.push(b'\n');
    write.write_all(&line).await.map_err(|_| gone(name))?;
    let mut answer = Answer {
        name,
        lines: BufReader::new(read).lines(),
        screen: Screen::new(context),
        watched: None,
        is_quiet: context.quiet || context.json,
    };
    let outcome = tokio::select! {
        outcome = answer.outcome() => outcome,
        signal = signals.next() => {
            answer.screen.stop().await;
            return Err(Refusal::failed(left_alone(name, signal)).into());
        }
    };
    answer.screen.stop().await;
    Ok(Shown::from_outcome(outcome?)?.print(context))
}

fn left_alone(verb: &str, signal: &str) -> String {
    let look = match verb {
        "backup" => "`patina list` shows the new copies",
        "expire" => "`patina plan` shows what is left",
        _ => "its log says how it ends",
    };
    format!(
        "{signal}: this command ends, and the daemon goes on with `patina {verb}`\nhint: {look}; stopping the daemon stops \
         it, too"
    )
}

fn gone(verb: &str) -> Refusal {
    Refusal::failed(format!(
        "the daemon ended before `patina {verb}` did\nhint: its log says why; unfinished copies are dropped, finished ones \
         are kept: `patina list`"
    ))
}

/// Reads the lines of the daemon's response, and shows them.
struct Answer {
    name: &'static str,
    lines: Lines<BufReader<OwnedReadHalf>>,
    screen: Screen,
    watched: Option<Watched>,
    is_quiet: bool,
}

impl Answer {
    async fn outcome(&mut self) -> Result<Outcome, Refusal> {
        let mut note = timeout(LONGEST_HEARING, self.next())
            .await
            .map_err(|_| silent(self.name))??;
        loop {
            match note {
                Note::Ended(outcome) => return Ok(outcome),
                Note::Heard => self.say("note: the running daemon does it"),
                Note::Waiting => self.say(
                    "note: the daemon is at work on something that this would touch; it waits for its turn (Ctrl-C leaves \
                     it to the daemon)",
                ),
                Note::Warning(text) => tell(format_args!("warning: {text}")),
                Note::Begun {
                    databases,
                    total_bytes,
                } => self.begin(match databases.is_empty() {
                    true => Watched::Bytes(Arc::default(), total_bytes),
                    false => Watched::Board(Arc::new(Board::new(&databases))),
                }),
                Note::Progress(changed) => self.follow(&changed),
            }
            note = self.next().await?;
        }
    }

    async fn next(&mut self) -> Result<Note, Refusal> {
        let line = self.lines.next_line().await;
        let line = line.ok().flatten().ok_or_else(|| gone(self.name))?;
        serde_json::from_str(&line).map_err(|error| {
            Refusal::failed(format!(
                "the daemon answers what this command does not understand: {error}\n\
                 hint: restart it, so that both are of one version: `systemctl restart patina`"
            ))
        })
    }

    fn say(&self, text: &str) {
        if !self.is_quiet {
            tell(text);
        }
    }

    fn begin(&mut self, watched: Watched) {
        self.screen.show(watched.clone());
        self.watched = Some(watched);
    }

    fn follow(&self, changed: &[(usize, Reading)]) {
        let counters: Vec<&Arc<Progress>> = match &self.watched {
            Some(Watched::Board(board)) => board.iter().map(|(_, progress)| progress).collect(),
            Some(Watched::Bytes(progress, _)) => vec![progress],
            None => return,
        };
        for (at, reading) in changed {
            if let Some(progress) = counters.get(*at) {
                progress.set(reading);
            }
        }
    }
}

fn silent(verb: &str) -> Refusal {
    let seconds = LONGEST_HEARING.as_secs();
    Refusal::failed(format!(
        "the daemon does not answer within {seconds} s; it may still take `patina {verb}` up\n\
         hint: its log says what it does; where it hangs, restart it: `systemctl restart patina`"
    ))
}
