//! Parses the requested byte range of a copy (RFC 9110, sections 13.1.5 and 14).

use axum::http::header::{HeaderMap, IF_RANGE, RANGE};

/// A byte range: the first byte, and the one after the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct Part {
    pub(in crate::http) from: u64,
    pub(in crate::http) until: u64,
}

impl Part {
    pub(super) fn length(self) -> u64 {
        self.until - self.from
    }

    /// Returns the part of a block at offset `at` that lies in this range.
    pub(super) fn of(self, at: u64, block: &[u8]) -> &[u8] {
        let place = |byte: u64| {
            let place = byte.saturating_sub(at).min(block.len() as u64);
            usize::try_from(place).expect("no larger than the block")
        };
        &block[place(self.from)..place(self.until)]
    }
}

/// Content to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Asked {
    /// The whole text.
    Whole(Part),
    /// One range of it.
    Part(Part),
}

impl Asked {
    /// Parses the range headers for a text of this size. `None`: the range is not satisfiable.
    ///
    /// Several ranges or a malformed one are answered with the whole text, as the RFC allows; so is a range whose
    /// `If-Range` does not match `etag`.
    pub(in crate::http) fn read(headers: &HeaderMap, etag: &str, size_bytes: u64) -> Option<Self> {
        let whole = Self::Whole(Part {
            from: 0,
            until: size_bytes,
        });
        let is_other = headers.get(IF_RANGE).is_some_and(|known| known != etag);
        let range = headers.get(RANGE).filter(|_| !is_other);
        let range = range.and_then(|range| range.to_str().ok());
        match range.and_then(|range| parse(range, size_bytes)) {
            None => Some(whole),
            Some(part) if part.from < part.until => Some(Self::Part(part)),
            Some(_) => None,
        }
    }

    pub(in crate::http) fn part(self) -> Part {
        match self {
            Self::Whole(part) | Self::Part(part) => part,
        }
    }
}

/// Parses a `Range` header. `None`: malformed, or more than one range. An empty range lies beyond the text.
fn parse(text: &str, size_bytes: u64) -> Option<Part> {
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !unit.trim().eq_ignore_ascii_case("bytes") || !is_plain(first) || !is_plain(last) {
        return None;
    }
    // A number beyond `u64` counts as the largest one.
    let number = |text: &str| text.parse().unwrap_or(u64::MAX);
    Some(match (first.is_empty(), last.is_empty()) {
        (true, true) => return None,
        (true, false) => Part {
            from: size_bytes.saturating_sub(number(last)),
            until: size_bytes,
        },
        (false, true) => Part {
            from: number(first),
            until: size_bytes,
        },
        (false, false) if number(last) < number(first) => return None,
        (false, false) => Part {
            from: number(first),
            until: number(last).saturating_add(1).min(size_bytes),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(range: &str, if_range: Option<&str>) -> Option<Asked> {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, range.parse().unwrap());
        if let Some(known) = if_range {
            headers.insert(IF_RANGE, known.parse().unwrap());
        }
        Asked::read(&headers, "\"e\"", 100)
    }

    #[test]
    fn one_range_is_read_and_what_is_none_gives_the_whole() {
        let part = |from, until| Some(Asked::Part(Part { from, until }));
        let whole = Some(Asked::Whole(Part {
            from: 0,
            until: 100,
        }));
        for (range, wanted) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=10-19", part(10, 20)),
            ("Bytes=90-", part(90, 100)),
            ("bytes=90-1000", part(90, 100)),
            ("bytes=-7", part(93, 100)),
            ("bytes=-700", part(0, 100)),
            ("bytes=0-99999999999999999999", part(0, 100)),
            ("bytes=100-", None),
            ("bytes=-0", None),
            ("bytes=200-300", None),
            ("bytes=0-1,5-6", whole),
            ("bytes=5-2", whole),
            ("bytes=-", whole),
            ("bytes=a-b", whole),
            ("bytes=+1-2", whole),
            ("rows=0-1", whole),
        ] {
            assert_eq!(asked(range, None), wanted, "{range}");
        }
        assert_eq!(asked("bytes=1-2", Some("\"e\"")), part(1, 3));
        assert_eq!(asked("bytes=1-2", Some("\"other\"")), whole);
    }

    #[test]
    fn blocks_are_cut_to_the_part() {
        let part = Part { from: 5, until: 12 };
        let text: Vec<u8> = (0..20).collect();
        for size in 1..20 {
            let mut found = Vec::new();
            for (number, block) in text.chunks(size).enumerate() {
                found.extend_from_slice(part.of((number * size) as u64, block));
            }
            assert_eq!(found, text[5..12], "{size}");
        }
    }
}
