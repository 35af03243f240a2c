//! Reads a dump's header and trailer. Invariant: a dump that was truncated or changed has no valid trailer.

use memchr::memmem;

use crate::types::{Hasher, Sha256, grouped};

const RULE: &str = "-- ================================================";
const TRAILER_START: &str =
    "-- ================================================\n-- Backup Complete\n";
const DIGEST_LABEL: &str = "-- SHA-256 (all lines above this block): ";

/// Upper bound for the length of a trailer, in bytes.
const TAIL_BYTES: usize = 1024;

/// Upper bound for the part of the header that is read, in bytes; one line per table without rows can make it longer
/// than a screen.
const HEAD_BYTES: usize = 256 * 1024;

/// Checks a dump's text while it streams through.
///
/// ```
/// use patina::dump::{Check, ReadError};
///
/// let mut check = Check::default();
/// check.update(b"CREATE TABLE a(b);\n");
/// assert_eq!(check.finish(), Err(ReadError::NotADump));
/// ```
#[derive(Default)]
pub struct Check {
    head: Vec<u8>,
    tail: Vec<u8>,
    above: Hasher,
}

/// Data that a complete dump states about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The labelled lines of the header, in order: `("Generated", "2026-…")`.
    pub header: DumpHeader,
    /// Digest of the whole text.
    pub sha256: Sha256,
    /// Length of the whole text.
    pub size_bytes: u64,
}

/// The labelled lines at the top of a dump.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DumpHeader(Vec<(String, String)>);

impl DumpHeader {
    /// Returns the text after `-- <label>: `, of the first line that has the label.
    pub fn get(&self, label: &str) -> Option<&str> {
        let line = self.0.iter().find(|(name, _)| name == label);
        line.map(|(_, text)| text.as_str())
    }

    fn read(head: &[u8]) -> Self {
        let text = String::from_utf8_lossy(head);
        let lines = text.lines().skip(1).take_while(|line| *line != RULE);
        let labelled = lines.filter_map(|line| line.strip_prefix("-- ")?.split_once(": "));
        Self(
            labelled
                .map(|(label, text)| (label.to_owned(), text.to_owned()))
                .collect(),
        )
    }
}

/// The reason that a text is not a complete Patina dump.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The first line is not that of a dump.
    #[error("the text does not begin as a dump does")]
    NotADump,
    /// The end is missing.
    #[error("the dump ends at byte {size_bytes} without its trailer: it was cut")]
    Cut {
        /// Offset at which the text ends.
        size_bytes: u64,
    },
    /// The lines differ from those that were written.
    #[error("the dump's lines have the digest {found}, its trailer says {stated}: it was changed")]
    Changed {
        /// The digest in the trailer.
        stated: String,
        /// The digest of the lines.
        found: Sha256,
    },
    /// A line of the trailer differs from what the writer would have written there.
    #[error(
        "the dump's trailer says `{line}`, which the lines above it contradict: it was changed"
    )]
    Contradicts {
        /// The line.
        line: String,
    },
}

impl Check {
    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let room = HEAD_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..room]);
        self.tail.extend_from_slice(bytes);
        let settled = self.tail.len().saturating_sub(TAIL_BYTES);
        // Removing a few bytes from the front of `tail` each time would be slow.
        if settled >= TAIL_BYTES {
            self.above.update(&self.tail[..settled]);
            self.tail.drain(..settled);
        }
    }

    /// Returns the dump's data after its whole text was added.
    ///
    /// # Errors
    /// If it is not a Patina dump, was truncated, or was changed.
    pub fn finish(mut self) -> Result<Summary, ReadError> {
        if !self.head.starts_with(RULE.as_bytes()) {
            return Err(ReadError::NotADump);
        }
        let size_bytes = self.above.seen_bytes() + self.tail.len() as u64;
        let cut = ReadError::Cut { size_bytes };
        let at = memmem::rfind(&self.tail, TRAILER_START.as_bytes()).ok_or(cut.clone())?;
        let trailer = String::from_utf8_lossy(&self.tail[at..]).into_owned();
        let lines: Vec<&str> = trailer.lines().collect();
        let stated = lines
            .iter()
            .find_map(|line| line.strip_prefix(DIGEST_LABEL));
        let is_closed = trailer.ends_with('\n') && lines.last() == Some(&RULE) && lines.len() > 2;
        let (Some(stated), true) = (stated, is_closed) else {
            return Err(cut);
        };
        self.above.update(&self.tail[..at]);
        let mut whole = self.above.clone();
        whole.update(&self.tail[at..]);
        let found = self.above.finish();
        if stated != found.to_string() {
            let stated = stated.to_owned();
            return Err(ReadError::Changed { stated, found });
        }
        let header = DumpHeader::read(&self.head);
        check_trailer(&lines, &header, size_bytes)?;
        Ok(Summary {
            header,
            sha256: whole.finish(),
            size_bytes,
        })
    }
}

/// Checks the trailer's own lines, which no digest covers, against the header and the size.
fn check_trailer(lines: &[&str], header: &DumpHeader, size_bytes: u64) -> Result<(), ReadError> {
    let rows = header.get("Total Rows").unwrap_or_default();
    let expected = [
        RULE.to_owned(),
        "-- Backup Complete".to_owned(),
        "-- Duration: ".to_owned(),
        format!("-- Total Rows: {rows}"),
        format!("-- Size: {} bytes", grouped(size_bytes)),
        DIGEST_LABEL.to_owned(),
        RULE.to_owned(),
    ];
    let is_right = |line: &str, expected: &str| match expected.strip_suffix(": ") {
        Some(_) => line.starts_with(expected),
        None => line == expected,
    };
    for at in 0..lines.len().max(expected.len()) {
        let line = lines.get(at).copied().unwrap_or_default();
        let is_duration_odd = at == 2 && !line.ends_with('s');
        if is_duration_odd || !expected.get(at).is_some_and(|known| is_right(line, known)) {
            let line = line.to_owned();
            return Err(ReadError::Contradicts { line });
        }
    }
    Ok(())
}
