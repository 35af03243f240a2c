//! Prints files for other programs: the configuration's schema, completion scripts, manual pages.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory;

use super::args::Arguments;
use super::context::Context;
use super::exit::Exit;

/// Runs `patina config schema`.
pub(super) fn schema(context: &Context) -> anyhow::Result<Exit> {
    context.print_json(&crate::config::schema())?;
    Ok(Exit::Ok)
}

/// Runs `patina completions`.
pub(super) fn completions(_: &Context, shell: clap_complete::Shell) -> anyhow::Result<Exit> {
    // Into memory first: the generator panics if it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "patina", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(Exit::Ok)
}

/// Runs `patina man`.
pub(super) fn man(context: &Context, folder: Option<&Path>) -> anyhow::Result<Exit> {
    let command = Arguments::command();
    let Some(folder) = folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        io::stdout().lock().write_all(&page)?;
        return Ok(Exit::Ok);
    };
    let told = || format!("manual pages cannot be written to `{}`", folder.display());
    std::fs::create_dir_all(folder).with_context(told)?;
    clap_mangen::generate_to(command, folder).with_context(told)?;
    context.print(format_args!(
        "manual pages written; read one with: man {}/patina.1",
        folder.display()
    ))?;
    Ok(Exit::Ok)
}
