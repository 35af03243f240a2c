//! Reads what belongs to a configuration within a deadline. Invariant: a file system that does not answer keeps the thread
//! that asked it, never the caller.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Problems, alone};

/// The longest time for reading a configuration with its includes, secrets and scripts. A share over a slow line needs
/// a second; systemd waits 90 s for a start.
pub const LONGEST_READ: Duration = Duration::from_secs(10);

thread_local! {
    /// Where this thread notes what it looks at, if its caller may have to name it.
    static LOOKING_AT: RefCell<Option<Arc<Mutex<PathBuf>>>> = const { RefCell::new(None) };
}

/// Why nothing was read in time.
#[derive(Debug)]
pub struct NotRead {
    why: String,
    thread: Option<JoinHandle<()>>,
}

impl NotRead {
    /// Whether the thread that waited has ended, so that another one may ask again.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The same as a mistake in the configuration at `path`.
    pub fn problems(&self, path: &Path) -> Problems {
        let hint = "look at the mount it is on; what a daemon works on should lie on a local disk";
        alone(&path.display().to_string(), path, &self.why, hint)
    }
}

/// Gives what `work` reads, done on a thread of its own.
///
/// # Errors
/// Where it takes longer than [`LONGEST_READ`]; the thread then waits on.
pub fn within<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, NotRead> {
    let at = Arc::<Mutex<PathBuf>>::default();
    let noted = Arc::clone(&at);
    let (sender, receiver) = sync_channel(1);
    let begun = thread::Builder::new().spawn(move || {
        LOOKING_AT.set(Some(noted));
        // Where nobody waits any more, nobody wants it.
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

/// Notes what is looked at next.
pub(super) fn looks_at(path: &Path) {
    LOOKING_AT.with_borrow(|noted| {
        if let Some(noted) = noted {
            path.clone_into(&mut noted.lock().unwrap_or_else(PoisonError::into_inner));
        }
    });
}
