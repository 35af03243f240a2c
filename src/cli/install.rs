//! `patina install`: prints or writes the files that systemd needs to run the daemon. Invariant: the unit is that of
//! `scripts/systemd/`, with this program's own path in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;

use super::args::InstallArgs;
use super::context::Context;
use super::exit::{Exit, Refusal};

/// Path of the program in a package, as in the unit.
const PACKAGED: &str = "/usr/bin/patina";

/// Path and text of each file.
const FILES: [(&str, &str); 3] = [
    (
        "etc/systemd/system/patina.service",
        include_str!("../../scripts/systemd/patina.service"),
    ),
    (
        "etc/sysusers.d/patina.conf",
        include_str!("../../scripts/systemd/patina.sysusers"),
    ),
    (
        "etc/tmpfiles.d/patina.conf",
        include_str!("../../scripts/systemd/patina.tmpfiles"),
    ),
];

/// Runs `patina install`.
pub(super) fn run(context: &Context, args: &InstallArgs) -> anyhow::Result<Exit> {
    let program = program()?;
    let files = FILES.map(|(path, text)| {
        let text = text.replace(PACKAGED, &program);
        (args.root.join(path), text)
    });
    if !args.write {
        return print(context, &files);
    }
    for (path, text) in &files {
        write(path, text).map_err(|cause| {
            let place = path.display();
            Refusal::failed(format!(
                "`{place}` cannot be written: {cause}\nhint: run this as root, or see `patina install --systemd --print`"
            ))
        })?;
    }
    if context.json {
        let paths = files.iter().map(|(path, _)| path.display().to_string());
        context.print_json(&json!({"written": paths.collect::<Vec<_>>()}))?;
        return Ok(Exit::Ok);
    }
    for (path, _) in &files {
        context.print(format_args!("wrote {}", path.display()))?;
    }
    context.print(
        "next:\n  systemd-sysusers && systemd-tmpfiles --create patina.conf\n  \
         patina init /etc/patina/patina.toml   # with state = \"/var/lib/patina\"\n  \
         systemctl daemon-reload && systemctl enable --now patina",
    )?;
    Ok(Exit::Ok)
}

fn print(context: &Context, files: &[(PathBuf, String)]) -> anyhow::Result<Exit> {
    if context.json {
        let files = files.iter();
        let files = files.map(|(path, text)| (path.display().to_string(), text.as_str().into()));
        let files: serde_json::Map<String, serde_json::Value> = files.collect();
        context.print_json(&files)?;
        return Ok(Exit::Ok);
    }
    for (path, text) in files {
        context.print(format_args!("# {}\n{text}", path.display()))?;
    }
    Ok(Exit::Ok)
}

/// Returns this program's path in a form that a unit accepts.
fn program() -> anyhow::Result<String> {
    let path = std::env::current_exe().context("this program does not know where it lies")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._+-".contains(c);
    match path.to_str().filter(|path| path.chars().all(plain)) {
        Some(path) => Ok(path.to_owned()),
        None => {
            let text = format!(
                "`{}` cannot stand in a unit\nhint: put the program into /usr/local/bin",
                path.display()
            );
            Err(Refusal::failed(text).into())
        }
    }
}

/// Writes a complete file, which replaces an existing one.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
