//! `patina restore`: restores copies, and shows for each table what was proven.

mod cloud;
mod image;
mod plan;
mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use self::report::Done;
use super::address::{Address, When};
use super::args::RestoreArgs;
use super::context::{Context, in_spite_of, tell};
use super::exit::{Exit, Refusal};
use super::meter::ByteMeter;
use super::signals::overdue;
use super::ways::{Stored, compression_of};
use crate::catalog::CopyFilter;
use crate::clock::{Clock, SystemClock};
use crate::config::read_regular;
use crate::copy::Found;
use crate::engine::restore::{self, Job, Origin, Overwrite, RestoreError, Restored};
use crate::types::{DatabaseName, Manifest};

/// Upper bound for a manifest, in bytes.
const MAX_MANIFEST_BYTES: u64 = 64 * 1024 * 1024;

/// Runs `patina restore`.
pub(super) async fn run(context: &Context, args: &RestoreArgs) -> anyhow::Result<Exit> {
    let stop = CancellationToken::new();
    let overdue = overdue(stop.clone())?;
    let work = async {
        match args.all {
            true => all(context, args, &stop).await,
            false => one(context, args, &stop).await,
        }
    };
    tokio::select! {
        ended = work => ended,
        () = overdue => Err(Refusal::failed("the restore did not end in time after a signal and was given up").into()),
    }
}

/// The text to restore, and the stored copy that it belongs to.
struct What {
    name: String,
    origin: Origin,
    copy: Option<(Stored, Found)>,
}

impl What {
    /// Manifest of the copy, if it is a stored one.
    fn manifest(&self) -> Option<&Manifest> {
        self.copy.as_ref().map(|(_, copy)| copy.manifest())
    }

    async fn of(context: &Context, args: &RestoreArgs) -> anyhow::Result<Self> {
        match (&args.copy, &args.file) {
            (Some(address), _) => Self::stored(context, address, args).await,
            (None, Some(file)) => Self::file(context, file, args),
            (None, None) => Err(Refusal::usage("name a copy, or `--file`").into()),
        }
    }

    async fn stored(
        context: &Context,
        address: &Address,
        args: &RestoreArgs,
    ) -> anyhow::Result<Self> {
        let stored = Stored::open(context).await?;
        let (copy, origin) = stored.origin(address, args.storage.as_deref())?;
        Ok(Self {
            name: copy.manifest().key.to_string(),
            origin,
            copy: Some((stored, copy)),
        })
    }

    /// Describes a file, which needs neither configuration nor catalog; their manifests help to prove it.
    fn file(context: &Context, file: &Path, args: &RestoreArgs) -> anyhow::Result<Self> {
        let known = known(context);
        let compression = compression_of(file);
        let manifest = match &args.manifest {
            None => image::manifest_of(file, compression, &known)?.map(Box::new),
            Some(path) => Some(Box::new(read_manifest(path)?)),
        };
        let origin = Origin::File {
            path: file.to_owned(),
            compression,
            manifest,
            known,
        };
        Ok(Self {
            name: file.display().to_string(),
            origin,
            copy: None,
        })
    }

    /// Converts the error, with a hint.
    fn told(&self, error: RestoreError) -> anyhow::Error {
        match &self.copy {
            Some((stored, copy)) => stored.told(error, copy),
            None if error.is_damage() => Refusal::damage(error.to_string()).into(),
            None => Refusal::failed(error.to_string()).into(),
        }
    }
}

fn read_manifest(path: &Path) -> anyhow::Result<Manifest> {
    let refused = |why: String| Refusal::usage(format!("`{}` {why}", path.display()));
    let text = read_regular(path, MAX_MANIFEST_BYTES)
        .map_err(|error| refused(format!("cannot be read: {error}")))?;
    let manifest = serde_json::from_slice(&text);
    Ok(manifest.map_err(|error| refused(format!("is no manifest: {error}")))?)
}

/// Returns the manifests in the catalog, if there is one.
fn known(context: &Context) -> Vec<Manifest> {
    let Ok(catalog) = context
        .load()
        .and_then(|loaded| context.catalog(&loaded.config))
    else {
        return Vec::new();
    };
    let copies = catalog.copies(&CopyFilter::default()).unwrap_or_default();
    let archives = catalog.archives().unwrap_or_default();
    let members = archives
        .into_iter()
        .flat_map(|archive| archive.manifest.members);
    let copies = copies.into_iter().map(|copy| copy.manifest);
    copies
        .chain(members.map(|member| member.manifest))
        .collect()
}

