//! Notices that the configuration may have changed. Invariant: it only says "look again"; what changed, and whether
//! anything did, is seen by reading.
//!
//! Folders are watched, never files: editors, `mv` and Kubernetes put another file in a file's place, and who watches
//! the file hears of its removal and then nothing. No event is dropped for the name in it, for some of these name a
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

/// An editor's rename, create and write come within a few milliseconds.
const QUIET: Duration = Duration::from_millis(250);

/// In a folder where something is always written it is looked all the same.
const LONGEST_NOISE: Duration = Duration::from_secs(2);

/// While a file of the configuration is being written it is not read: half of it may well be valid. Who keeps it open
/// for longer is not waited for.
const LONGEST_WRITE: Duration = Duration::from_secs(10);

/// It is looked so often even where no event came: some file systems send none.
const POLL: Duration = Duration::from_secs(30);

/// The same where the kernel sends no events at all.
const POLL_BLIND: Duration = Duration::from_secs(5);

/// Watches the folders of one configuration.
pub(super) struct Watch {
    /// `None`: the kernel gives none.
    watcher: Option<RecommendedWatcher>,
    /// Watched folders, and which one was at that path then.
    folders: BTreeMap<PathBuf, Identity>,
    /// Where the ways to the configuration's files end.
    ends: BTreeSet<PathBuf>,
    writing: Writing,
    /// Held, as a channel without a sender would always be ready.
    _wake: mpsc::Sender<()>,
    wakes: mpsc::Receiver<()>,
    is_told_blind: bool,
}

/// Device and inode; `None`: there is nothing.
type Identity = Option<(u64, u64)>;

/// Where a change of a configuration shows.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Where the ways to its files end.
    ends: BTreeSet<PathBuf>,
    /// The folders to watch, and which one is at that path.
    folders: BTreeMap<PathBuf, Identity>,
}

impl Places {
    /// Those of absolute paths. `*` as the last component stands for any entry of that folder.
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
        // One wake says as much as many.
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
                // Where it is full, a wake is on its way.
                let _ = wake.try_send(());
            }
        };
        match notify::recommended_watcher(handler) {
            Ok(watcher) => watch.watcher = Some(watcher),
            Err(error) => watch.tell_blind(&error.to_string()),
        }
        watch
    }

    /// Watches these places, and nothing else. True where a folder is watched that was not
    /// before: what happened in it until now was not seen.
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
                // A folder that is gone took its watch along.
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

    /// Waits until it is time to look: something happened and then nothing did, or nothing was heard for long.
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

    /// Waits until nothing happens any more and nobody writes to a file of the configuration.
    pub(super) async fn settled(&mut self) {
        let began = Instant::now();
        self.quiet(began + LONGEST_NOISE).await;
        while self.is_being_written() && began.elapsed() < LONGEST_WRITE {
            self.quiet(began + LONGEST_WRITE).await;
        }
    }

    /// Whether changes are only seen by looking.
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

/// The files that were written and not closed since.
#[derive(Clone, Default)]
struct Writing(Arc<Mutex<BTreeSet<PathBuf>>>);

impl Writing {
    /// More files that are written at once are not kept in mind.
    const MOST: usize = 1_000;

    fn lock(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps in mind who is being written. False where nothing can have changed: reading makes events, too, and a look
    /// must not lead to the next.
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
