//! Takes in objects that the catalog does not know, by their manifests. Invariant: what was taken in satisfies no
//! guard until its bytes were read.

use futures_util::StreamExt;
use futures_util::stream;
use serde::de::DeserializeOwned;

use super::{archive_expires_at, expires_at};
use crate::anomaly::CLOCK_TOLERANCE;
use crate::catalog::{Adoption, CatalogError, Record, is_dated_ahead};
use crate::copy::MAX_MANIFEST_BYTES;
use crate::store::{ObjectStat, Store, read_small};
use crate::types::{ARCHIVE_FORMAT, KeyKind, MANIFEST_FORMAT, ObjectKey, counted, grouped};
use crate::wiring::Wiring;

/// How many manifests are read at once: a storage far away answers each one late.
const AT_ONCE: usize = 16;

/// How many are taken in with one transaction.
const BATCH: usize = 256;

/// An object that may be taken in: its key, and what the listing says of it. `None`: its manifest alone is listed.
pub(super) type Candidate = (ObjectKey, Option<ObjectStat>);

/// What became of the candidates of one storage.
#[derive(Debug, Default)]
pub(super) struct Adopted {
    /// Those that the catalog knows now.
    pub(super) keys: Vec<ObjectKey>,
    /// Those of other installations, which are left alone, and who wrote each.
    pub(super) others: Vec<(ObjectKey, String)>,
    /// Those whose manifest is not right, and why.
    pub(super) refused: Vec<(ObjectKey, String)>,
    /// Why a manifest could not be read; nothing is known of it then.
    pub(super) error: Option<String>,
}

/// Whose objects are taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// This installation's alone. What the catalog did not commit is no newest and no fresh copy.
    Ours,
    /// Every installation's: a catalog is made anew, and nobody knows yet whose it is.
    Everyones,
}

/// Why an object is not taken in.
enum Refusal {
    Wrong(String),
    Unread(String),
}

/// Reads the candidates' manifests in `store` and lets the catalog know what is right.
///
/// # Errors
/// Where the catalog fails.
pub(super) async fn adopt(
    wiring: &Wiring,
    store: &dyn Store,
    candidates: Vec<Candidate>,
    whose: Whose,
) -> Result<Adopted, CatalogError> {
    let mut adopted = Adopted::default();
    let own = wiring.catalog.instance()?;
    let read = |(key, stat): Candidate| async move {
        let adoption = read(wiring, store, &key, stat).await;
        let adoption = adoption.map(|adoption| Adoption {
            is_unconfirmed: whose == Whose::Ours,
            ..adoption
        });
        (key, adoption)
    };
    let mut batches = stream::iter(candidates)
        .map(read)
        .buffer_unordered(AT_ONCE)
        .chunks(BATCH);
    while let Some(mut batch) = batches.next().await {
        // One that is read late holds up none of the others; what is told has the order of keys.
        batch.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut adoptions = Vec::with_capacity(batch.len());
        for (key, adoption) in batch {
            match adoption {
                Ok(adoption) if whose == Whose::Ours && adoption.record.instance() != own => {
                    let instance = adoption.record.instance().to_owned();
                    adopted.others.push((key, instance));
                }
                Ok(adoption) => adoptions.push(adoption),
                Err(Refusal::Wrong(why)) => adopted.refused.push((key.manifest(), why)),
                Err(Refusal::Unread(why)) => {
                    adopted.error.get_or_insert(why);
                }
            }
        }
        let refused = wiring.catalog.adopt_all(store.name(), &adoptions)?;
        let is_refused = |key: &ObjectKey| refused.iter().any(|(known, _)| known == key);
        let keys = adoptions
            .iter()
            .map(|adoption| adoption.record.key().clone());
        adopted.keys.extend(keys.filter(|key| !is_refused(key)));
        adopted.refused.extend(refused);
    }
    wiring.catalog.note_others(store.name(), &adopted.others)?;
    Ok(adopted)
}

async fn read(
    wiring: &Wiring,
    store: &dyn Store,
    key: &ObjectKey,
    stat: Option<ObjectStat>,
) -> Result<Adoption, Refusal> {
    let text = match read_small(store, &key.manifest(), MAX_MANIFEST_BYTES).await {
        Ok(Some(text)) => text,
        Ok(None) => return Err(Refusal::Unread(format!("`{}` went away", key.manifest()))),
        Err(error) => return Err(Refusal::Unread(error.to_string())),
    };
    let record = match key.kind() {
        KeyKind::Weekly { .. } => parse(&text, ARCHIVE_FORMAT).map(Record::Weekly),
        KeyKind::Daily { .. } | KeyKind::Manifest { .. } | KeyKind::Claim { .. } => {
            parse(&text, MANIFEST_FORMAT).map(Record::Daily)
        }
    };
    let record = record.map_err(Refusal::Wrong)?;
    let Some(stat) = stat else {
        return Err(Refusal::Wrong("its object is not there".to_owned()));
    };
    let size_bytes = record.stored().size_bytes;
    if record.key() != key {
        return Err(Refusal::Wrong(format!(
            "it is the manifest of `{}`",
            record.key()
        )));
    }
    if stat.size_bytes != size_bytes {
        let found = stat.size_bytes;
        return Err(Refusal::Wrong(format!(
            "its object has {} instead of {}",
            counted(found, "byte"),
            grouped(size_bytes)
        )));
    }
    if let (Record::Daily(manifest), KeyKind::Daily { date, database, .. }) = (&record, key.kind())
        && (manifest.date, &manifest.database) != (*date, database)
    {
        let (database, date) = (&manifest.database, manifest.date);
        let why = format!("it speaks of `{database}` of {date}, and its key does not");
        return Err(Refusal::Wrong(why));
    }
    let now = wiring.clock.now();
    let (completed, expires_at) = match &record {
        Record::Daily(manifest) => (manifest.completed(), expires_at(manifest.date, wiring)),
        Record::Weekly(manifest) => (
            manifest.completed(),
            archive_expires_at(manifest.week, wiring),
        ),
    };
    let created_at = completed.unwrap_or(stat.modified);
    let is_ahead = match &record {
        Record::Daily(manifest) => is_dated_ahead(manifest, now),
        Record::Weekly(_) => created_at > now + CLOCK_TOLERANCE,
    };
    Ok(Adoption {
        record,
        created_at,
        expires_at,
        made_at: created_at.min(stat.modified),
        is_ahead,
        is_unconfirmed: true,
    })
}

fn parse<M: DeserializeOwned>(text: &[u8], format: u32) -> Result<Box<M>, String> {
    #[derive(serde::Deserialize)]
    struct Format {
        format: u32,
    }
    let not_one = |cause: serde_json::Error| format!("it is not a manifest: {cause}");
    let found = serde_json::from_slice::<Format>(text)
        .map_err(not_one)?
        .format;
    if found > format {
        return Err(format!(
            "a newer Patina wrote it: it has format {found}, and this one reads up to {format}"
        ));
    }
    serde_json::from_slice(text).map_err(not_one)
}
