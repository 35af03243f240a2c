//! Reads objects. Invariant: a reader returns one version of the object without gaps, however often the connection
//! breaks; a reader that ends early fails.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures_util::stream;
use tokio_util::io::StreamReader;

use crate::types::{ObjectKey, counted};

use super::super::Reader;
use super::bucket::Bucket;
use super::error::Refusal;

/// Opens an object, or the part of `range` that lies within it.
pub(super) async fn open(
    bucket: &Arc<Bucket>,
    key: &ObjectKey,
    range: Option<Range<u64>>,
) -> Result<Option<Reader>, Refusal> {
    if range.as_ref().is_some_and(Range::is_empty) {
        let found = bucket.stat(key).await?;
        return Ok(found.map(|_| -> Reader { Box::pin(tokio::io::empty()) }));
    }
    let path = bucket.path(key);
    let asked = bucket
        .client
        .get_object()
        .bucket(&bucket.bucket_name)
        .key(&path);
    let asked = asked.set_range(range.as_ref().map(header));
    let answer = match asked.send().await {
        Ok(answer) => answer,
        Err(error) => match bucket.refusal(&error) {
            refusal if refusal.is_no_key() => return Ok(None),
            refusal if refusal.is_beyond() => return Ok(Some(Box::pin(tokio::io::empty()))),
            refusal => return Err(refusal),
        },
    };
    let next = range.as_ref().map_or(0, |range| range.start);
    let length = length(&answer, range.is_some().then_some(next))?;
    let whole = range.as_ref().map(|range| range.end - range.start);
    if whole.is_some_and(|most| length > most) {
        return Err(Refusal::odd("it sends more than was asked for"));
    }
    let download = Download {
        bucket: Arc::clone(bucket),
        path,
        etag: answer.e_tag,
        body: Some(answer.body),
        next,
        end: next + length,
        resumes: 0,
    };
    let pieces = stream::try_unfold(download, Download::piece);
    Ok(Some(Box::pin(StreamReader::new(Box::pin(pieces)))))
}

/// Number of bytes in a response. `start`: the response must be for a range that begins there.
fn length(answer: &GetObjectOutput, start: Option<u64>) -> Result<u64, Refusal> {
    if let Some(start) = start {
        let given = answer.content_range.as_deref().unwrap_or_default();
        let given = given.strip_prefix("bytes ").unwrap_or_default();
        let first = given.split_once('-').map(|(first, _)| first.parse());
        if first != Some(Ok(start)) {
            return Err(Refusal::odd(
                "it was asked for a part of the object and sends another",
            ));
        }
    }
    let length = answer.content_length;
    let length = length.and_then(|length| u64::try_from(length).ok());
    length.ok_or_else(|| Refusal::odd("it does not say how long the object is"))
}

fn header(range: &Range<u64>) -> String {
    format!("bytes={}-{}", range.start, range.end - 1)
}

/// An object being downloaded.
struct Download {
    bucket: Arc<Bucket>,
    path: String,
    /// Version of the object.
    etag: Option<String>,
    /// Absent after the connection broke.
    body: Option<ByteStream>,
    /// Offset of the next byte.
    next: u64,
    /// Offset after the last byte.
    end: u64,
    resumes: u32,
}

impl Download {
    /// Returns the next piece; `None` after the last.
    async fn piece(mut self) -> io::Result<Option<(Bytes, Self)>> {
        while self.next < self.end {
            let broken = match self.body.as_mut() {
                None => "no answer".to_owned(),
                Some(body) => {
                    let idle = self.bucket.patience.idle;
                    match tokio::time::timeout(idle, body.next()).await {
                        Ok(Some(Ok(piece))) => return self.took(piece).map(Some),
                        Ok(Some(Err(error))) => error.to_string(),
                        Ok(None) => "the answer ended early".to_owned(),
                        Err(_) => format!("nothing came for {}", humantime::format_duration(idle)),
                    }
                }
            };
            self.resume(&broken).await?;
        }
        Ok(None)
    }

    fn took(mut self, piece: Bytes) -> io::Result<(Bytes, Self)> {
        self.next += piece.len() as u64;
        if self.next > self.end {
            return Err(io::Error::other("more bytes came than were announced"));
        }
        Ok((piece, self))
    }

    /// Requests the rest of the same version.
    async fn resume(&mut self, broken: &str) -> io::Result<()> {
        self.body = None;
        let patience = self.bucket.patience;
        let Some(etag) = self.etag.clone() else {
            return Err(io::Error::other(format!("{broken}, and there is no ETag")));
        };
        if self.resumes >= patience.resumes {
            let times = counted(self.resumes, "time");
            return Err(io::Error::other(format!(
                "{broken}, after it was taken up again {times}"
            )));
        }
        let delay = patience.delay(self.resumes);
        self.resumes += 1;
        tracing::warn!(
            store = self.bucket.store_name,
            at_bytes = self.next,
            "storage `{}`: taking up `{}` again at byte {}: {broken}",
            self.bucket.store_name,
            self.path,
            self.next
        );
        self.bucket.clock.sleep(delay).await;
        match self.rest(etag).await {
            Ok(body) => self.body = Some(body),
            Err(refusal) if refusal.is_retryable() => {}
            Err(refusal) if refusal.is_precondition() || refusal.is_no_key() => {
                return Err(io::Error::other("the object changed while it was read"));
            }
            Err(refusal) => return Err(io::Error::other(refusal.kind.to_string())),
        }
        Ok(())
    }

    async fn rest(&self, etag: String) -> Result<ByteStream, Refusal> {
        let bucket = &self.bucket;
        let asked = bucket.client.get_object().bucket(&bucket.bucket_name);
        let asked = asked.key(&self.path).if_match(&etag);
        let answer = asked.range(header(&(self.next..self.end))).send().await;
        let answer = answer.map_err(|error| bucket.refusal(&error))?;
        let same = answer.e_tag == Some(etag);
        if !same || length(&answer, Some(self.next))? != self.end - self.next {
            return Err(Refusal::odd("it sends another part than the one asked for"));
        }
        Ok(answer.body)
    }
}
