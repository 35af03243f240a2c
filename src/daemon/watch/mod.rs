//! Notices that the configuration may have changed. Invariant: it only triggers a check; reading finds out if anything
//! changed, and what.
//!
//! Folders are watched, never files: editors, `mv` and Kubernetes put another file in a file's place, and a watch on
//! the file would report its removal and then nothing. No event is dropped because of the name in it, since some name a
//! link far from the file.

mod folders;
mod reading;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

pub(super) use self::reading::{Fingerprint, Reading, read};

/// Time without events after which a change counts as complete. An editor's rename, create and write come within a few
/// milliseconds.
const QUIET: Duration = Duration::from_millis(250);

/// Upper bound for waiting in a folder in which something is always written.
const LONGEST_NOISE: Duration = Duration::from_secs(2);

/// Upper bound for waiting while a file of the configuration is being written: half of it may well be valid. A file
/// that is kept open for longer is read anyway.
const LONGEST_WRITE: Duration = Duration::from_secs(10);

/// Interval of checks without events: some file systems send none.
const POLL: Duration = Duration::from_secs(30);

/// Interval of checks if the kernel sends no events at all.
const POLL_BLIND: Duration = Duration::from_secs(5);

/// Watches the folders of one configuration.
pub(super) struct Watch {
    /// `None` if the kernel provides none.
    watcher: Option<RecommendedWatcher>,
    /// Watched folders, and their identity when the watch began.
    folders: BTreeMap<PathBuf, Identity>,
    /// Resolved paths of the configuration's files.
    ends: BTreeSet<PathBuf>,
    writing: Writing,
    /// Kept, as a channel without a sender would always be ready.
    _wake: mpsc::Sender<()>,
    wakes: mpsc::Receiver<()>,
    is_told_blind: bool,
}

/// Device and inode; `None` if the path does not exist.
type Identity = Option<(u64, u64)>;

/// Places where a change of a configuration is visible.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Resolved paths of its files.
    ends: BTreeSet<PathBuf>,
    /// The folders to watch, and their identity.
    folders: BTreeMap<PathBuf, Identity>,
}

impl Places {
    /// Returns the places of absolute paths. `*` as the last component stands for any entry of that folder.
    fn of(paths: &BTreeSet<PathBuf>) -> Self {
        let mut folders = BTreeSet::new();
        let follow = |path: &PathBuf| folders::follow(path, &mut folders);
        let ends = paths.iter().map(follow).collect();
        let identified = folders.into_iter().map(|folder| {
            let identity = identity(&folder);
            (folder, identity)
        });
        Self {
            ends,
            folders: identified.collect(),
        }
    }
}

impl Watch {
    pub(super) fn new() -> Self {
        // One wake-up is equivalent to many.
        let (wake, wakes) = mpsc::channel(1);
        let writing = Writing::default();
        let mut watch = Self {
            watcher: None,
            folders: BTreeMap::new(),
            ends: BTreeSet::new(),
            writing: writing.clone(),
            _wake: wake.clone(),
            wakes,
            is_told_blind: false,
        };
        let handler = move |event: notify::Result<Event>| {
            let is_news = event.map_or(true, |event| writing.is_news(&event));
            if is_news {
                // If the channel is full, a wake-up is pending.
                let _ = wake.try_send(());
            }
        };
        match notify::recommended_watcher(handler) {
            Ok(watcher) => watch.watcher = Some(watcher),
            Err(error) => watch.tell_blind(&error.to_string()),
        }
        watch
    }

