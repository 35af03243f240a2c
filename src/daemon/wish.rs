//! The words between a command and the running daemon: what is wished, how it comes along, how it ended. Invariant: only
//! the daemon's own user and root are heard, and what a command asks for is one of [`Verb`].
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

/// A command and a daemon that know different ones do not understand each other.
pub const VERSION: u32 = 1;

const SOCKET: &str = "daemon.sock";

/// A Unix socket's path has 108 bytes on Linux; a longer one is reached through its open folder.
const MOST_PATH_BYTES: usize = 100;

/// What a command asks the daemon for: the first and only line that it sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// [`VERSION`] of the command.
    pub version: u32,
    /// The configuration that the command was given, absolute and without links.
    pub config: PathBuf,
    /// Whether the outcome is to be one JSON document.
    pub json: bool,
    /// What to do.
    pub verb: Verb,
}

/// What there is to do, with the options of its command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// `patina backup`
    Backup {
        /// The databases; empty means all.
        databases: Vec<DatabaseName>,
        /// Why, in a person's words.
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
        /// Read from this storage alone.
        storage: Option<String>,
        /// Know nothing but what the storages hold.
        cold: bool,
    },
    /// `patina reconcile`
    Reconcile {
        /// Wait for a second look where an object is absent.
        wait: bool,
    },
}

impl Verb {
    /// The command's name.
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

/// One line of the daemon's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// The wish is understood; it will be carried out whether anyone waits or not.
    Heard,
    /// Something that a person should know, before the end.
    Warning(String),
    /// Another job is at work on what it would touch.
    Waiting,
    /// It begins, with one counter per database; with a single nameless one where there is none.
    Begun {
        /// The databases in the order of their counters.
        databases: Vec<DatabaseName>,
        /// The bytes there are to handle, of the nameless counter; 0 while unknown.
        total_bytes: u64,
    },
    /// Counters that changed, by their places.
    Progress(Vec<(usize, Reading)>),
    /// It ended; the last line.
    Ended(Outcome),
}

/// How a wish ended, in the words of its command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// For stdout.
    pub out: String,
    /// Lines for stderr.
    pub err: Vec<String>,
    /// Why it could not be carried out; `None` where it was.
    pub error: Option<String>,
    /// How the command is to end.
    pub exit: u8,
}

/// Counters to be shown.
#[derive(Debug, Clone)]
pub enum Watched {
    /// One per database.
    Board(Arc<Board>),
    /// A single one, over so many bytes; 0 while unknown.
    Bytes(Arc<Progress>, u64),
}

impl Watched {
    /// The databases that have a counter each; none, where there is a single nameless one.
    pub fn databases(&self) -> Vec<DatabaseName> {
        match self {
            Self::Board(board) => board.iter().map(|(name, _)| name.clone()).collect(),
            Self::Bytes(..) => Vec::new(),
        }
    }

    /// Every counter as it is now.
    pub fn read(&self) -> Vec<Reading> {
        match self {
            Self::Board(board) => board.iter().map(|(_, progress)| progress.read()).collect(),
            Self::Bytes(progress, _) => vec![progress.read()],
        }
    }
}

/// What a wish is carried out with.
pub struct Means {
    /// The configuration and what was built from it.
    pub built: Arc<Built>,
    /// The locked state folder.
    pub state: Arc<StateDir>,
    /// Cancelled when the process is told to end.
    pub stop: CancellationToken,
    /// Is given the counters once there are any.
    pub watch: Box<dyn Fn(Watched) + Send + Sync>,
}

/// Carries wishes out and says how they ended: the command line's own functions and words.
pub trait CarryOut: Send + Sync {
    /// Carries out one wish.
    fn carry_out<'a>(&'a self, wish: &'a Wish, means: &'a Means) -> BoxFuture<'a, Outcome>;
}

/// Takes wishes from here on. The lock of `state` says that no other process does.
///
/// # Errors
/// Where something else lies in the socket's place, or the system gives no socket.
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

/// Whether who connected may wish for anything: between the socket's making and its mode anyone could connect.
pub(super) fn is_heard(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    let peer = stream.peer_cred().map(|peer| peer.uid());
    peer.is_ok_and(|peer| peer == own || peer == 0)
}

/// Connects to the daemon that works in a state folder.
///
/// # Errors
/// What the system says: `NotFound` and `ConnectionRefused` mean that none listens.
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
