//! Reads a spool's text on a thread of its own: hashing and decompressing overlap with restoring.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::{DrillError, DumpFile};
use crate::dump::{Check, decoder};
use crate::progress::Progress;
use crate::types::{Compression, Hasher, Sha256};

/// How much text is handed over at a time, and how many such blocks may wait.
const BLOCK_BYTES: usize = 256 * 1024;
const WAITING_BLOCKS: usize = 4;

/// The plain text of a spool.
pub(super) struct Text {
    blocks: Receiver<Block>,
    block: Vec<u8>,
    taken: usize,
    end: Option<Box<End>>,
}

enum Block {
    Text(Vec<u8>),
    End(Box<End>),
    Failed(io::Error),
}

/// What the thread knows at the end of the text.
struct End {
    check: Check,
    /// The file's digest; `None` where the file is the text.
    stored: Option<Sha256>,
}

impl Text {
    pub(super) fn open(dump: &DumpFile<'_>, progress: &Arc<Progress>) -> Result<Self, DrillError> {
        let file = File::open(dump.path).map_err(|e| DrillError::Spool(e.to_string()))?;
        let compression = dump.stored.compression;
        let progress = Arc::clone(progress);
        let (sender, blocks) = sync_channel(WAITING_BLOCKS);
        std::thread::Builder::new()
            .name("drill-read".to_owned())
            .spawn(move || {
                let last = match send_all(file, compression, &progress, &sender) {
                    Ok(Some(end)) => Block::End(Box::new(end)),
                    Ok(None) => return,
                    Err(error) => Block::Failed(error),
                };
                // Nobody reads on where the drill ended early.
                let _ = sender.send(last);
            })
            .map_err(|error| DrillError::Scratch(error.to_string()))?;
        Ok(Self {
            blocks,
            block: Vec::new(),
            taken: 0,
            end: None,
        })
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

impl Read for Text {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.block.len() {
            if self.end.is_some() {
                return Ok(0);
            }
            match self.blocks.recv() {
                Ok(Block::Text(text)) => self.block = text,
                Ok(Block::End(end)) => {
                    self.end = Some(end);
                    return Ok(0);
                }
                Ok(Block::Failed(error)) => return Err(error),
                Err(_) => return Err(io::Error::other("the reading thread ended early")),
            }
            self.taken = 0;
        }
        let count = out.len().min(self.block.len() - self.taken);
        out[..count].copy_from_slice(&self.block[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

/// Sends the text block by block; `None` where nobody wants it any more.
fn send_all(
    file: File,
    compression: Compression,
    progress: &Progress,
    blocks: &SyncSender<Block>,
) -> io::Result<Option<End>> {
    let mut hashing = Hashing {
        file,
        hasher: (compression != Compression::None).then(Hasher::default),
    };
    let mut check = Check::default();
    {
        let mut text = decoder(compression, &mut hashing)?;
        loop {
            let mut block = Vec::with_capacity(BLOCK_BYTES);
            (&mut text)
                .take(BLOCK_BYTES as u64)
                .read_to_end(&mut block)?;
            if block.is_empty() {
                break;
            }
            check.update(&block);
            progress.add_bytes(block.len() as u64);
            if blocks.send(Block::Text(block)).is_err() {
                return Ok(None);
            }
        }
    }
    // Bytes after the end of the compressed text are part of the file, too.
    io::copy(&mut hashing, &mut io::sink())?;
    let stored = hashing.hasher.map(Hasher::finish);
    Ok(Some(End { check, stored }))
}

/// A file that is hashed as it is read, where wanted.
struct Hashing {
    file: File,
    hasher: Option<Hasher>,
}

impl Read for Hashing {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(out)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&out[..count]);
        }
        Ok(count)
    }
}