    /// Watches these places, and nothing else. Returns true if a folder was not watched before: earlier events in it
    /// were missed.
    pub(super) fn aim(&mut self, places: &Places) -> bool {
        self.ends.clone_from(&places.ends);
        let wanted = &places.folders;
        let Some(watcher) = &mut self.watcher else {
            return false;
        };
        let (mut is_new, mut failed) = (false, None);
        self.folders.retain(|folder, known| {
            let stays = wanted.get(folder) == Some(known);
            if !stays {
                // The watch of a deleted folder is gone already.
                let _ = watcher.unwatch(folder);
            }
            stays
        });
        for (folder, identity) in wanted {
            if self.folders.contains_key(folder) {
                continue;
            }
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    is_new = true;
                    self.folders.insert(folder.clone(), *identity);
                }
                Err(error) => failed = Some(error.to_string()),
            }
        }
        if let Some(error) = failed {
            self.tell_blind(&error);
        }
        is_new
    }

    /// Waits until a check is due: after events followed by a quiet time, or after a long time without events.
    pub(super) async fn changed(&mut self) {
        let poll = match self.is_blind() {
            true => POLL_BLIND,
            false => POLL,
        };
        tokio::select! {
            _ = self.wakes.recv() => {}
            () = sleep(poll) => {}
        }
        self.settled().await;
    }

    /// Waits until there are no more events and no file of the configuration is being written.
    pub(super) async fn settled(&mut self) {
        let began = Instant::now();
        self.quiet(began + LONGEST_NOISE).await;
        while self.is_being_written() && began.elapsed() < LONGEST_WRITE {
            self.quiet(began + LONGEST_WRITE).await;
        }
    }

    /// True if changes are only noticed by polling.
    pub(super) fn is_blind(&self) -> bool {
        self.is_told_blind
    }

    /// Waits until no event came for [`QUIET`], but not beyond `end`.
    async fn quiet(&mut self, end: Instant) {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let pause = QUIET.min(left);
            match timeout(pause, self.wakes.recv()).await {
                Ok(_) if !left.is_zero() => {}
                _ => return,
            }
        }
    }

    fn is_being_written(&self) -> bool {
        let writing = self.writing.lock();
        writing.iter().any(|path| {
            let beside = path.parent().map(|folder| folder.join("*"));
            self.ends.contains(path) || beside.is_some_and(|any| self.ends.contains(&any))
        })
    }

    fn tell_blind(&mut self, error: &str) {
        if !self.is_told_blind {
            let seconds = POLL_BLIND.as_secs();
            tracing::warn!(
                "the configuration cannot be watched, so it is looked at every {seconds} s: {error}\n\
                 hint: raise `fs.inotify.max_user_instances` or `fs.inotify.max_user_watches` and restart"
            );
        }
        self.is_told_blind = true;
    }
}

fn identity(folder: &Path) -> Identity {
    let facts = fs::metadata(folder).ok()?;
    Some((facts.dev(), facts.ino()))
}

/// The files that were written to and not closed since.
#[derive(Clone, Default)]
struct Writing(Arc<Mutex<BTreeSet<PathBuf>>>);

impl Writing {
    /// Upper bound for the files that are remembered as being written.
    const MOST: usize = 1_000;

    fn lock(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records which files are being written. Returns false if nothing can have changed: reading causes events, too,
    /// and a check must not trigger the next.
    fn is_news(&self, event: &Event) -> bool {
        let mut writing = self.lock();
        match event.kind {
            EventKind::Modify(ModifyKind::Data(_)) if writing.len() < Self::MOST => {
                writing.extend(event.paths.iter().cloned());
            }
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Remove(_)
            | EventKind::Modify(ModifyKind::Name(RenameMode::From | RenameMode::To)) => {
                for path in &event.paths {
                    writing.remove(path);
                }
            }
            EventKind::Access(_) => return false,
            _ => {}
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use notify::event::DataChange;

    use super::*;

    fn event(kind: EventKind, path: &str) -> Event {
        Event::new(kind).add_path(path.into())
    }

    #[test]
    fn reading_is_no_news_and_a_file_is_being_written_until_it_is_closed() {
        let mut watch = Watch::new();
        watch.ends = ["/etc/patina.toml", "/etc/conf.d/*"]
            .map(PathBuf::from)
            .into();
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let opened = EventKind::Access(AccessKind::Open(AccessMode::Any));
        assert!(!watch.writing.is_news(&event(opened, "/etc/patina.toml")));
        for (path, counts) in [
            ("/etc/patina.toml", true),
            ("/etc/conf.d/a.toml", true),
            ("/etc/other.log", false),
        ] {
            assert!(watch.writing.is_news(&event(written, path)));
            assert_eq!(watch.is_being_written(), counts, "{path}");
            assert!(watch.writing.is_news(&event(closed, path)));
            assert!(!watch.is_being_written(), "{path}");
        }
    }

    #[tokio::test]
    async fn an_edit_is_noticed_at_once_and_a_watched_folder_that_was_replaced_too() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let sub = root.join("sub");
        fs::create_dir(&sub).unwrap();
        let paths = BTreeSet::from([sub.join("patina.toml")]);
        let mut watch = Watch::new();
        assert!(watch.aim(&Places::of(&paths)));
        assert!(!watch.aim(&Places::of(&paths)));
        for _ in 0..2 {
            fs::write(sub.join("patina.toml"), "x").unwrap();
            timeout(LONGEST_NOISE, watch.changed()).await.unwrap();
            fs::rename(&sub, root.join("old")).unwrap();
            fs::create_dir(&sub).unwrap();
            timeout(LONGEST_NOISE, watch.changed()).await.unwrap();
            assert!(
                watch.aim(&Places::of(&paths)),
                "the new folder is not watched"
            );
            fs::remove_dir_all(root.join("old")).unwrap();
        }
    }
}
