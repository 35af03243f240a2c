//! Writes the members of an archive, each from a storage that has it whole.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::io::SyncIoBridge;
use tokio_util::sync::CancellationToken;

use super::{BUFFER_BYTES, PackError};
use crate::archive::{ArchiveError, Contents, Writer};
use crate::catalog::{CatalogError, Damage, StoredCopy};
use crate::clock::Clock;
use crate::dump::decoder;
use crate::engine::verify::freeze;
use crate::progress::{Progress, Stage};
use crate::store::Store;
use crate::types::{
    ARCHIVE_FORMAT, ArchiveManifest, ArchiveMember, IsoWeek, JobId, LeftOut, ObjectKey, PlainFacts,
    Sha256, StoredFacts,
};
use crate::wiring::Wiring;

/// A storage that has not begun to answer by then is left for another one.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2 * 60);

/// A copy that is to be packed, and the storages it can still be read from.
pub(super) struct Source {
    copy: StoredCopy,
    stores: Vec<Arc<dyn Store>>,
    trouble: Option<Trouble>,
}

/// What is wrong with a copy in a storage.
struct Trouble {
    storage: String,
    why: String,
    is_damage: bool,
}

impl Source {
    pub(super) fn of(wiring: &Wiring, copy: StoredCopy) -> Self {
        let stores = copy
            .live()
            .filter_map(|placement| wiring.store(&placement.storage).cloned());
        Self {
            stores: stores.collect(),
            copy,
            trouble: None,
        }
    }

    pub(super) fn member(&self) -> ArchiveMember {
        let manifest = self.copy.manifest.clone();
        ArchiveMember {
            path: plain_path(&manifest.key),
            manifest,
        }
    }
}

/// The daily's key without the ending of its compression: the archive holds plain SQL and plain images.
fn plain_path(key: &ObjectKey) -> String {
    let text = key.as_str();
    let form = key.form().suffix();
    let end = text.rfind(form).map_or(text.len(), |at| at + form.len());
    text[..end].to_owned()
}

/// Writes down the troubles of the last try, and takes out what can be read from nowhere any more.
pub(super) fn leave_out(
    wiring: &Wiring,
    sources: &mut Vec<Source>,
    left_out: &mut Vec<LeftOut>,
) -> Result<(), CatalogError> {
    let mut late = BTreeSet::new();
    for source in sources.iter_mut() {
        let key = source.copy.key().clone();
        if let Some(trouble) = source.trouble.take() {
            let Trouble {
                storage,
                why,
                is_damage,
            } = trouble;
            tracing::warn!(%key, storage, "{key} cannot be packed from {storage}: {why}");
            source.stores.retain(|store| store.name() != storage);
            if !is_damage {
                late.insert(storage.clone());
            }
            if is_damage {
                let (text, now) = (format!("storage `{storage}`: {why}"), wiring.clock.now());
                wiring
                    .catalog
                    .mark_damaged(&key, &storage, Damage::Corrupt, &text, now)?;
                freeze(wiring, &key, &text, now)?;
            }
            if source.stores.is_empty() {
                left_out.push(LeftOut { key, why });
            }
        } else if source.stores.is_empty() {
            let why = "no configured storage holds it undamaged".to_owned();
            left_out.push(LeftOut { key, why });
        }
    }
    sources.retain(|source| !source.stores.is_empty());
    // A storage that could not be read once comes last for all others, or each of them would wait for it anew.
    for source in sources {
        source
            .stores
            .sort_by_key(|store| late.contains(store.name()));
    }
    Ok(())
}

/// What the archive's manifest will say, but for the finished file.
#[derive(Clone)]
pub(super) struct Draft {
    pub(super) instance: String,
    pub(super) week: IsoWeek,
    pub(super) zone: String,
    pub(super) job: JobId,
    pub(super) started_at: String,
    pub(super) members: Vec<ArchiveMember>,
    pub(super) left_out: Vec<LeftOut>,
    pub(super) runbook: String,
}

const PATINA_VERSION: &str = env!("CARGO_PKG_VERSION");

impl Draft {
    fn contents(&self) -> Contents<'_> {
        Contents {
            instance: &self.instance,
            week: self.week,
            zone: &self.zone,
            job: self.job,
            started_at: &self.started_at,
            members: &self.members,
            left_out: &self.left_out,
            runbook: Some(self.runbook_facts()),
            patina_version: PATINA_VERSION,
        }
    }

    fn runbook_facts(&self) -> PlainFacts {
        PlainFacts {
            sha256: Sha256::of(self.runbook.as_bytes()),
            size_bytes: self.runbook.len() as u64,
        }
    }

    pub(super) fn manifest(self, stored: StoredFacts, completed_at: String) -> ArchiveManifest {
        ArchiveManifest {
            runbook: Some(self.runbook_facts()),
            format: ARCHIVE_FORMAT,
            instance: self.instance,
            key: ObjectKey::weekly(self.week),
            week: self.week,
            zone: self.zone,
            job: self.job,
            started_at: self.started_at,
            completed_at,
            stored,
            members: self.members,
            left_out: self.left_out,
            patina_version: PATINA_VERSION.to_owned(),
        }
    }
}

