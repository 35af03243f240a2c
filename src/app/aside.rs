//! Opens the catalog for work, and rebuilds it from the storages if it is damaged. Invariant: the damaged file is kept
//! under another name, nothing is deleted for a day, and an unfinished rebuild continues at the next start.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{AppError, system_clock, wiring_to_read};
use crate::catalog::{Catalog, CatalogError, Event, EventKind, News};
use crate::config::{AlertLevel, Config};
use crate::engine::rebuild;
use crate::engine::state::StateDir;
use crate::types::{counted, either};

/// Marker file in the state folder: while it exists, the catalog is still to be rebuilt.
const WANTED: &str = "rebuild-catalog";

/// A catalog, the log beside it, and the log's index.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];

/// Opens the catalog of a locked state folder; a damaged one is set aside and rebuilt.
///
/// # Errors
/// If it cannot be used and is not damaged, or cannot be set aside.
pub(super) async fn catalog(config: &Arc<Config>, state: &StateDir) -> Result<Catalog, AppError> {
    let path = StateDir::catalog_path(state.path());
    let wanted = state.path().join(WANTED);
    // Some crashes leave any file empty.
    let is_emptied = fs::metadata(&path).is_ok_and(|file| file.len() == 0);
    let cause = match Catalog::open(&path) {
        Ok(catalog) if !is_emptied => {
            if wanted.exists() {
                go_on(config, &catalog, &wanted).await?;
            }
            return Ok(catalog);
        }
        Ok(_) => format!("the catalog `{}` is damaged: it is empty", path.display()),
        Err(error @ (CatalogError::Damaged { .. } | CatalogError::NotADatabase { .. })) => {
            error.to_string()
        }
        Err(error) => return Err(error.into()),
    };
    let cause = cause.lines().next().unwrap_or_default().to_owned();
    let instance = instance_in(&path);
    let failed = |cause: io::Error| AppError::Aside {
        path: path.display().to_string(),
        cause,
    };
    let kept = keep_aside(&path, &wanted).map_err(failed)?;
    tracing::error!(
        "{cause}; it is kept as {} and rebuilt from the storages",
        kept.display()
    );
    let catalog = Catalog::open(&path)?;
    if let Some(instance) = &instance {
        catalog.take_over(instance)?;
    }
    let anew = Anew {
        kept,
        cause,
        instance,
    };
    if anew.make(config, &catalog).await? {
        // Otherwise the next start reads the rest.
        fs::remove_file(&wanted).map_err(failed)?;
    }
    Ok(catalog)
}

/// Lists the storages once more, after one could not be listed or the process ended during the rebuild.
async fn go_on(config: &Arc<Config>, catalog: &Catalog, wanted: &Path) -> Result<(), AppError> {
    let wiring = wiring_to_read(Arc::clone(config), catalog.clone()).await?;
    let report = rebuild::run(&wiring, &CancellationToken::new()).await?;
    if report.storages.iter().all(|one| one.error.is_none()) {
        // If it remains, the next start tries again.
        let _ = fs::remove_file(wanted);
    }
    Ok(())
}

/// The rebuild of a catalog.
struct Anew {
    kept: PathBuf,
    cause: String,
    /// Id of the installation in the damaged one, if that could still be read.
    instance: Option<String>,
}

impl Anew {
    /// Fills the catalog from the storages and raises an alert. Returns false if a storage could not be listed.
    async fn make(&self, config: &Arc<Config>, catalog: &Catalog) -> Result<bool, AppError> {
        let now = system_clock().now();
        // First, so that nothing is deleted even if the process ends here.
        catalog.keep_quiet(now + rebuild::QUIET)?;
        let wiring = wiring_to_read(Arc::clone(config), catalog.clone()).await?;
        let report = rebuild::run(&wiring, &CancellationToken::new()).await?;
        if let Some(instance) = &self.instance {
            catalog.take_over(instance)?;
        }
        let adopted: usize = report.storages.iter().map(|one| one.adopted.len()).sum();
        let unread = report.storages.iter().filter_map(|one| one.error.as_ref());
        let unread: Vec<String> = unread.map(|why| format!("\nwarning: {why}")).collect();
        let (hours, kept) = (
            counted(rebuild::QUIET.num_hours(), "hour"),
            self.kept.display(),
        );
        let message = format!(
            "{}; it was rebuilt from the storages, where {} {} found{}\n\
             hint: nothing expires for {hours}; pins, acknowledgements, the history of jobs and the audit are in \
             `{kept}` alone; look at the disk",
            self.cause,
            counted(adopted, "object"),
            either(adopted, "was", "were"),
            unread.concat(),
        );
        let told = Event {
            kind: EventKind::ExpiryRefused,
            severity: AlertLevel::Critical,
            database: None,
            message,
            at: now,
        };
        catalog.announce(&News {
            told: vec![told],
            ..News::default()
        })?;
        Ok(unread.is_empty())
    }
}

/// Renames the file and those that belong to it to a name that does not exist. Returns that name.
fn keep_aside(path: &Path, wanted: &Path) -> io::Result<PathBuf> {
    fs::File::create(wanted)?.write_all(b"the catalog is being rebuilt from the storages\n")?;
    let at = system_clock().now().format("%Y%m%dT%H%M%S%.3fZ");
    let named = |path: &Path, ending: String| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let kept = named(path, format!(".damaged-{at}"));
    for part in PARTS {
        match fs::rename(named(path, part.to_owned()), named(&kept, part.to_owned())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(kept)
}

/// Returns the installation's id, if the damage left it readable.
fn instance_in(path: &Path) -> Option<String> {
    Catalog::open_read_only(path).ok()??.known_instance().ok()?
}
