//! Stores objects as files below one folder. Invariant: under a key there is a complete object or nothing, even after a
//! crash at any time.

use std::io::{self, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rustix::io::Errno;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::types::{BackupDate, ObjectKey, Sha256};

use super::tree::{Content, Refusal, Tree, file_name, object_stat};
use super::{
    Body, Listing, ObjectStat, Operation, Prune, Reader, Store, StoreError, StoreErrorKind, Tried,
    trial,
};

/// A store in a directory, on a local disk or a mounted share.
///
/// Files have mode 0600 and directories 0700. Symbolic links below the directory are never followed; the directory
/// itself may be one.
#[derive(Clone)]
pub struct DirStore {
    name: Arc<str>,
    mark: Arc<str>,
    tree: Arc<Tree>,
}

impl DirStore {
    /// Opens the store in `root`, creates the directory if it is missing, and sweeps it.
    ///
    /// `instance` is the id of this installation: several may share one directory.
    ///
    /// # Errors
    /// If the directory cannot be created, opened or read.
    pub fn open(name: &str, root: &Path, instance: &str) -> Result<Self, StoreError> {
        // An instance id is free text; its hash is a valid part of a file name.
        let mark = Sha256::of(instance.as_bytes()).to_string();
        let mark: Arc<str> = mark[..16].into();
        let tree = Tree::open(root, &mark).map_err(|cause| {
            let kind = kind_of(&cause, root);
            StoreError::new(name, Operation::Prepare, None, kind)
        })?;
        let (name, tree) = (name.into(), Arc::new(tree));
        let store = Self { name, mark, tree };
        store.sweep()?;
        Ok(store)
    }

    /// Removes the temporary files of dead processes of this instance, and returns their number.
    ///
    /// Files that a live process is writing and those of other instances are kept. Blocks.
    ///
    /// # Errors
    /// If the directory cannot be read or written.
    pub fn sweep(&self) -> Result<u64, StoreError> {
        let swept = self.tree.sweep(&leads_to_keys);
        swept.map_err(|cause| self.failed(Operation::Prepare, None, &cause))
    }

    /// Creates probes in the folders of the next copy and of its manifest, with the same calls; reads them back,
    /// creates them again, which must be refused, and removes them. Starts by removing the probes of trials that were
    /// killed before `now`.
    ///
    /// # Errors
    /// If copies cannot be stored or read back. The probes are removed in any case, or swept by a trial an hour later.
    pub async fn try_out(&self, now: DateTime<Utc>) -> Result<Tried, StoreError> {
        let mark = Arc::clone(&self.mark);
        let tried = self.blocking(move |tree| try_out(tree, &mark, now)).await;
        let (refuses_taken, swept, unremoved) =
            tried.map_err(|(operation, cause)| self.failed(operation, None, &cause))?;
        Ok(Tried {
            refuses_taken,
            swept,
            unlisted: None,
            unparted: None,
            unremoved: unremoved.map(|cause| self.failed(Operation::Unprobe, None, &cause)),
        })
    }

    fn failed(
        &self,
        operation: Operation,
        key: Option<&ObjectKey>,
        cause: &io::Error,
    ) -> StoreError {
        let place = match key.and_then(|key| key.as_str().rsplit_once('/')) {
            Some((folder, _)) => self.tree.root().join(folder),
            None => self.tree.root().to_owned(),
        };
        StoreError::new(&self.name, operation, key, kind_of(cause, &place))
    }

    fn refused(&self, key: &ObjectKey, refusal: Refusal) -> StoreError {
        let kind = match refusal {
            Refusal::Failed(cause) => return self.failed(Operation::Create, Some(key), &cause),
            Refusal::Unsure(cause) => StoreErrorKind::Unavailable {
                retryable: true,
                cause: format!("its folder could not be put on the disk: {cause}"),
            },
            Refusal::Taken => StoreErrorKind::Exists,
            Refusal::Mismatch { expected, found } => StoreErrorKind::Mismatch { expected, found },
            Refusal::Spool { path, cause } => StoreErrorKind::Other {
                cause: format!("cannot read the spool file `{}`: {cause}", path.display()),
            },
        };
        StoreError::new(&self.name, Operation::Create, Some(key), kind)
    }

    /// Runs `work` on the tree on a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tree) -> T + Send + 'static,
    ) -> T {
        let tree = Arc::clone(&self.tree);
        match tokio::task::spawn_blocking(move || work(&tree)).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Only a runtime that is shutting down cancels tasks; the result is no longer needed then.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

#[async_trait]
impl Store for DirStore {
    fn name(&self) -> &str {
        &self.name
    }

    async fn create(&self, key: &ObjectKey, body: Body<'_>) -> Result<(), StoreError> {
        let content = match body {
            Body::Bytes(bytes) => Content::Bytes(bytes.to_vec()),
            Body::File { path, .. } => Content::Spool {
                path: path.to_owned(),
                expected: body.digest(),
            },
        };
        let path = key.as_str().to_owned();
        let created = self.blocking(move |tree| {
            tree.mark().map_err(Refusal::Failed)?;
            tree.create(&path, content)
        });
        created.await.map_err(|refusal| self.refused(key, refusal))
    }

    async fn open(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<Option<Reader>, StoreError> {
        let failed = |cause: io::Error| self.failed(Operation::Read, Some(key), &cause);
        let path = key.as_str().to_owned();
        let opened = self.blocking(move |tree| tree.read(&path)).await;
        let Some((file, _)) = opened.map_err(failed)? else {
            return Ok(None);
        };
        let mut file = tokio::fs::File::from_std(file);
        let Some(range) = range else {
            return Ok(Some(Box::pin(file)));
        };
        let start = SeekFrom::Start(range.start);
        file.seek(start).await.map_err(failed)?;
        let length = range.end.saturating_sub(range.start);
        Ok(Some(Box::pin(file.take(length))))
    }

    async fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>, StoreError> {
        let path = key.as_str().to_owned();
        let found = self.blocking(move |tree| tree.stat(&path)).await;
        found.map_err(|cause| self.failed(Operation::Stat, Some(key), &cause))
    }

    async fn list(&self) -> Result<Listing, StoreError> {
        let listed = self.blocking(listing).await;
        listed.map_err(|cause| self.failed(Operation::List, None, &cause))
    }
}

#[async_trait]
impl Prune for DirStore {
    async fn remove(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let path = key.as_str().to_owned();
        let removed = self.blocking(move |tree| tree.remove(&path)).await;
        removed.map_err(|cause| self.failed(Operation::Remove, Some(key), &cause))
    }
}

type Step<T> = Result<T, (Operation, io::Error)>;

/// Folders that a trial creates, as a backup does; empty ones are removed after it.
const FOLDERS: [&str; 3] = ["daily", "manifests/daily", "manifests"];

/// Result of a trial: true if a taken name is refused, the number of old probes removed, and the reason that this one
/// stays.
type Shown = (bool, u64, Option<io::Error>);

fn try_out(tree: &Tree, mark: &str, now: DateTime<Utc>) -> Step<Shown> {
    let swept = sweep_probes(tree, mark, now)?;
    let (day, probe) = (now.date_naive(), trial::name(mark, now));
    // Folders of the next backup's object and manifest.
    let paths = [
        format!("daily/{day}/{probe}"),
        format!("manifests/daily/{day}/{probe}"),
    ];
    let steps: Vec<Step<bool>> = paths.iter().map(|path| steps(tree, path)).collect();
    let removed: Vec<io::Result<()>> = paths.iter().map(|path| tree.remove(path)).collect();
    let emptied = tree.remove_empty(&FOLDERS);
    let mut refuses_taken = true;
    for step in steps {
        refuses_taken &= step?;
    }
    let removed: io::Result<()> = removed.into_iter().chain([emptied]).collect();
    Ok((refuses_taken, swept, removed.err()))
}

fn steps(tree: &Tree, probe: &str) -> Step<bool> {
    let create = || tree.create(probe, Content::Bytes(trial::CONTENT.to_vec()));
    create().map_err(|refusal| (Operation::Probe, cause_of(refusal)))?;
    let read = |cause| (Operation::ReadProbe, cause);
    let (mut file, _) = tree
        .read(probe)
        .map_err(read)?
        .ok_or_else(|| read(io::Error::other("it is not there")))?;
    let mut found = Vec::new();
    io::Read::read_to_end(&mut file, &mut found).map_err(read)?;
    if found != trial::CONTENT {
        return Err(read(io::Error::other(
            "it gives back other bytes than were written",
        )));
    }
    match create() {
        Ok(()) => Ok(false),
        Err(Refusal::Taken) => Ok(true),
        Err(refusal) => Err((Operation::Probe, cause_of(refusal))),
    }
}

fn sweep_probes(tree: &Tree, mark: &str, now: DateTime<Utc>) -> Step<u64> {
    let mut dead = Vec::new();
    let is_dead = |path: &str| trial::is_abandoned(file_name(path), mark, now);
    let walked = tree.walk(&leads_to_keys, &mut |path, _| {
        if is_dead(path) {
            dead.push(path.to_owned());
        }
    });
    walked.map_err(|cause| (Operation::List, cause))?;
    // Failures are reported when the trial's own probe is removed.
    let removed = dead.iter().filter(|path| tree.remove(path).is_ok());
    Ok(removed.count() as u64)
}

fn cause_of(refusal: Refusal) -> io::Error {
    match refusal {
        Refusal::Failed(cause) | Refusal::Unsure(cause) | Refusal::Spool { cause, .. } => cause,
        Refusal::Taken => io::Error::other("its name is taken"),
        Refusal::Mismatch { .. } => io::Error::other("it does not hold what was written"),
    }
}

fn listing(tree: &Tree) -> io::Result<Listing> {
    let mut listing = Listing::default();
    tree.walk(
        &leads_to_keys,
        &mut |path, stat| match (path.parse(), object_stat(stat)) {
            (Ok(key), Ok(stat)) => listing.add(key, stat),
            _ => listing.foreign += 1,
        },
    )?;
    listing.sort();
    Ok(listing)
}

/// True if keys can be below the folder `path`; other folders, such as `lost+found`, are not entered.
fn leads_to_keys(path: &str) -> bool {
    match path.strip_prefix("manifests/").unwrap_or(path) {
        "manifests" => path == "manifests",
        "daily" | "weekly" => true,
        "claims" => path == "claims",
        other => other
            .strip_prefix("daily/")
            .is_some_and(|date| date.parse::<BackupDate>().is_ok()),
    }
}

/// Classifies an error of the filesystem in `place`.
fn kind_of(cause: &io::Error, place: &Path) -> StoreErrorKind {
    let text = format!("{cause} (`{}`)", place.display());
    let place = place.display().to_string();
    match Errno::from_io_error(cause) {
        Some(Errno::NOSPC | Errno::DQUOT) => StoreErrorKind::NoSpace { place },
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => StoreErrorKind::Denied {
            place,
            cause: cause.to_string(),
        },
        // A share may come back, handles may become free, and expiry may have removed the folder meanwhile.
        Some(
            Errno::IO
            | Errno::STALE
            | Errno::TIMEDOUT
            | Errno::AGAIN
            | Errno::INTR
            | Errno::MFILE
            | Errno::NFILE
            | Errno::NOMEM
            | Errno::HOSTDOWN
            | Errno::NETDOWN
            | Errno::NOENT,
        ) => StoreErrorKind::Unavailable {
            retryable: true,
            cause: text,
        },
        _ => StoreErrorKind::Other { cause: text },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_that_can_hold_keys_are_entered() {
        for path in [
            "daily",
            "weekly",
            "manifests",
            "daily/2026-11-22",
            "manifests/daily/2026-11-22",
        ] {
            assert!(leads_to_keys(path), "{path}");
        }
        for path in [
            "lost+found",
            "daily/x",
            "manifests/manifests",
            "weekly/2026-W47",
            "",
        ] {
            assert!(!leads_to_keys(path), "{path}");
        }
    }

    #[test]
    fn a_failure_of_the_filesystem_names_its_place_and_whether_to_try_again() {
        let kind = |errno: Errno| kind_of(&errno.into(), Path::new("/srv/backups"));
        for errno in [Errno::NOSPC, Errno::DQUOT] {
            let place = "/srv/backups".to_owned();
            assert_eq!(kind(errno), StoreErrorKind::NoSpace { place });
        }
        for errno in [Errno::ACCESS, Errno::PERM, Errno::ROFS] {
            let denied = kind(errno).to_string();
            assert!(
                denied.starts_with("permission denied in `/srv/backups`: "),
                "{denied}"
            );
        }
        for (errno, retryable) in [(Errno::STALE, true), (Errno::NOTDIR, false)] {
            let error = StoreError::new("nas", Operation::List, None, kind(errno));
            assert_eq!(error.is_retryable(), retryable, "{error}");
            assert!(error.to_string().contains("/srv/backups"), "{error}");
        }
    }
}
