//! Spools a dump to disk before it counts. Invariant: only what the drill proved gets the name a store will take.
//!
//! Formatting happens on the caller's thread; hashing, compressing and writing on another.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::commit::Proven;
use crate::dump::{Encoder, Sink};
use crate::progress::Progress;
use crate::types::{Compression, Hasher, Manifest, PlainFacts, Sha256, StoredFacts};

/// How many blocks of text may wait for the writing thread.
const WAITING_BLOCKS: usize = 4;

/// How much is written to the file at a time.
const WRITE_BYTES: usize = 256 * 1024;

/// A spool that is being written: `NAME.partial`. Dropped, it removes its file.
pub struct Writing {
    path: PathBuf,
    thread: Option<Thread>,
    progress: Arc<Progress>,
}

struct Thread {
    messages: SyncSender<Message>,
    handle: JoinHandle<io::Result<Facts>>,
}

enum Message {
    Text(Vec<u8>),
    Digest(SyncSender<(Sha256, u64)>),
}

type Facts = (PlainFacts, StoredFacts);

/// A spool that is written to its end but not proven. Dropped, it removes its file.
#[derive(Debug)]
pub struct Partial {
    path: PathBuf,
    /// The SQL text.
    pub plain: PlainFacts,
    /// The file's bytes.
    pub stored: StoredFacts,
    /// How large the source is, as far as it says so: what its text may need when it is restored.
    pub(super) source_bytes: Option<u64>,
    kept: bool,
}

/// A spool that the drill proved: `NAME.ready`, durable. It stays until [`Ready::remove`].
#[derive(Debug)]
pub struct Ready {
    path: PathBuf,
    /// The SQL text.
    pub plain: PlainFacts,
    /// The file's bytes.
    pub stored: StoredFacts,
    /// What the drill found that a person should know before restoring.
    pub warnings: Vec<String>,
    /// How large the database was that was restored from it. `None`: none was.
    pub database_bytes: Option<u64>,
}

impl Writing {
    /// Creates `path`, which must not exist, for text that is kept in this compression.
    ///
    /// # Errors
    /// Where the file or the thread cannot be made.
    pub fn create(path: &Path, compression: Compression) -> io::Result<Self> {
        let file = create_private(path)?;
        let (messages, inbox) = sync_channel(WAITING_BLOCKS);
        let handle = std::thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || write_all(&inbox, file, compression))?;
        Ok(Self {
            path: path.to_owned(),
            thread: Some(Thread { messages, handle }),
            progress: Arc::default(),
        })
    }

    /// Counts the text's bytes there.
    #[must_use]
    pub fn counting(mut self, progress: Arc<Progress>) -> Self {
        self.progress = progress;
        self
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// The first error of writing; the file is then gone.
    pub fn finish(mut self) -> io::Result<Partial> {
        let (plain, stored) = self.end()?;
        Ok(Partial {
            path: std::mem::take(&mut self.path),
            plain,
            stored,
            source_bytes: None,
            kept: false,
        })
    }

    fn end(&mut self) -> io::Result<Facts> {
        let Some(Thread { messages, handle }) = self.thread.take() else {
            return Err(io::Error::other("the spool ended before"));
        };
        drop(messages);
        handle
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the spool's thread panicked")))
    }

    fn send(&mut self, message: Message) -> io::Result<()> {
        let thread = self.thread.as_ref();
        let sent = thread.is_some_and(|thread| thread.messages.send(message).is_ok());
        if sent {
            return Ok(());
        }
        // The thread is gone, and left the reason.
        Err(match self.end() {
            Err(error) => error,
            Ok(_) => io::Error::other("the spool ended early"),
        })
    }
}

