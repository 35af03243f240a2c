//! `patina demo`: creates six small databases like Grove's, backs them up, and serves the dashboard that shows them.

mod accounts;
mod content;
mod dice;
mod files;
mod work;

use std::fs::{DirBuilder, File};
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

use self::files::Made;
use super::backup;
use super::context::Context;
use super::exit::{Exit, Refusal};
use super::hands::Hands;
use crate::config::{Config, read_text};
use crate::daemon;
use crate::engine::backup::Request;
use crate::types::{Trigger, counted};

/// The configuration of the demo, paths relative to its folder.
const CONFIG: &str = include_str!("patina.toml");

/// Runs `patina demo`.
pub(super) async fn run(context: &Context, folder: &Path, once: bool) -> anyhow::Result<Exit> {
    let told = || format!("the demo cannot be made in `{}`", folder.display());
    let mut private = DirBuilder::new();
    private.recursive(true).mode(0o700);
    private.create(folder).with_context(told)?;
    let config = folder.join("patina.toml");
    write_config(&config).with_context(told)?;
    let made = files::make_all(folder).with_context(told)?;
    if !context.json {
        introduce(context, folder, &made)?;
    }
    let context = context.with_config(config);
    let loaded = context.load()?;
    let request = Request {
        databases: Vec::new(),
        trigger: Trigger::Manual,
        reason: Some("patina demo".to_owned()),
    };
    let config: Config = loaded.config;
    let night = backup::take(&context, config, &request).await?;
    let exit = backup::shown(context.json, &night).print(&context);
    if exit == Exit::Ok && !context.json {
        context.print(next_steps(&context.config))?;
        if !once && is_watched() {
            return serve(&context).await;
        }
    }
    Ok(exit)
}

/// True if a person sees the output and can stop the process.
fn is_watched() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// Works like `patina run` until Ctrl-C, to serve the dashboard.
async fn serve(context: &Context) -> anyhow::Result<Exit> {
    let config = context.load()?.config;
    let listens = |address: SocketAddr| {
        // If the line cannot be printed, the dashboard is served nonetheless.
        let _ = context.print(format_args!(
            "\nThe dashboard is at http://{address}/ until Ctrl-C. Open it in a browser."
        ));
    };
    let ending = daemon::run(config, listens, Arc::new(Hands)).await?;
    Ok(super::daemon::exit(ending))
}

/// Writes the configuration if it does not exist; one that the demo did not write is an error, and is kept.
fn write_config(path: &Path) -> anyhow::Result<()> {
    match read_text(path) {
        Ok(text) if text.contains("patina demo") => Ok(()),
        Ok(_) => {
            let text =
                "its patina.toml was not written by `patina demo`\nhint: name another folder";
            Err(Refusal::usage(text).into())
        }
        Err(_) => Ok(File::create_new(path)?.write_all(CONFIG.as_bytes())?),
    }
}

fn introduce(context: &Context, folder: &Path, made: &[Made]) -> std::io::Result<()> {
    let place = folder.display();
    let new = made.iter().filter(|made| made.is_new).count();
    context.print(match new {
        0 => format!(
            "The {} in {place} are there already.",
            counted(made.len(), "database")
        ),
        _ => format!(
            "Made {} in {place}, and a patina.toml that names them.",
            counted(new, "SQLite database")
        ),
    })?;
    context.print("Each is now exported, restored into a scratch database, compared row by row, and stored:\n")
}

/// Returns suggestions for next steps, as commands that work from the same folder.
fn next_steps(config: &Path) -> String {
    let patina = format!("{} --config {}", invocation(), quoted(config));
    format!(
        "
What you have now lies in {folder}/backups: plain SQL, one file per database, and the
manifests that say what each one holds.
Try next:

  {patina} list
  {patina} show autumnsgrove-posts
  {patina} cat groveauth | head -n 40
  rm -f restored.db; {patina} cat scout-db | sqlite3 restored.db
  {patina} verify
  {patina} check",
        folder = config.parent().unwrap_or(Path::new(".")).display(),
    )
}

/// Returns the command that started this process, to be typed again.
fn invocation() -> String {
    let program = std::env::args_os()
        .next()
        .map_or("patina".into(), PathBuf::from);
    // Cargo sets this variable for the programs it runs.
    if std::env::var_os("CARGO").is_none() {
        return quoted(&program);
    }
    let is_release = program
        .components()
        .any(|part| part.as_os_str() == "release");
    let profile = if is_release { "--release " } else { "" };
    format!("cargo run {profile}--locked --quiet --")
}

/// Quotes a path for a POSIX shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./+=:@%,".contains(c);
    match text.chars().all(is_plain) && !text.is_empty() {
        true => text,
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_blank_or_quote_is_quoted_for_the_shell() {
        let quoted = |text: &str| quoted(Path::new(text));
        assert_eq!(quoted("demo/patina.toml"), "demo/patina.toml");
        assert_eq!(quoted("my demo"), "'my demo'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
