//! `patina reload`: makes the running daemon read its configuration again, and shows the result. Invariant: no process
//! receives the signal that would not reload.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::context::Context;
use super::exit::{Exit, Refusal};
use crate::app;
use crate::catalog::{Catalog, Cause, Reload, ReloadOutcome};
use crate::config::{Config, Environment, Problems, System};
use crate::engine::state::{Holder, StateDir};

/// Time to wait for the daemon: it reads a few small files and opens its storages, of which one may not answer.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

const ASK_EVERY: Duration = Duration::from_millis(20);

/// Runs `patina reload`.
pub(super) async fn run(context: &Context) -> anyhow::Result<Exit> {
    let own = Config::load(&context.config);
    let state = match &own {
        Ok(loaded) => loaded.config.agent().state.clone(),
        // This shell may lack variables or credentials that the daemon has.
        Err(problems) => match Config::state_named_in(&context.config) {
            Some(state) => state,
            None => return Err(problems.clone().into()),
        },
    };
    let daemon = match daemon_in(&state) {
        Ok(daemon) => daemon,
        Err(error) => return Err(own.err().map_or(error, Into::into)),
    };
    validate(&context.config, daemon, own.err())?;
    let catalog = Catalog::open_read_only(&StateDir::catalog_path(&state))?;
    let catalog = catalog.context("the daemon is still starting\nhint: try again in a moment")?;
    let before = catalog.last_reload()?;
    let known = before.as_ref().map_or(0, |reload| reload.id);
    kill_process(daemon, Signal::HUP).map_err(|error| {
        let id = daemon.as_raw_nonzero();
        let text = format!("the daemon (process {id}) cannot be told: {error}\nhint: run this as its user or as root");
        Refusal::failed(text)
    })?;
    let began = Instant::now();
    loop {
        let reloads = catalog.reloads_after(known)?;
        let answer = reloads
            .iter()
            .position(|reload| reload.cause == Cause::Asked);
        if let Some(answer) = answer {
            return show(context, before.as_ref(), &reloads[..=answer]);
        }
        if began.elapsed() > LONGEST_WAIT {
            let seconds = LONGEST_WAIT.as_secs();
            let text = format!(
                "the daemon got the request, and did not answer within {seconds} s\nhint: its log says what it does"
            );
            return Err(Refusal::failed(text).into());
        }
        sleep(ASK_EVERY).await;
    }
}

/// Finds the daemon that uses this state directory.
fn daemon_in(state: &Path) -> anyhow::Result<Pid> {
    let place = state.display();
    let refuse = |text: String| Err(Refusal::failed(text).into());
    let holder = StateDir::holder(state)
        .with_context(|| format!("it cannot be seen whether a daemon works in `{place}`"))?;
    let Some(Holder { id, hears_hangups }) = holder else {
        return refuse(format!(
            "no daemon works in `{place}`\nhint: start it: `patina run`"
        ));
    };
    if !hears_hangups {
        return refuse(format!(
            "process {id} works in `{place}`, and it is no daemon\nhint: it ends by itself; the daemon reads the \
             file when it starts"
        ));
    }
    let name = |id: i32| fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
    let pid = Pid::from_raw(id).filter(|pid| {
        let id = pid.as_raw_nonzero().get();
        id > 1 && name(id).trim() == "patina"
    });
    match pid {
        Some(pid) => Ok(pid),
        None => refuse(format!(
            "the daemon in `{place}` calls itself process {id}, which is another one here\n\
             hint: does it run in a container? Reload it in there; it also notices changes by itself"
        )),
    }
}

/// Checks the file with the daemon's environment variables if they can be read; otherwise with those of this shell.
fn validate(config: &Path, daemon: Pid, own: Option<Problems>) -> Result<(), Problems> {
    let Some(theirs) = Theirs::of(daemon) else {
        return own.map_or(Ok(()), Err);
    };
    app::load_in(config, &theirs).map(drop)
}

fn show(context: &Context, before: Option<&Reload>, reloads: &[Reload]) -> anyhow::Result<Exit> {
    let rejected = |reload: &Reload| reload.outcome == ReloadOutcome::Rejected;
    let is_rejected = reloads.last().is_some_and(rejected);
    let exit = match is_rejected {
        true => Exit::Usage,
        false => Exit::Ok,
    };
    let mut told: Vec<&String> = match is_rejected {
        true => reloads.last().iter().flat_map(|last| &last.told).collect(),
        // Changes that the daemon noticed by itself a moment before belong to the result.
        false => {
            let applied = reloads.iter().filter(|reload| !rejected(reload));
            applied.flat_map(|reload| &reload.told).collect()
        }
    };
    // After a file is saved, the daemon mostly notices the change before this command.
    let is_noticed = |last: &&Reload| last.cause == Cause::Noticed && !rejected(last);
    let noticed = before.filter(is_noticed).filter(|_| told.is_empty());
    told.extend(noticed.iter().flat_map(|last| &last.told));
    if context.json {
        let outcome = match is_rejected {
            true => "rejected",
            false => "applied",
        };
        context.print_json(&json!({"outcome": outcome, "told": told}))?;
        return Ok(exit);
    }
    if is_rejected {
        let text: Vec<&str> = told.iter().map(|text| text.as_str()).collect();
        let text = format!(
            "the daemon keeps its old configuration: {}",
            text.join("\n")
        );
        return Err(Refusal::usage(text).into());
    }
    context.print(match (told.is_empty(), noticed) {
        (true, _) => "reloaded; nothing changed".to_owned(),
        (false, None) => "reloaded".to_owned(),
        (false, Some(last)) => {
            let at = last.at.format("%H:%M:%S UTC");
            format!("reloaded; nothing changed since {at}, when the daemon noticed by itself:")
        }
    })?;
    for change in told {
        context.print(change)?;
    }
    Ok(exit)
}

/// The files of this process and the variables of another.
struct Theirs(HashMap<String, String>);

impl Theirs {
    /// Reads the variables of a process; `None` if this user may not see them.
    fn of(process: Pid) -> Option<Self> {
        let path = format!("/proc/{}/environ", process.as_raw_nonzero());
        let bytes = fs::read(path).ok()?;
        let pairs = bytes.split(|byte| *byte == 0).filter_map(|pair| {
            let (name, value) = std::str::from_utf8(pair).ok()?.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        });
        Some(Self(pairs.collect()))
    }
}

impl Environment for Theirs {
    fn var(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        System.read(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        System.list(folder)
    }

    fn is_file(&self, path: &Path) -> bool {
        System.is_file(path)
    }

    fn mode(&self, path: &Path) -> Option<u32> {
        System.mode(path)
    }
}