impl Write for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(Message::Text(bytes.to_vec()))?;
        self.progress.add_bytes(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Writing {
    fn digest(&mut self) -> io::Result<(Sha256, u64)> {
        let (reply, digest) = sync_channel(1);
        self.send(Message::Digest(reply))?;
        match digest.recv() {
            Ok(digest) => Ok(digest),
            Err(_) => Err(self
                .end()
                .err()
                .unwrap_or_else(|| io::Error::other("the spool ended early"))),
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if self.thread.is_some() {
            let _ = self.end();
        }
        remove_unfinished(&self.path);
    }
}

impl Partial {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes how large the source is.
    pub fn of_source(mut self, source_bytes: Option<u64>) -> Self {
        self.source_bytes = source_bytes;
        self
    }

    /// Makes the file durable under its `.ready` name. Called by the drill alone, after it proved the copy.
    pub(super) fn into_ready(mut self) -> io::Result<Ready> {
        let ready = self.path.with_extension("ready");
        File::open(&self.path)?.sync_all()?;
        fs::rename(&self.path, &ready)?;
        self.kept = true;
        sync_folder(&ready)?;
        Ok(Ready {
            path: ready,
            plain: self.plain,
            stored: self.stored,
            warnings: Vec::new(),
            database_bytes: None,
        })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.kept {
            remove_unfinished(&self.path);
        }
    }
}

impl Ready {
    /// A spool that an earlier process left; its bytes were hashed again and are `stored`.
    pub(super) fn found(path: PathBuf, plain: PlainFacts, stored: StoredFacts) -> Self {
        Self {
            path,
            plain,
            stored,
            warnings: Vec::new(),
            database_bytes: None,
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file together with its commit record.
    pub(super) fn as_proven<'a>(&'a self, manifest: &'a Manifest) -> Proven<'a, Manifest> {
        Proven {
            path: &self.path,
            stored: self.stored,
            key: &manifest.key,
            manifest,
        }
    }

    /// Removes the file: every store has it, or none will.
    ///
    /// # Errors
    /// Where it cannot be removed; it being gone is none.
    pub fn remove(self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// A new file that its owner alone may read: it holds a database in plain text, or pages of it.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o600).open(path)
}

/// The digest and length of a file: of a spool that an earlier process left.
///
/// # Errors
/// Where the file cannot be read.
pub(super) fn hash_file(path: &Path) -> io::Result<(Sha256, u64)> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::default();
    let mut block = vec![0; WRITE_BYTES];
    loop {
        let count = file.read(&mut block)?;
        if count == 0 {
            let size_bytes = hasher.seen_bytes();
            return Ok((hasher.finish(), size_bytes));
        }
        hasher.update(&block[..count]);
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Best effort: what stays is removed at the next start.
fn remove_unfinished(path: &Path) {
    if !path.as_os_str().is_empty() {
        let _ = fs::remove_file(path);
    }
}

/// A writer that knows, where wanted, the digest of what went through it.
struct Hashing<W> {
    inner: W,
    hasher: Option<Hasher>,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes[..written]);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn write_all(inbox: &Receiver<Message>, file: File, compression: Compression) -> io::Result<Facts> {
    // Uncompressed, the file is the text: one digest is enough.
    let hashes_file = compression != Compression::None;
    let file = Hashing {
        inner: file,
        hasher: hashes_file.then(Hasher::default),
    };
    let mut encoder = Encoder::new(compression, BufWriter::with_capacity(WRITE_BYTES, file))?;
    let mut plain = Hasher::default();
    for message in inbox {
        match message {
            Message::Text(text) => {
                plain.update(&text);
                encoder.write_all(&text)?;
            }
            Message::Digest(reply) => {
                let digest = (plain.clone().finish(), plain.seen_bytes());
                // Nobody waits where the dump was aborted.
                let _ = reply.send(digest);
            }
        }
    }
    let file = encoder
        .finish()?
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    let stored = file.hasher.unwrap_or_else(|| plain.clone());
    let plain = PlainFacts {
        size_bytes: plain.seen_bytes(),
        sha256: plain.finish(),
    };
    let stored = StoredFacts {
        size_bytes: stored.seen_bytes(),
        sha256: stored.finish(),
        compression,
    };
    Ok((plain, stored))
}
