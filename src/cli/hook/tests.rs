//! `patina hook test`: runs the tests that belong to the scripts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Refusal, open};
use crate::cli::context::{Context, tell};
use crate::cli::exit::Exit;
use crate::config::Config;

pub(super) async fn run(context: &Context, directory: Option<&Path>) -> anyhow::Result<Exit> {
    let (config, hooks) = open(context)?;
    let files = match directory {
        Some(directory) => files_in(directory)?,
        None => of_scripts(context, &config)?,
    };
    let (mut passed, mut failed) = (0, 0);
    for file in &files {
        let tests = hooks.tests(file)?;
        for name in tests.names() {
            match hooks.test(&tests, name).await {
                Ok(()) => {
                    passed += 1;
                    context.print(format_args!("ok {}: {name}", file.display()))?;
                }
                Err(why) => {
                    failed += 1;
                    tell(format_args!("failed {name}: {}", context.shown(&why)));
                }
            }
        }
    }
    if passed + failed == 0 {
        let text = "there is no test: no function `test_…` in `scripts/tests/*.rhai`";
        return Err(Refusal::failed(text).into());
    }
    context.print(format_args!("{passed} passed, {failed} failed"))?;
    Ok(match failed {
        0 => Exit::Ok,
        _ => Exit::Failed,
    })
}

/// Returns the tests beside the configured scripts and below the configuration's own `scripts`.
fn of_scripts(context: &Context, config: &Config) -> anyhow::Result<Vec<PathBuf>> {
    let beside = context.config.parent().unwrap_or(Path::new(""));
    let mut folders = BTreeSet::from([beside.join("scripts")]);
    let own = config
        .databases()
        .iter()
        .filter_map(|database| database.script.as_ref());
    let scripts = config.hooks().scripts.iter().chain(own);
    folders.extend(scripts.filter_map(|script| Some(script.parent()?.to_owned())));
    let mut files = Vec::new();
    for folder in folders {
        let tests = folder.join("tests");
        if tests.is_dir() {
            files.extend(files_in(&tests)?);
        }
    }
    Ok(files)
}

fn files_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let unreadable =
        |error| Refusal::failed(format!("`{}` cannot be read: {error}", folder.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "rhai")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
