//! Injects faults into a store, for tests and the simulator. Invariant: the same plan affects the same calls.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use futures_util::stream;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio_util::io::StreamReader;

use crate::types::ObjectKey;

use super::{
    Body, Listing, ObjectStat, Operation, Prune, Reader, Store, StoreError, StoreErrorKind,
};

/// A fault of one call. A fault that does not fit the call, such as a cut reader on `stat`, has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The call fails without effect.
    Before(StoreErrorKind),
    /// The call takes effect, but its response is lost.
    After(StoreErrorKind),
    /// The reader ends after this many bytes, as if the object were complete.
    Cut {
        /// Number of bytes that still arrive.
        after_bytes: u64,
    },
    /// The reader fails after this many bytes.
    Break {
        /// Number of bytes that still arrive.
        after_bytes: u64,
    },
    /// One bit of the byte at offset `at` (from 0) is flipped.
    Flip {
        /// Offset of the byte.
        at: u64,
    },
    /// Only the first objects are listed, without an error.
    ShortListing {
        /// Number of objects listed.
        keep: usize,
    },
    /// The call never returns.
    Hang,
}

impl Fault {
    /// Returns a transient failure: [`StoreErrorKind::Unavailable`], worth a retry.
    pub fn passing() -> StoreErrorKind {
        StoreErrorKind::Unavailable {
            retryable: true,
            cause: "connection reset (planned)".to_owned(),
        }
    }
}

/// A store that fails as planned.
pub struct FaultStore<S: ?Sized> {
    calls: AtomicU64,
    plan: Mutex<Plan>,
    inner: Arc<S>,
}

#[derive(Default)]
struct Plan {
    by_call: BTreeMap<u64, Fault>,
    always: Option<Fault>,
}

impl<S: Store + ?Sized> FaultStore<S> {
    /// Wraps `inner`; the calls in `plan`, counted from 1 across all operations, have the given faults.
    pub fn new(inner: Arc<S>, plan: impl IntoIterator<Item = (u64, Fault)>) -> Self {
        let by_call = plan.into_iter().collect();
        let always = None;
        Self {
            calls: AtomicU64::new(0),
            plan: Mutex::new(Plan { by_call, always }),
            inner,
        }
    }

    /// Applies `fault` to every further call without a planned fault; `None` ends that.
    pub fn set_always(&self, fault: Option<Fault>) {
        self.plan
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .always = fault;
    }

    /// Number of calls so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Counts a call, fails or hangs if planned, and returns the fault for the rest of the call.
    async fn enter(
        &self,
        operation: Operation,
        key: Option<&ObjectKey>,
    ) -> Result<Option<Fault>, StoreError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let fault = {
            let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
            let planned = plan.by_call.remove(&call);
            planned.or_else(|| plan.always.clone())
        };
        match fault {
            Some(Fault::Before(kind)) => Err(StoreError::new(self.name(), operation, key, kind)),
            Some(Fault::Hang) => pending().await,
            fault => Ok(fault),
        }
    }

    /// Loses the response if planned.
    fn leave<T>(
        &self,
        operation: Operation,
        key: Option<&ObjectKey>,
        fault: Option<Fault>,
        result: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match fault {
            Some(Fault::After(kind)) => Err(StoreError::new(self.name(), operation, key, kind)),
            _ => result,
        }
    }
}

#[async_trait]
impl<S: Store + ?Sized> Store for FaultStore<S> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn create(&self, key: &ObjectKey, body: Body<'_>) -> Result<(), StoreError> {
        let fault = self.enter(Operation::Create, Some(key)).await?;
        let result = self.inner.create(key, body).await;
        self.leave(Operation::Create, Some(key), fault, result)
    }

    async fn open(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<Option<Reader>, StoreError> {
        let fault = self.enter(Operation::Read, Some(key)).await?;
        let reader = self.inner.open(key, range).await?;
        match fault {
            Some(Fault::After(_)) => self.leave(Operation::Read, Some(key), fault, Ok(None)),
            Some(fault) => Ok(reader.map(|reader| tamper(reader, &fault))),
            None => Ok(reader),
        }
    }

    async fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>, StoreError> {
        let fault = self.enter(Operation::Stat, Some(key)).await?;
        let result = self.inner.stat(key).await;
        self.leave(Operation::Stat, Some(key), fault, result)
    }

    async fn list(&self) -> Result<Listing, StoreError> {
        let fault = self.enter(Operation::List, None).await?;
        let mut listing = self.inner.list().await?;
        if let Some(Fault::ShortListing { keep }) = fault {
            listing.objects.truncate(keep);
        }
        self.leave(Operation::List, None, fault, Ok(listing))
    }
}

#[async_trait]
impl<S: Prune + ?Sized> Prune for FaultStore<S> {
    async fn remove(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let fault = self.enter(Operation::Remove, Some(key)).await?;
        let result = self.inner.remove(key).await;
        self.leave(Operation::Remove, Some(key), fault, result)
    }
}

fn tamper(reader: Reader, fault: &Fault) -> Reader {
    match *fault {
        Fault::Cut { after_bytes } => Box::pin(reader.take(after_bytes)),
        Fault::Break { after_bytes } => {
            let reset = io::Error::from(io::ErrorKind::ConnectionReset);
            let end = stream::iter([Err::<&[u8], io::Error>(reset)]);
            Box::pin(reader.take(after_bytes).chain(StreamReader::new(end)))
        }
        Fault::Flip { at } => Box::pin(Flipped {
            reader,
            left: Some(at),
        }),
        _ => reader,
    }
}

struct Flipped {
    reader: Reader,
    left: Option<u64>,
}

impl AsyncRead for Flipped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(self.reader.as_mut().poll_read(context, buffer))?;
        let arrived = &mut buffer.filled_mut()[before..];
        if let Some(left) = self.left {
            match arrived.get_mut(left as usize) {
                Some(byte) => *byte ^= 1,
                None => self.left = Some(left - arrived.len() as u64),
            }
            if self.left == Some(left) && !arrived.is_empty() {
                self.left = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}
