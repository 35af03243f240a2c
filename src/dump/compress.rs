//! Compresses a dump on its way out and decompresses it again. gzip is compressed in blocks on two threads.
//!
//! Each block becomes a separate gzip member. RFC 1952 lets members follow each other, and `gunzip` and every library
//! read them as one text. This allows the use of libdeflate, which is faster than zlib and compresses better.

use std::collections::VecDeque;
use std::io::{self, BufReader, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use libdeflater::{CompressionLvl, Compressor};

use crate::types::Compression;

/// Bytes of text that one thread deflates at a time; larger blocks hardly compress better (benches/).
const BLOCK_BYTES: usize = 1024 * 1024;

/// Buffer size for reading a compressed file, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// Number of deflating threads. The machine also reads, formats and hashes.
const THREADS: usize = 2;

/// Compression level of gzip, at which libdeflate is both faster than `gzip -6` and no larger (benches/).
const GZIP_LEVEL: i32 = 6;

/// Compression level of zstd: its own default.
#[cfg(feature = "zstd")]
const ZSTD_LEVEL: i32 = 3;

/// Number of zstd threads, and below it the bytes that each takes at a time; more would only use memory.
#[cfg(feature = "zstd")]
const ZSTD_THREADS: u32 = 2;
#[cfg(feature = "zstd")]
const ZSTD_JOB_BYTES: u32 = 2 * 1024 * 1024;

/// A writer that compresses what is written to it into `W`.
pub struct Encoder<W: Write>(Kind<W>);

enum Kind<W: Write> {
    Plain(W),
    Gzip(ParallelGzip<W>),
    #[cfg(feature = "zstd")]
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    /// Creates an encoder that writes to `out`.
    ///
    /// # Errors
    /// Those of `out`, and `Unsupported` for zstd in a build without it.
    pub fn new(compression: Compression, out: W) -> io::Result<Self> {
        Ok(Self(match compression {
            Compression::None => Kind::Plain(out),
            Compression::Gzip => Kind::Gzip(ParallelGzip::new(out)?),
            #[cfg(feature = "zstd")]
            Compression::Zstd => {
                let mut encoder = zstd::Encoder::new(out, ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                encoder.multithread(ZSTD_THREADS)?;
                encoder.set_parameter(zstd::zstd_safe::CParameter::JobSize(ZSTD_JOB_BYTES))?;
                Kind::Zstd(encoder)
            }
            #[cfg(not(feature = "zstd"))]
            Compression::Zstd => return Err(no_zstd()),
        }))
    }

    /// Writes the remaining data and returns `out`.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Kind::Plain(out) => Ok(out),
            Kind::Gzip(gzip) => gzip.finish(),
            #[cfg(feature = "zstd")]
            Kind::Zstd(zstd) => zstd.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Plain(out) => out.write(bytes),
            Kind::Gzip(gzip) => gzip.write(bytes),
            #[cfg(feature = "zstd")]
            Kind::Zstd(zstd) => zstd.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reader of decompressed text.
pub type Decoder<'a> = Box<dyn Read + Send + 'a>;

/// Returns a reader of the decompressed text of `input`.
///
/// # Errors
/// `Unsupported` for zstd in a build without it. Damaged input is reported as an error of reading.
pub fn decoder<'a>(
    compression: Compression,
    input: impl Read + Send + 'a,
) -> io::Result<Decoder<'a>> {
    Ok(match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => {
            let input = BufReader::with_capacity(READ_BYTES, input);
            Box::new(flate2::bufread::MultiGzDecoder::new(input))
        }
        #[cfg(feature = "zstd")]
        Compression::Zstd => Box::new(zstd::Decoder::new(input)?),
        #[cfg(not(feature = "zstd"))]
        Compression::Zstd => return Err(no_zstd()),
    })
}

#[cfg(not(feature = "zstd"))]
fn no_zstd() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "this build cannot use zstd\nhint: use gzip, or build with the feature `zstd`",
    )
}

struct Job {
    input: Vec<u8>,
    reply: SyncSender<io::Result<Vec<u8>>>,
}

struct ParallelGzip<W> {
    out: W,
    jobs: SyncSender<Job>,
    pending: VecDeque<Receiver<io::Result<Vec<u8>>>>,
    input: Vec<u8>,
    is_empty: bool,
}