/// How a try to write the archive ended.
pub(super) enum Written {
    /// The file is whole.
    Whole(StoredFacts),
    /// A member could not be read, or is damaged; its source says so.
    Spoiled,
}

/// W2: writes the members, each from the first storage it can still be read from.
pub(super) async fn write(
    path: &Path,
    draft: &Draft,
    sources: &mut [Source],
    (progress, clock): (&Arc<Progress>, &Arc<dyn Clock>),
    stop: &CancellationToken,
) -> Result<Written, PackError> {
    let week = draft.week;
    let total_bytes = draft
        .members
        .iter()
        .map(|member| member.manifest.plain.size_bytes)
        .fold(0, u64::saturating_add);
    progress.enter(Stage::Export, total_bytes);
    let stores: Vec<Arc<dyn Store>> = sources
        .iter()
        .map(|source| Arc::clone(&source.stores[0]))
        .collect();
    let work = {
        let (path, draft) = (path.to_owned(), draft.clone());
        let around = Around {
            progress: Arc::clone(progress),
            stop: stop.clone(),
            clock: Arc::clone(clock),
            runtime: Handle::current(),
        };
        move || write_file(&path, &draft, &stores, &around)
    };
    let ended = tokio::task::spawn_blocking(work).await;
    match ended.map_err(|panic| PackError::Panicked(panic.to_string()))? {
        Ok(stored) => Ok(Written::Whole(stored)),
        Err(Stop::Asked) => Err(PackError::Stopped),
        Err(Stop::Archive(cause)) => Err(PackError::Archive { week, cause }),
        Err(Stop::Member {
            place,
            why,
            is_damage,
        }) => {
            let storage = sources[place].stores[0].name().to_owned();
            sources[place].trouble = Some(Trouble {
                storage,
                why,
                is_damage,
            });
            Ok(Written::Spoiled)
        }
    }
}

/// Why a try to write the archive ended early.
enum Stop {
    Asked,
    Archive(ArchiveError),
    Member {
        place: usize,
        why: String,
        is_damage: bool,
    },
}

/// The archive's file, begun again where a member spoiled it.
fn open_private(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)
}

/// What surrounds the writing of an archive.
struct Around {
    progress: Arc<Progress>,
    stop: CancellationToken,
    clock: Arc<dyn Clock>,
    runtime: Handle,
}

fn write_file(
    path: &Path,
    draft: &Draft,
    stores: &[Arc<dyn Store>],
    around: &Around,
) -> Result<StoredFacts, Stop> {
    let Around {
        progress,
        stop,
        clock,
        runtime,
    } = around;
    let io = |cause| Stop::Archive(ArchiveError::Io(cause));
    let file = BufWriter::with_capacity(BUFFER_BYTES, open_private(path).map_err(io)?);
    let mut writer =
        Writer::start(file, &draft.contents(), &draft.runbook).map_err(Stop::Archive)?;
    for (place, (member, store)) in draft.members.iter().zip(stores).enumerate() {
        let of_member = |why: String, is_damage| Stop::Member {
            place,
            why,
            is_damage,
        };
        let manifest = &member.manifest;
        let opened = runtime.block_on(async {
            tokio::select! {
                opened = store.open(&manifest.key, None) => opened.map_err(|error| error.to_string()),
                () = clock.sleep(OPEN_TIMEOUT) => {
                    let seconds = OPEN_TIMEOUT.as_secs();
                    Err(format!("it did not answer within {seconds} s"))
                }
            }
        });
        let reader = opened
            .map_err(|why| of_member(why, false))?
            .ok_or_else(|| of_member("it is missing".to_owned(), true))?;
        let stored = Watched {
            inner: SyncIoBridge::new_with_handle(reader, runtime.clone()),
            broken: None,
            stop,
        };
        let mut stored = stored;
        let written = decoder(manifest.stored.compression, &mut stored)
            .map_err(ArchiveError::Io)
            .and_then(|text| writer.member(member, text));
        if stop.is_cancelled() {
            return Err(Stop::Asked);
        }
        if let Some(why) = stored.broken {
            return Err(of_member(why, false));
        }
        match written {
            Ok(()) => progress.add_bytes(manifest.plain.size_bytes),
            Err(error @ (ArchiveError::Differs { .. } | ArchiveError::Source { .. })) => {
                return Err(of_member(error.to_string(), true));
            }
            Err(error) => return Err(Stop::Archive(error)),
        }
    }
    let (file, stored) = writer.finish().map_err(Stop::Archive)?;
    let file = file.into_inner().map_err(|error| io(error.into_error()))?;
    file.sync_all().map_err(io)?;
    Ok(stored)
}

/// A stored object's bytes; remembers whether the storage broke off, and ends when the process has to.
struct Watched<'a, R> {
    inner: R,
    broken: Option<String>,
    stop: &'a CancellationToken,
}

impl<R: io::Read> io::Read for Watched<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_cancelled() {
            return Err(io::Error::other("the process was asked to stop"));
        }
        let read = self.inner.read(out);
        if let Err(cause) = &read
            && cause.kind() != io::ErrorKind::Interrupted
        {
            self.broken = Some(format!("it could not be read to its end: {cause}"));
        }
        read
    }
}
