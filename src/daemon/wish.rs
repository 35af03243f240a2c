//! Defines the messages between a command and the running daemon: the request, its progress, its outcome. Invariant:
//! only the daemon's own user and root are accepted, and a command can only request one of [`Verb`].
//!
//! They are lines of JSON over a Unix socket in the state folder.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::app::Built;
use crate::engine::state::StateDir;
use crate::progress::{Board, Progress, Reading};
use crate::types::{DatabaseName, ObjectKey};

/// Version of the messages; a command and a daemon with different ones do not understand each other.
pub const VERSION: u32 = 1;

const SOCKET: &str = "daemon.sock";

/// Length above which the socket is reached through its open folder: a Unix socket's path has at most 108 bytes on
/// Linux.
const MOST_PATH_BYTES: usize = 100;

/// A command's request to the daemon: the first and only line that it sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// [`VERSION`] of the command.
    pub version: u32,
    /// The command's configuration file, absolute and without links.
    pub config: PathBuf,
    /// True if the outcome is to be one JSON document.
    pub json: bool,
    /// The work to do.
    pub verb: Verb,
}

/// The kinds of work, with the options of their commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// `patina backup`
    Backup {
        /// The databases; empty means all.
        databases: Vec<DatabaseName>,
        /// The reason, in a person's words.
        reason: Option<String>,
    },
    /// `patina archive`
    Archive,
    /// `patina expire`
    Expire,
    /// `patina verify`
    Verify {
        /// The objects; `None` means every one.
        keys: Option<Vec<ObjectKey>>,
    },
    /// `patina drill`
    Drill {
        /// The databases; empty means all.
        databases: Vec<DatabaseName>,
        /// Read only from this storage.
        storage: Option<String>,
        /// Use no other knowledge than the storages' content.
        cold: bool,
    },
    /// `patina reconcile`
    Reconcile {
        /// Wait for a second check if an object is absent.
        wait: bool,
    },
}

impl Verb {
    /// Name of the command.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Backup { .. } => "backup",
            Self::Archive => "archive",
            Self::Expire => "expire",
            Self::Verify { .. } => "verify",
            Self::Drill { .. } => "drill",
            Self::Reconcile { .. } => "reconcile",
        }
    }
}

/// One line of the daemon's response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// The request was accepted; it is carried out even if the command no longer waits.
    Heard,
    /// A warning to show before the end.
    Warning(String),
    /// Another job is working on the same databases or objects.
    Waiting,
    /// The work begins, with one counter per database, or with a single unnamed one.
    Begun {
        /// The databases in the order of their counters.
        databases: Vec<DatabaseName>,
        /// Total bytes for the unnamed counter; 0 while unknown.
        total_bytes: u64,
    },
    /// Counters that changed, by their positions.
    Progress(Vec<(usize, Reading)>),
    /// The work ended; the last line.
    Ended(Outcome),
}

/// Outcome of a request, in the words of its command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Text for stdout.
    pub out: String,
    /// Lines for stderr.
    pub err: Vec<String>,
    /// The reason that it could not be carried out; `None` if it was.
    pub error: Option<String>,
    /// Exit code of the command.
    pub exit: u8,
}

/// Progress counters to show.
#[derive(Debug, Clone)]
pub enum Watched {
    /// One per database.
    Board(Arc<Board>),
    /// A single one, with the total bytes; 0 while unknown.
    Bytes(Arc<Progress>, u64),
}

impl Watched {
    /// The databases that have a counter each; empty if there is a single unnamed one.
    pub fn databases(&self) -> Vec<DatabaseName> {
        match self {
            Self::Board(board) => board.iter().map(|(name, _)| name.clone()).collect(),
            Self::Bytes(..) => Vec::new(),
        }
    }

    /// Present values of all counters.
    pub fn read(&self) -> Vec<Reading> {
        match self {
            Self::Board(board) => board.iter().map(|(_, progress)| progress.read()).collect(),
            Self::Bytes(progress, _) => vec![progress.read()],
        }
    }
}

/// Context in which a request is carried out.
pub struct Means {
    /// The configuration and everything built from it.
    pub built: Arc<Built>,
    /// The locked state folder.
    pub state: Arc<StateDir>,
    /// Cancelled when the process is asked to stop.
    pub stop: CancellationToken,
    /// Receives the counters once they exist.
    pub watch: Box<dyn Fn(Watched) + Send + Sync>,
}

/// Carries out requests and returns their outcomes, by the command line's own functions and messages.
pub trait CarryOut: Send + Sync {
    /// Carries out one request.
    fn carry_out<'a>(&'a self, wish: &'a Wish, means: &'a Means) -> BoxFuture<'a, Outcome>;
}

/// Listens for requests from here on. The lock of `state` ensures that no other process does.
///
/// # Errors
/// If something else is in the socket's place, or the system provides no socket.
pub(super) fn listen(state: &StateDir) -> io::Result<UnixListener> {
    let socket = state.path().join(SOCKET);
    match fs::symlink_metadata(&socket) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(&socket)?,
        Ok(_) => {
            let text = format!("`{}` is no socket; move it away", socket.display());
            return Err(io::Error::other(text));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = reached(state.path(), |path| UnixListener::bind(path))?;
    fs::set_permissions(&socket, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// True if the client may send requests: anyone could connect between the creation of the socket and the change of its
/// mode.
pub(super) fn is_heard(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    let peer = stream.peer_cred().map(|peer| peer.uid());
    peer.is_ok_and(|peer| peer == own || peer == 0)
}

/// Connects to the daemon that uses a state folder.
///
/// # Errors
/// Those of the system: `NotFound` and `ConnectionRefused` mean that no daemon listens.
pub async fn connect(state: &Path) -> io::Result<UnixStream> {
    let connected = reached(state, |path| {
        let stream = std::os::unix::net::UnixStream::connect(path)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    });
    UnixStream::from_std(connected?)
}

/// Calls `work` with a path of the socket that is short enough.
fn reached<T>(state: &Path, work: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let path = state.join(SOCKET);
    if path.as_os_str().len() <= MOST_PATH_BYTES {
        return work(&path);
    }
    let folder = File::open(state)?;
    work(Path::new(&format!(
        "/proc/self/fd/{}/{SOCKET}",
        folder.as_raw_fd()
    )))
}
