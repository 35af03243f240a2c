//! Looks at a source a second time, on a thread of its own, while the dump is written and drilled.
//!
//! Invariant: what is found is of the snapshot that the dump was read from, or it is an error.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::SourceError;
use crate::crosscheck::{CloudInventory, Findings, Inventory, PageDigest};

/// How long to wait between two looks at the request to stop.
const PATIENCE: Duration = Duration::from_millis(50);

/// What was found.
#[derive(Debug, Default)]
pub struct Testimony {
    /// What the source holds; why it cannot be said. An image needs none.
    pub inventory: Option<Result<Inventory, String>>,
    /// What a D1 database holds, in place of the inventory.
    pub cloud: Option<Box<CloudInventory>>,
    /// The source's pages, where the dump is an image.
    pub pages: Option<PageDigest>,
    /// Whether the source is whole. `None`: it was not asked.
    pub findings: Option<Findings>,
}

/// A look that may still be going on. Dropped, it is ended.
#[derive(Debug)]
pub struct Witness {
    /// Nobody waits for the lock: a witness is heard once, by its owner.
    answer: Mutex<Receiver<Result<Testimony, SourceError>>>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Witness {
    /// Begins to look.
    ///
    /// # Errors
    /// Where no thread can be made.
    pub(super) fn begin(
        stop: CancellationToken,
        look: impl FnOnce() -> Result<Testimony, SourceError> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (sender, answer) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("witness".to_owned())
            .spawn(move || {
                // Nobody listens where the backup ended before.
                let _ = sender.send(look());
            })?;
        Ok(Self {
            answer: Mutex::new(answer),
            stop,
            thread: Some(thread),
        })
    }

    /// A testimony that was given before.
    pub(super) fn with(testimony: Testimony) -> Self {
        let (sender, answer) = sync_channel(1);
        // There is room for one.
        let _ = sender.send(Ok(testimony));
        Self {
            answer: Mutex::new(answer),
            stop: CancellationToken::new(),
            thread: None,
        }
    }

    /// Whether the testimony is there, so that nobody need do anything meanwhile.
    pub fn is_given(&self) -> bool {
        self.thread.is_none()
    }

    /// Waits for what was found.
    ///
    /// # Errors
    /// Where the source could not be looked at, did not stay as it was, or `stop` was cancelled.
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
            // What it found or how it ended is nobody's concern any more.
            let _ = thread.join();
        }
    }
}
