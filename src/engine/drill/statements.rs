//! Reads a spool's statements on a thread of its own: decompressing, hashing and splitting overlap with restoring.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::{DrillError, DumpFile};
use crate::dump::{Check, ReadError, Splitter, Summary, decoder};
use crate::progress::Progress;
use crate::types::{Compression, Hasher, Sha256};

/// About how much text is handed over at a time, and how many such blocks may wait.
const BLOCK_BYTES: usize = 256 * 1024;
const WAITING_BLOCKS: usize = 4;

/// Our own statements stay below 90 kB; a schema text may be longer.
const MAX_STATEMENT_BYTES: usize = 64 * 1024 * 1024;

/// The statements of a dump, in order.
pub(in crate::engine) struct Statements {
    blocks: Receiver<Message>,
    end: Option<Box<End>>,
}

/// Statements that follow each other in the text.
#[derive(Default)]
pub(super) struct Block {
    text: Vec<u8>,
    /// Where each statement begins in the dump, and where it ends in `text`.
    places: Vec<(u64, usize)>,
}

enum Message {
    Block(Block),
    End(Box<End>),
    Failed(DrillError),
}

/// What the thread knows at the end of the text.
struct End {
    check: Check,
    /// The file's digest; `None` where the file is the text.
    stored: Option<Sha256>,
}

impl Statements {
    /// Begins to read.
    pub(super) fn open(dump: &DumpFile<'_>, progress: &Arc<Progress>) -> Result<Self, DrillError> {
        let file = File::open(dump.path).map_err(|e| DrillError::Spool(e.to_string()))?;
        Self::over(file, dump.stored.compression, progress)
    }

    /// Begins to read `input`, which is compressed in this way.
    pub(in crate::engine) fn over(
        input: impl Read + Send + 'static,
        compression: Compression,
        progress: &Arc<Progress>,
    ) -> Result<Self, DrillError> {
        let progress = Arc::clone(progress);
        let (sender, blocks) = sync_channel(WAITING_BLOCKS);
        std::thread::Builder::new()
            .name("drill-read".to_owned())
            .spawn(move || {
                let last = match send_all(input, compression, &progress, &sender) {
                    Ok(Some(end)) => Message::End(Box::new(end)),
                    Ok(None) => return,
                    Err(error) => Message::Failed(error),
                };
                // Nobody reads on where the drill ended early.
                let _ = sender.send(last);
            })
            .map_err(|error| DrillError::Scratch(error.to_string()))?;
        Ok(Self { blocks, end: None })
    }

    /// The next statements; `None` at the end of the text.
    pub(super) fn next_block(&mut self) -> Result<Option<Block>, DrillError> {
        match self.blocks.recv() {
            Ok(Message::Block(block)) => Ok(Some(block)),
            Ok(Message::End(end)) => {
                self.end = Some(end);
                Ok(None)
            }
            Ok(Message::Failed(error)) => Err(error),
            Err(_) => {
                let why = "the reading thread ended early".to_owned();
                Err(DrillError::Spool(why))
            }
        }
    }

    /// What the text, read to its end, says of itself; the error where it is no complete dump of ours.
    pub(in crate::engine) fn summary(self) -> Result<Result<Summary, ReadError>, DrillError> {
        match self.end {
            Some(end) => Ok(end.check.finish()),
            None => Err(DrillError::Spool("it was not read to its end".to_owned())),
        }
    }

    /// Proves that the text was read to a complete end, and the file's bytes are those that were written.
    pub(super) fn finish(self, dump: &DumpFile<'_>) -> Result<(), DrillError> {
        let Some(end) = self.end else {
            return Err(DrillError::Spool("it was not read to its end".to_owned()));
        };
        let differs = |written: Sha256, found: Sha256| {
            Err(DrillError::Spool(format!("wrote {written}, read {found}")))
        };
        if let Some(found) = end.stored
            && found != dump.stored.sha256
        {
            return differs(dump.stored.sha256, found);
        }
        let summary = end.check.finish()?;
        if summary.sha256 != dump.plain.sha256 {
            return differs(dump.plain.sha256, summary.sha256);
        }
        Ok(())
    }
}

impl Block {
    /// Each statement and the place in the dump where it begins.
    pub(super) fn statements(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut start = 0;
        self.places.iter().map(move |&(at_bytes, end)| {
            let statement = &self.text[start..end];
            start = end;
            (at_bytes, statement)
        })
    }

    fn push(&mut self, at_bytes: u64, statement: &[u8]) {
        self.text.extend_from_slice(statement);
        self.places.push((at_bytes, self.text.len()));
    }
}

/// Sends the statements block by block; `None` where nobody wants them any more.
fn send_all(
    input: impl Read + Send,
    compression: Compression,
    progress: &Progress,
    blocks: &SyncSender<Message>,
) -> Result<Option<End>, DrillError> {
    let unreadable = |error: io::Error| DrillError::Spool(error.to_string());
    let mut hashing = Hashing {
        input,
        hasher: (compression != Compression::None).then(Hasher::default),
    };
    let text = Checked {
        text: decoder(compression, &mut hashing).map_err(unreadable)?,
        check: Check::default(),
        progress,
    };
    let mut splitter = Splitter::new(text, MAX_STATEMENT_BYTES);
    let mut block = Block::default();
    while let Some((at_bytes, statement)) = splitter.next_statement()? {
        block.push(at_bytes, statement);
        let is_full = block.text.len() >= BLOCK_BYTES;
        if is_full
            && blocks
                .send(Message::Block(std::mem::take(&mut block)))
                .is_err()
        {
            return Ok(None);
        }
    }
    if blocks.send(Message::Block(block)).is_err() {
        return Ok(None);
    }
    let check = splitter.into_input().check;
    // Bytes after the end of the compressed text are part of the file, too.
    io::copy(&mut hashing, &mut io::sink()).map_err(unreadable)?;
    let stored = hashing.hasher.map(Hasher::finish);
    Ok(Some(End { check, stored }))
}

/// The plain text, checked as it is read.
struct Checked<'a, R> {
    text: R,
    check: Check,
    progress: &'a Progress,
}

impl<R: Read> Read for Checked<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.text.read(out)?;
        self.check.update(&out[..count]);
        self.progress.add_bytes(count as u64);
        Ok(count)
    }
}

/// Bytes that are hashed as they are read, where wanted.
struct Hashing<R> {
    input: R,
    hasher: Option<Hasher>,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(out)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&out[..count]);
        }
        Ok(count)
    }
}
