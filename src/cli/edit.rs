//! `patina init`, `add` and `remove`: edit the configuration. Invariant: a file is replaced as a whole, only by a valid
//! one, with the same mode and owner; comments are kept.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::args::{AddArgs, InitArgs};
use super::context::{Context, tell};
use super::exit::{Exit, Refusal};
use crate::config::edit::{add_database, remove_database};
use crate::config::{Config, D1Method, Problems, SourceSpec, System, read_text, template};
use crate::types::DatabaseName;

/// Runs `patina init`.
pub(super) fn init(context: &Context, args: &InitArgs) -> anyhow::Result<Exit> {
    let path = args.file.as_ref().unwrap_or(&context.config);
    let databases = args.sqlite.iter().map(|(name, file)| {
        let source = SourceSpec::Sqlite(seen_from(path, file)?);
        Ok((name.clone(), source))
    });
    let databases: Vec<_> = databases.collect::<io::Result<_>>()?;
    let text =
        template(&host_name(), &databases).map_err(|error| Refusal::usage(error.to_string()))?;
    if !databases.is_empty() {
        validate(path, &text)?;
    }
    create(path, &text)?;
    warn_of_absent(args.sqlite.iter().map(|(_, file)| file.as_path()));
    let with = option_for(path);
    let next = match databases.is_empty() {
        true => format!("patina{with} add NAME --sqlite PATH"),
        false => format!("patina{with} check"),
    };
    context.print(format_args!("wrote {}; next: {next}", path.display()))?;
    Ok(Exit::Ok)
}

/// Runs `patina add`.
pub(super) fn add(context: &Context, args: &AddArgs) -> anyhow::Result<Exit> {
    let path = &context.config;
    let text = read(path)?;
    let source = match (&args.sqlite, &args.d1) {
        (Some(file), _) => SourceSpec::Sqlite(seen_from(path, file)?),
        (None, id) => SourceSpec::D1 {
            id: id.clone().unwrap_or_default(),
            method: D1Method::default(),
        },
    };
    let edited = add_database(&text, &args.name, &source)
        .map_err(|error| Refusal::usage(error.to_string()))?;
    replace(path, &text, &edited)?;
    warn_of_absent(args.sqlite.iter().map(PathBuf::as_path));
    let (name, with) = (&args.name, option_for(path));
    context.print(format_args!(
        "added `{name}` to {}; next: patina{with} backup {name}",
        path.display()
    ))?;
    Ok(Exit::Ok)
}

/// Runs `patina remove`.
pub(super) fn remove(context: &Context, name: &DatabaseName) -> anyhow::Result<Exit> {
    let path = &context.config;
    let text = read(path)?;
    let edited = remove_database(&text, name).map_err(|error| Refusal::usage(error.to_string()))?;
    replace(path, &text, &edited)?;
    context.print(format_args!(
        "removed `{name}` from {}; its copies are kept",
        path.display()
    ))?;
    Ok(Exit::Ok)
}

/// Returns the path for `file`, which is relative to the working directory, in a configuration at `config`.
fn seen_from(config: &Path, file: &Path) -> io::Result<PathBuf> {
    let folder = config.parent().unwrap_or(Path::new(""));
    let is_here = folder.as_os_str().is_empty() || folder == Path::new(".");
    match is_here {
        true => Ok(file.to_owned()),
        false => std::path::absolute(file),
    }
}

pub(super) fn option_for(path: &Path) -> String {
    match path == Path::new("patina.toml") {
        true => String::new(),
        false => format!(" --config {}", path.display()),
    }
}

fn warn_of_absent<'a>(files: impl Iterator<Item = &'a Path>) {
    for file in files.filter(|file| !file.exists()) {
        tell(format_args!(
            "warning: {} does not exist yet",
            file.display()
        ));
    }
}

/// Returns this host's name, the agent's default name.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" | "(none)" => "patina".to_owned(),
        name => name.to_owned(),
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    read_text(path).map_err(|cause| {
        let hint = match cause.kind() {
            io::ErrorKind::NotFound => "write a new one: `patina init`",
            _ => "name the configuration: `patina --config FILE …`",
        };
        let text = format!("cannot read {}: {cause}\nhint: {hint}", path.display());
        Refusal::usage(text).into()
    })
}

fn validate(path: &Path, text: &str) -> Result<(), Problems> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let name = path.display().to_string();
    let loaded = Config::from_text(text, &name, folder, &System)?;
    loaded.with_databases().map(drop)
}

fn create(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = File::options().write(true).create_new(true).open(path);
    let mut file = file.map_err(|cause| {
        let place = path.display();
        Refusal::usage(match cause.kind() {
            io::ErrorKind::AlreadyExists => format!(
                "{place} exists already and was left as it is\nhint: `patina add` adds a database to it"
            ),
            _ => format!("cannot write {place}: {cause}"),
        })
    })?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(())
}

/// Replaces `text` by `edited`, if that is valid and the file did not change meanwhile.
pub(super) fn replace(path: &Path, text: &str, edited: &str) -> anyhow::Result<()> {
    validate(path, edited).inspect_err(|_| {
        tell(format_args!(
            "{} was left as it is; with the change it would not be valid:",
            path.display()
        ));
    })?;
    let told = || format!("cannot write {}", path.display());
    // A link remains a link.
    let target = fs::canonicalize(path).with_context(told)?;
    let folder = target.parent().unwrap_or(Path::new("/"));
    let facts = fs::metadata(&target).with_context(told)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(told)?;
    file.write_all(edited.as_bytes()).with_context(told)?;
    let owned = fchown(file.as_file(), Some(facts.uid()), Some(facts.gid()));
    let (mine, theirs) = (file.as_file().metadata().with_context(told)?, &facts);
    if owned.is_err() && (mine.uid(), mine.gid()) != (theirs.uid(), theirs.gid()) {
        let text = format!(
            "{} belongs to another user and was left as it is\nhint: run this as that user",
            path.display()
        );
        return Err(Refusal::failed(text).into());
    }
    file.as_file()
        .set_permissions(facts.permissions())
        .with_context(told)?;
    file.as_file().sync_all().with_context(told)?;
    if read_text(&target).with_context(told)? != text {
        let text = format!(
            "{} was changed by somebody else just now and was left as it is\nhint: try again",
            path.display()
        );
        return Err(Refusal::failed(text).into());
    }
    file.persist(&target).with_context(told)?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_means_the_same_file_wherever_the_configuration_lies() {
        let here = |config| seen_from(Path::new(config), Path::new("a.db")).unwrap();
        assert_eq!(here("patina.toml"), Path::new("a.db"));
        assert_eq!(here("./patina.toml"), Path::new("a.db"));
        assert!(here("etc/patina.toml").is_absolute());
    }
}
