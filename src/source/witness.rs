//! Reads a source a second time, on a separate thread, while the dump is written and proven.
//!
//! Invariant: the result is about the snapshot that the dump was read from, or it is an error.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::SourceError;
use crate::crosscheck::{CloudInventory, Findings, Inventory, PageDigest};

/// Time between two checks for cancellation.
const PATIENCE: Duration = Duration::from_millis(50);

/// The result of the second reading.
#[derive(Debug, Default)]
pub struct Testimony {
    /// Content of the source, or the reason that it cannot be determined. An image needs none.
    pub inventory: Option<Result<Inventory, String>>,
    /// Content of a D1 database, in place of the inventory.
    pub cloud: Option<Box<CloudInventory>>,
    /// Digest of the source's pages, if the dump is an image.
    pub pages: Option<PageDigest>,
    /// Integrity of the source. `None` if it was not checked.
    pub findings: Option<Findings>,
}

/// A second reading that may still be in progress. Dropping it cancels the reading.
#[derive(Debug)]
pub struct Witness {
    /// The lock is never contended: the result is received once, by the owner.
    answer: Mutex<Receiver<Result<Testimony, SourceError>>>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Witness {
    /// Starts the second reading.
    ///
    /// # Errors
    /// If no thread can be created.
    pub(super) fn begin(
        stop: CancellationToken,
        look: impl FnOnce() -> Result<Testimony, SourceError> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (sender, answer) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("witness".to_owned())
            .spawn(move || {
                // The receiver is gone if the backup ended before.
                let _ = sender.send(look());
            })?;
        Ok(Self {
            answer: Mutex::new(answer),
            stop,
            thread: Some(thread),
        })
    }

    /// Creates a witness whose testimony is known already.
    pub(super) fn with(testimony: Testimony) -> Self {
        let (sender, answer) = sync_channel(1);
        // The channel has room for one message.
        let _ = sender.send(Ok(testimony));
        Self {
            answer: Mutex::new(answer),
            stop: CancellationToken::new(),
            thread: None,
        }
    }

    /// True if the testimony was known from the start, so that no work goes on meanwhile.
    pub fn is_given(&self) -> bool {
        self.thread.is_none()
    }

    /// Waits for the result.
    ///
    /// # Errors
    /// If the source could not be read or changed, or `stop` was cancelled.
    pub fn hear(self, stop: &CancellationToken) -> Result<Testimony, SourceError> {
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match answer.recv_timeout(PATIENCE) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Timeout) if stop.is_cancelled() => {
                    return Err(SourceError::Stopped);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(SourceError::Unavailable {
                        what: "the source".to_owned(),
                        why: "the thread that checks it panicked".to_owned(),
                        retryable: false,
                    });
                }
            }
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // Result and panic of the thread no longer matter.
            let _ = thread.join();
        }
    }
}
