//! Streams a copy's text to whoever makes a database of it. Invariant: the end of the text is handed on only after
//! every byte was right; a reader that sees an error has no copy.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::error::{RestoreError, shown};
use crate::config::open_regular;
use crate::copy::{ReadingError, Way, read_copy, read_member};
use crate::progress::Progress;
use crate::types::{Compression, Manifest};

/// How many blocks of text may wait for the database.
const WAITING_BLOCKS: usize = 4;

/// Where a copy's text comes from.
pub enum Origin {
    /// A stored copy.
    Stored {
        /// Its commit record.
        manifest: Box<Manifest>,
        /// The ways to its bytes, the best first.
        ways: Vec<Way>,
    },
    /// A file that somebody fetched.
    File {
        /// The file.
        path: PathBuf,
        /// How its text is compressed.
        compression: Compression,
        /// Its commit record, where somebody fetched that, too.
        manifest: Option<Box<Manifest>>,
        /// Commit records among which its own may be; it is told by the text's digest.
        known: Vec<Manifest>,
    },
}

/// The text of a copy, and how it is compressed.
pub(super) struct Feed {
    pub(super) text: Box<dyn Read + Send>,
    pub(super) compression: Compression,
}

impl Origin {
    /// The commit record, where it is known before the text is read.
    pub fn manifest(&self) -> Option<&Manifest> {
        match self {
            Self::Stored { manifest, .. } => Some(manifest),
            Self::File { manifest, .. } => manifest.as_deref(),
        }
    }

    /// About how many bytes of text there are; `None` where nobody knows.
    pub fn text_bytes(&self) -> Option<u64> {
        match self {
            Self::Stored { manifest, .. } => Some(manifest.plain.size_bytes),
            Self::File {
                path,
                compression: Compression::None,
                ..
            } => std::fs::metadata(path).ok().map(|file| file.len()),
            Self::File { .. } => None,
        }
    }

    /// How large the database was when the copy was proven; `None` where nothing says so.
    pub fn database_bytes(&self) -> Option<u64> {
        self.manifest()?.database_bytes
    }

    /// How many stored bytes are read through on the first way, for a bar.
    pub fn stored_bytes(&self) -> u64 {
        match self {
            Self::Stored { manifest, ways } => {
                let archive = ways.first().and_then(|way| way.archive.as_ref());
                archive.map_or(manifest.stored.size_bytes, |archive| {
                    archive.manifest.stored.size_bytes
                })
            }
            Self::File { path, .. } => std::fs::metadata(path).map_or(0, |file| file.len()),
        }
    }

    /// Gives the text to `work` on a thread that may block; again by the next way where the bytes were not right.
    /// `work` must begin anew each time. Troubles of ways that were given up are told to `troubles`.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        progress: &Arc<Progress>,
        troubles: &mut Vec<String>,
        work: impl Fn(Feed) -> Result<T, RestoreError> + Send + Sync + 'static,
    ) -> Result<T, RestoreError> {
        let work = Arc::new(work);
        let (manifest, ways) = match self {
            Self::Stored { manifest, ways } => (manifest, ways),
            Self::File {
                path, compression, ..
            } => {
                let feed = open_file(path, *compression, progress)?;
                return on_thread(move || work(feed)).await;
            }
        };
        let mut failed = Vec::new();
        for way in ways {
            match read_by(way, manifest, progress, Arc::clone(&work)).await? {
                Ok(done) => {
                    troubles.extend(failed.iter().map(ToString::to_string));
                    return Ok(done);
                }
                Err(trouble) => failed.push(trouble),
            }
        }
        Err(RestoreError::Unreadable(failed))
    }
}

/// Does blocking work and waits for it.
pub(super) async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RestoreError> + Send + 'static,
) -> Result<T, RestoreError> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|panic| {
        Err(RestoreError::Target {
            what: "the database".to_owned(),
            why: panic.to_string(),
        })
    })
}

fn open_file(
    path: &Path,
    compression: Compression,
    progress: &Arc<Progress>,
) -> Result<Feed, RestoreError> {
    let file = open_regular(path).map_err(|cause| RestoreError::File {
        path: path.display().to_string(),
        why: format!("cannot be read: {cause}"),
    })?;
    let counted = Counted {
        input: file,
        progress: Arc::clone(progress),
        name: shown(path),
    };
    Ok(Feed {
        text: Box::new(counted),
        compression,
    })
}

/// The outer error is final, the inner one is of this way alone.
async fn read_by<T: Send + 'static>(
    way: &Way,
    manifest: &Manifest,
    progress: &Arc<Progress>,
    work: Arc<impl Fn(Feed) -> Result<T, RestoreError> + Send + Sync + 'static>,
) -> Result<Result<T, ReadingError>, RestoreError> {
    let (sender, blocks) = channel(WAITING_BLOCKS);
    let feed = Feed {
        text: Box::new(Blocks {
            blocks,
            current: Vec::new(),
            at: 0,
            is_over: false,
        }),
        compression: Compression::None,
    };
    let work = tokio::spawn(on_thread(move || work(feed)));
    let sink = {
        let sender = sender.clone();
        move |block: &[u8]| {
            let sent = sender.blocking_send(Block::Text(block.to_vec()));
            sent.map_err(|_| io::Error::other("the reader was closed"))
        }
    };
    let store = way.store.as_ref();
    let read = match &way.archive {
        None => read_copy(store, manifest, progress, sink).await,
        Some(archive) => read_member(store, &archive.manifest, &manifest.key, progress, sink).await,
    };
    tell_end(&sender, read.is_ok()).await;
    drop(sender);
    let done = work.await.unwrap_or_else(|panic| {
        Err(RestoreError::Target {
            what: "the database".to_owned(),
            why: panic.to_string(),
        })
    });
    match (read, done) {
        // Whoever was to take the text did not, and has the reason.
        (Ok(()) | Err(ReadingError::Sink(_)), done) => done.map(Ok),
        (Err(trouble), _) => Ok(Err(trouble)),
    }
}

async fn tell_end(sender: &Sender<Block>, is_right: bool) {
    if is_right {
        // A reader that is gone has told why.
        let _ = sender.send(Block::End).await;
    }
}

enum Block {
    Text(Vec<u8>),
    End,
}

/// Blocks of text as one stream. It ends well only where that was said.
struct Blocks {
    blocks: Receiver<Block>,
    current: Vec<u8>,
    at: usize,
    is_over: bool,
}

impl Read for Blocks {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.current.len() && !self.is_over {
            match self.blocks.blocking_recv() {
                Some(Block::Text(text)) => (self.current, self.at) = (text, 0),
                Some(Block::End) => self.is_over = true,
                None => return Err(io::Error::other("the copy was not read to its end")),
            }
        }
        let count = out.len().min(self.current.len() - self.at);
        out[..count].copy_from_slice(&self.current[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// A file whose bytes are counted.
struct Counted {
    input: File,
    progress: Arc<Progress>,
    name: String,
}

impl Read for Counted {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(out);
        let count =
            read.map_err(|cause| io::Error::new(cause.kind(), format!("{}: {cause}", self.name)))?;
        self.progress.add_bytes(count as u64);
        Ok(count)
    }
}