fn overwrite(args: &RestoreArgs) -> Overwrite {
    match args.replace {
        true => Overwrite::AfterCopy,
        false => Overwrite::Never,
    }
}

async fn one(
    context: &Context,
    args: &RestoreArgs,
    stop: &CancellationToken,
) -> anyhow::Result<Exit> {
    let what = What::of(context, args).await?;
    if let Some(name) = args
        .to
        .to_str()
        .and_then(|to| to.strip_prefix(cloud::PREFIX))
    {
        return cloud::run(context, args, &what, name, stop).await;
    }
    if args.dry_run {
        return plan::show(context, args, &what);
    }
    let started = Instant::now();
    let restored = into_file(context, args, &what, &args.to, stop).await;
    let restored = restored.map_err(|error| what.told(error))?;
    let done = Done {
        what: &what,
        target: args.to.display().to_string(),
        restored,
        duration: started.elapsed(),
    };
    Ok(report::show(context, &[done]))
}

async fn into_file(
    context: &Context,
    args: &RestoreArgs,
    what: &What,
    target: &Path,
    stop: &CancellationToken,
) -> Result<Restored, RestoreError> {
    let meter = ByteMeter::start(context, what.origin.stored_bytes());
    let job = Job {
        origin: &what.origin,
        tables: &args.tables,
        progress: &meter.progress,
        stop,
    };
    let now = SystemClock::new().now();
    let restored = restore::to_file(&job, target, overwrite(args), now).await;
    meter.stop().await;
    restored
}

/// Restores the newest copy of each database; a failure is reported and the next one starts.
async fn all(
    context: &Context,
    args: &RestoreArgs,
    stop: &CancellationToken,
) -> anyhow::Result<Exit> {
    if args.to.to_string_lossy().starts_with(cloud::PREFIX) {
        let text = "`--all` restores into a folder\nhint: name one copy to restore it into D1";
        return Err(Refusal::usage(text).into());
    }
    let names = databases(&Stored::open(context).await?)?;
    if !args.dry_run {
        fs::create_dir_all(&args.to).map_err(|error| {
            Refusal::failed(format!("`{}` cannot be made: {error}", args.to.display()))
        })?;
    }
    let mut failed = 0;
    let mut whats: Vec<(What, PathBuf)> = Vec::new();
    for name in &names {
        let address = Address::Copy {
            database: name.clone(),
            when: When::Latest(0),
        };
        match What::stored(context, &address, args).await {
            Ok(what) => whats.push((what, args.to.join(format!("{name}.db")))),
            Err(error) => {
                tell(format_args!("error: {name}: {error:#}"));
                failed += 1;
            }
        }
    }
    if args.dry_run {
        return plan::show_all(context, args, &whats);
    }
    let mut done = Vec::new();
    for (what, target) in &whats {
        let started = Instant::now();
        match into_file(context, args, what, target, stop).await {
            Ok(restored) => done.push(Done {
                what,
                target: target.display().to_string(),
                restored,
                duration: started.elapsed(),
            }),
            Err(RestoreError::Stopped) => return Err(what.told(RestoreError::Stopped)),
            Err(error) => {
                tell(format_args!("error: {}: {:#}", what.name, what.told(error)));
                failed += 1;
            }
        }
    }
    let shown = report::show(context, &done);
    Ok(match (failed, done.len()) {
        (0, _) => shown,
        (_, 0) => Exit::Failed,
        _ => in_spite_of(Ok(()), Exit::Partly),
    })
}

/// Returns the configured databases in the order of restore, then those that only have copies.
fn databases(stored: &Stored) -> anyhow::Result<Vec<DatabaseName>> {
    let configured = stored.config.restore_order().into_iter();
    let mut names: Vec<DatabaseName> = configured.map(|known| known.name.clone()).collect();
    for name in stored.catalog().stored_databases()? {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        return Err(Refusal::failed("there is no copy yet\nhint: patina backup").into());
    }
    Ok(names)
}
