//! Reads the files of a configuration within a deadline. Invariant: a file system that does not answer blocks the
//! thread that reads, never the caller.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Problems, alone};

/// Upper bound for reading a configuration with its includes, secrets and scripts. A network share over a slow line
/// needs a second; systemd waits 90 s for a start.
pub const LONGEST_READ: Duration = Duration::from_secs(10);

thread_local! {
    /// Path that this thread accesses, recorded if the caller may have to name it.
    static LOOKING_AT: RefCell<Option<Arc<Mutex<PathBuf>>>> = const { RefCell::new(None) };
}

/// Error that nothing was read in time.
#[derive(Debug)]
pub struct NotRead {
    why: String,
    thread: Option<JoinHandle<()>>,
}

impl NotRead {
    /// True if the reading thread has ended, so that another one may try again.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Converts to a finding in the configuration at `path`.
    pub fn problems(&self, path: &Path) -> Problems {
        let hint = "look at the mount it is on; what a daemon works on should lie on a local disk";
        alone(&path.display().to_string(), path, &self.why, hint)
    }
}

/// Runs `work` on its own thread and returns its result.
///
/// # Errors
/// If it takes longer than [`LONGEST_READ`]; the thread keeps waiting.
pub fn within<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, NotRead> {
    let at = Arc::<Mutex<PathBuf>>::default();
    let noted = Arc::clone(&at);
    let (sender, receiver) = sync_channel(1);
    let begun = thread::Builder::new().spawn(move || {
        LOOKING_AT.set(Some(noted));
        // After the deadline no receiver is left.
        let _ = sender.send(work());
    });
    let thread = begun.map_err(|error| NotRead {
        why: format!("cannot be read: no thread can be started: {error}"),
        thread: None,
    })?;
    match receiver.recv_timeout(LONGEST_READ) {
        Ok(read) => Ok(read),
        Err(RecvTimeoutError::Timeout) => {
            let at = at.lock().unwrap_or_else(PoisonError::into_inner);
            let (at, seconds) = (at.display(), LONGEST_READ.as_secs());
            let why = format!("cannot be read: `{at}` does not answer within {seconds} s");
            let thread = Some(thread);
            Err(NotRead { why, thread })
        }
        Err(RecvTimeoutError::Disconnected) => {
            let panic = thread.join().expect_err("it ended without an answer");
            std::panic::resume_unwind(panic)
        }
    }
}

/// Records the path that this thread accesses next.
pub(super) fn looks_at(path: &Path) {
    LOOKING_AT.with_borrow(|noted| {
        if let Some(noted) = noted {
            path.clone_into(&mut noted.lock().unwrap_or_else(PoisonError::into_inner));
        }
    });
}
