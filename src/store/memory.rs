//! Stores objects in memory, for tests and the simulator. Invariant: it fulfils the contract of every store but
//! durability.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::clock::Clock;
use crate::types::ObjectKey;

use super::{
    Body, Digest, Listing, ObjectStat, Operation, Prune, Reader, Store, StoreError, StoreErrorKind,
};

/// A store that lives as long as its process.
pub struct MemoryStore {
    name: String,
    clock: Arc<dyn Clock>,
    objects: Mutex<BTreeMap<ObjectKey, Object>>,
}

#[derive(Clone)]
struct Object {
    bytes: Arc<[u8]>,
    stat: ObjectStat,
}

impl MemoryStore {
    /// Creates an empty store whose objects are dated by `clock`.
    pub fn new(name: &str, clock: Arc<dyn Clock>) -> Self {
        Self {
            name: name.to_owned(),
            clock,
            objects: Mutex::default(),
        }
    }

    /// Changes an object as a failing disk would. Returns false if there is no such object.
    pub fn damage(&self, key: &ObjectKey, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut objects = self.objects();
        let Some(object) = objects.get_mut(key) else {
            return false;
        };
        let mut bytes = object.bytes.to_vec();
        change(&mut bytes);
        object.stat.size_bytes = bytes.len() as u64;
        object.bytes = bytes.into();
        true
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Object>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, key: &ObjectKey, kind: StoreErrorKind) -> StoreError {
        StoreError::new(&self.name, Operation::Create, Some(key), kind)
    }

    async fn content(&self, key: &ObjectKey, body: Body<'_>) -> Result<Vec<u8>, StoreError> {
        let path = match body {
            Body::Bytes(bytes) => return Ok(bytes.to_vec()),
            Body::File { path, .. } => path,
        };
        let bytes = tokio::fs::read(path).await.map_err(|error| {
            let cause = format!("cannot read `{}`: {error}", path.display());
            self.refuse(key, StoreErrorKind::Other { cause })
        })?;
        let (expected, found) = (body.digest(), Digest::of(&bytes));
        if expected != found {
            return Err(self.refuse(key, StoreErrorKind::Mismatch { expected, found }));
        }
        Ok(bytes)
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn name(&self) -> &str {
        &self.name
    }

    async fn create(&self, key: &ObjectKey, body: Body<'_>) -> Result<(), StoreError> {
        let bytes: Arc<[u8]> = self.content(key, body).await?.into();
        let stat = ObjectStat {
            size_bytes: bytes.len() as u64,
            modified: self.clock.now(),
        };
        let mut objects = self.objects();
        if objects.contains_key(key) {
            return Err(self.refuse(key, StoreErrorKind::Exists));
        }
        objects.insert(key.clone(), Object { bytes, stat });
        Ok(())
    }

    async fn open(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<Option<Reader>, StoreError> {
        let found = self.objects().get(key).cloned();
        Ok(found.map(|object| -> Reader {
            let end = object.stat.size_bytes;
            let range = range.unwrap_or(0..end);
            let bytes = &object.bytes[..range.end.min(end) as usize];
            let bytes = &bytes[range.start.min(bytes.len() as u64) as usize..];
            Box::pin(Cursor::new(bytes.to_vec()))
        }))
    }

    async fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>, StoreError> {
        Ok(self.objects().get(key).map(|object| object.stat))
    }

    async fn list(&self) -> Result<Listing, StoreError> {
        let objects = self.objects();
        let mut listing = Listing::default();
        for (key, object) in objects.iter() {
            listing.add(key.clone(), object.stat);
        }
        listing.sort();
        Ok(listing)
    }
}

#[async_trait]
impl Prune for MemoryStore {
    async fn remove(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.objects().remove(key);
        Ok(())
    }
}