impl<W: Write> ParallelGzip<W> {
    fn new(out: W) -> io::Result<Self> {
        let (jobs, queue) = sync_channel::<Job>(THREADS);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..THREADS {
            let queue = Arc::clone(&queue);
            thread::Builder::new()
                .name("gzip".to_owned())
                .spawn(move || deflate_jobs(&queue))?;
        }
        Ok(Self {
            out,
            jobs,
            pending: VecDeque::new(),
            input: Vec::with_capacity(BLOCK_BYTES),
            is_empty: true,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BLOCK_BYTES - self.input.len());
        self.input.extend_from_slice(&bytes[..taken]);
        if self.input.len() == BLOCK_BYTES {
            self.submit()?;
        }
        Ok(taken)
    }

    fn submit(&mut self) -> io::Result<()> {
        self.is_empty = false;
        let input = std::mem::replace(&mut self.input, Vec::with_capacity(BLOCK_BYTES));
        let (reply, block) = sync_channel(1);
        self.jobs
            .send(Job { input, reply })
            .map_err(|_| threads_gone())?;
        self.pending.push_back(block);
        while self.pending.len() > 2 * THREADS {
            self.collect()?;
        }
        Ok(())
    }

    fn collect(&mut self) -> io::Result<()> {
        let Some(block) = self.pending.pop_front() else {
            return Ok(());
        };
        let member = block.recv().map_err(|_| threads_gone())??;
        self.out.write_all(&member)
    }

    fn finish(mut self) -> io::Result<W> {
        // An empty text becomes one empty member: an empty file is not a gzip file.
        if !self.input.is_empty() || self.is_empty {
            self.submit()?;
        }
        while !self.pending.is_empty() {
            self.collect()?;
        }
        Ok(self.out)
    }
}

fn threads_gone() -> io::Error {
    io::Error::other("a compressing thread ended early")
}

fn deflate_jobs(queue: &Mutex<Receiver<Job>>) {
    let mut compressor =
        Compressor::new(CompressionLvl::new(GZIP_LEVEL).expect("6 is a level of libdeflate"));
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { input, reply }) = job else {
            return;
        };
        let mut member = vec![0; compressor.gzip_compress_bound(input.len())];
        let outcome = compressor.gzip_compress(&input, &mut member).map(|length| {
            member.truncate(length);
            member
        });
        // The receiver is gone if the dump was aborted; the result is then not needed.
        let _ = reply.send(outcome.map_err(io::Error::other));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_round_trip(compression: Compression, text: &[u8]) {
        let mut encoder = Encoder::new(compression, Vec::new()).unwrap();
        for part in text.chunks(10_007) {
            encoder.write_all(part).unwrap();
        }
        let stored = encoder.finish().unwrap();
        let mut back = Vec::new();
        decoder(compression, stored.as_slice())
            .unwrap()
            .read_to_end(&mut back)
            .unwrap();
        assert!(back == text, "{compression:?} of {} bytes", text.len());
    }

    #[test]
    fn what_was_compressed_reads_back_the_same() {
        let mut state = 7u32;
        let noise: Vec<u8> = (0..3 * BLOCK_BYTES + 17)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        let prose = b"INSERT INTO \"t\" VALUES (1,'one');\n".repeat(40_000);
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            for text in [&b""[..], b"x", &noise, &prose, &prose[..BLOCK_BYTES]] {
                check_round_trip(compression, text);
            }
        }
    }

    #[test]
    fn a_cut_or_flipped_file_is_an_error() {
        let text = b"INSERT INTO \"t\" VALUES (1,'one');\n".repeat(40_000);
        for compression in [Compression::Gzip, Compression::Zstd] {
            let mut encoder = Encoder::new(compression, Vec::new()).unwrap();
            encoder.write_all(&text).unwrap();
            let stored = encoder.finish().unwrap();
            let mut flipped = stored.clone();
            let last = flipped.len() - 1;
            flipped[last / 2] ^= 0x10;
            for damaged in [&stored[..last], &flipped] {
                let mut back = Vec::new();
                let outcome = decoder(compression, damaged)
                    .unwrap()
                    .read_to_end(&mut back);
                assert!(outcome.is_err(), "{compression:?}");
            }
        }
    }
}
