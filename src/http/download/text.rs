//! Streams a copy's text from a storage to a client. Invariant: the last piece is held back until every byte of the
//! copy was read and verified; without it the response is visibly truncated.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::Grant;
use super::range::Part;
use crate::catalog::{AuditOutcome, Lease};
use crate::copy::{ReadingError, Way, read_copy, read_member};
use crate::types::Manifest;

/// Number of blocks buffered for a client: a slow one does not fill the memory.
const BLOCKS_WAITING: usize = 4;

type Piece = Result<Bytes, ReadingError>;

/// A text whose first piece has arrived.
pub(super) struct Text {
    first: Bytes,
    rest: mpsc::Receiver<Piece>,
}

impl Text {
    /// Starts reading and waits for the first piece.
    ///
    /// # Errors
    /// If the storage does not provide one; nothing was sent in that case.
    pub(super) async fn begin(
        way: Way,
        manifest: Manifest,
        part: Part,
    ) -> Result<Self, ReadingError> {
        let (send, mut rest) = mpsc::channel(BLOCKS_WAITING);
        tokio::spawn(read(way, manifest, part, send));
        match rest.recv().await {
            Some(Ok(first)) => Ok(Self { first, rest }),
            Some(Err(error)) => Err(error),
            None => Err(ReadingError::Unread("reading it ended early".to_owned())),
        }
    }
}

/// Cuts the requested range out of the text and holds back its latest piece.
struct Cut {
    part: Part,
    at: u64,
    held: Bytes,
}

impl Cut {
    /// Takes the next block and returns the piece that may be sent now.
    fn take(&mut self, block: &[u8]) -> Bytes {
        let wanted = self.part.of(self.at, block);
        self.at += block.len() as u64;
        match wanted.is_empty() {
            true => Bytes::new(),
            false => std::mem::replace(&mut self.held, Bytes::copy_from_slice(wanted)),
        }
    }
}

/// Reads the copy to its end, even if only a part is requested: only then is it known to be intact.
async fn read(way: Way, manifest: Manifest, part: Part, send: mpsc::Sender<Piece>) {
    let cut = Arc::new(Mutex::new(Cut {
        part,
        at: 0,
        held: Bytes::new(),
    }));
    let sink = {
        let (cut, send) = (Arc::clone(&cut), send.clone());
        move |block: &[u8]| {
            let piece = cut
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(block);
            match piece.is_empty() {
                // The client may have left even if this block holds nothing for it.
                true if send.is_closed() => Err(io::ErrorKind::BrokenPipe.into()),
                true => Ok(()),
                false => send
                    .blocking_send(Ok(piece))
                    .map_err(|_| io::ErrorKind::BrokenPipe.into()),
            }
        }
    };
    let (store, unseen) = (way.store.as_ref(), Arc::default());
    let read = match &way.archive {
        None => read_copy(store, &manifest, &unseen, sink).await,
        Some(archive) => read_member(store, &archive.manifest, &manifest.key, &unseen, sink).await,
    };
    let last = match read {
        Ok(()) => Ok(std::mem::take(
            &mut cut.lock().unwrap_or_else(PoisonError::into_inner).held,
        )),
        Err(error) => Err(error),
    };
    // Fails if the client has left; no one needs the piece then.
    let _ = send.send(last).await;
}

/// A download from its grant to its end. Dropping it at any time records how far it came.
pub(super) struct Handed {
    grant: Option<Grant>,
    lease: Option<Lease>,
    outcome: AuditOutcome,
    sent_bytes: u64,
    length: u64,
    _place: OwnedSemaphorePermit,
}

impl Handed {
    /// Creates the download that was just granted.
    pub(super) fn new(grant: Grant, place: OwnedSemaphorePermit, part: Part) -> Self {
        grant.tell();
        Self {
            grant: Some(grant),
            lease: None,
            outcome: AuditOutcome::Aborted,
            sent_bytes: 0,
            length: part.length(),
            _place: place,
        }
    }

    /// Holds a lease until the end.
    pub(super) fn keep(&mut self, lease: Lease) {
        self.lease = Some(lease);
    }

    /// Records that a storage did not return what was stored.
    pub(super) fn failed(&mut self, error: &ReadingError) {
        if let ReadingError::Damaged(_) | ReadingError::Missing(_) = error {
            self.outcome = AuditOutcome::Damaged;
        }
    }

    /// Returns the text as a response body. An error in it makes the server close the connection.
    pub(super) fn stream(
        mut self,
        text: Text,
    ) -> impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static {
        self.outcome = AuditOutcome::Aborted;
        let Text { first, rest } = text;
        let state = (self, Some(first), rest);
        stream::unfold(state, async |(mut handed, first, mut rest)| {
            let piece = match first {
                Some(first) => Ok(first),
                None => rest.recv().await?,
            };
            let piece = handed.pass(piece);
            Some((piece, (handed, None, rest)))
        })
    }

    fn pass(&mut self, piece: Piece) -> Result<Bytes, io::Error> {
        match piece {
            Ok(bytes) => {
                self.sent_bytes += bytes.len() as u64;
                if self.sent_bytes == self.length {
                    self.outcome = AuditOutcome::Complete;
                }
                Ok(bytes)
            }
            Err(error) => {
                self.failed(&error);
                tracing::error!("a download is cut off before its end: {error}");
                Err(io::Error::other("the copy is not right"))
            }
        }
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        let (outcome, sent_bytes, lease) = (self.outcome, self.sent_bytes, self.lease.take());
        if let Some(grant) = self.grant.take() {
            let end = move || grant.end(outcome, sent_bytes, lease);
            // The catalog may block.
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn_blocking(end)),
                Err(_) => end(),
            }
        }
    }
}
