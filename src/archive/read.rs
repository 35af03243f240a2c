//! Reads an archive from beginning to end. Invariant: every entry is the expected one.

use std::io::{self, Read};
use std::ops::ControlFlow;

use super::write::{manifest, sums};
use super::{ArchiveError, Contents, Facts, MANIFEST_NAME, RUNBOOK_NAME, SUMS_NAME};
use crate::dump::decoder;
use crate::types::{ArchiveManifest, ArchiveMember, Compression, Hasher, ObjectKey, counted};

/// Size of the blocks in which text is passed on.
const BLOCK_BYTES: usize = 256 * 1024;

/// Upper bound for the padding after the last entry. A tar is padded with zeros to blocks of 10 kB, or to the larger
/// ones of a tape; without a bound, a few compressed bytes could expand to any number.
const MOST_END_BYTES: usize = 1024 * 1024;

const THE_END: &str = "the end";

/// Reads the whole archive that `expected` describes and verifies every entry.
///
/// # Errors
/// [`ArchiveError::Entry`] for an additional, missing, different or misplaced entry, [`ArchiveError::Differs`], and
/// [`ArchiveError::Io`] if `input` fails or is not a tar.gz.
pub fn read(input: impl Read + Send, expected: &ArchiveManifest) -> Result<(), ArchiveError> {
    let text = decoder(Compression::Gzip, input).map_err(ArchiveError::Io)?;
    let mut tar = tar::Archive::new(text);
    each(&mut tar, expected, |place, entry| {
        place.prove(entry, &mut |_| Ok(()))?;
        Ok(ControlFlow::Continue(()))
    })?;
    only_zeros_follow(&mut tar.into_inner())
}

/// Passes the text of the copy `member` to `sink`, block by block; the last block only after all of its bytes proved
/// correct. Earlier entries are skipped and later ones are not read, so that damage there does no harm.
///
/// # Errors
/// As [`read`], and [`ArchiveError::Sink`].
pub fn read_member(
    input: impl Read + Send,
    expected: &ArchiveManifest,
    member: &ObjectKey,
    mut sink: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), ArchiveError> {
    let text = decoder(Compression::Gzip, input).map_err(ArchiveError::Io)?;
    let mut tar = tar::Archive::new(text);
    each(&mut tar, expected, |place, entry| {
        if place
            .member
            .is_none_or(|known| known.manifest.key != *member)
        {
            return Ok(ControlFlow::Continue(()));
        }
        place.prove(entry, &mut sink)?;
        Ok(ControlFlow::Break(()))
    })
}

/// Calls `visit` with each entry in order, until it breaks; each entry is checked to be the expected one.
fn each<R: Read>(
    tar: &mut tar::Archive<R>,
    expected: &ArchiveManifest,
    mut visit: impl FnMut(&Place<'_>, &mut tar::Entry<'_, R>) -> Result<ControlFlow<()>, ArchiveError>,
) -> Result<(), ArchiveError> {
    let mut places = places(expected).into_iter();
    let mut number = 0;
    // Raw: a long name in an entry of its own would be read into memory, and ours are short.
    for entry in tar.entries().map_err(ArchiveError::Io)?.raw(true) {
        number += 1;
        let mut entry = entry.map_err(ArchiveError::Io)?;
        let place = places.next();
        let found = describe(&entry);
        let wanted = place.as_ref().map_or(THE_END.to_owned(), Place::describe);
        let Some(place) = place.filter(|_| found == wanted) else {
            return Err(ArchiveError::Entry {
                number,
                found,
                expected: wanted,
            });
        };
        if visit(&place, &mut entry)?.is_break() {
            return Ok(());
        }
    }
    match places.next() {
        None => Ok(()),
        Some(place) => Err(ArchiveError::Entry {
            number: number + 1,
            found: THE_END.to_owned(),
            expected: place.describe(),
        }),
    }
}

/// An expected entry.
struct Place<'a> {
    path: &'a str,
    facts: Facts,
    member: Option<&'a ArchiveMember>,
}

fn places(expected: &ArchiveManifest) -> Vec<Place<'_>> {
    let contents = Contents {
        instance: &expected.instance,
        week: expected.week,
        zone: &expected.zone,
        job: expected.job,
        started_at: &expected.started_at,
        members: &expected.members,
        left_out: &expected.left_out,
        runbook: expected.runbook,
        patina_version: &expected.patina_version,
    };
    let small = |path, text: &[u8]| {
        let mut hasher = Hasher::default();
        hasher.update(text);
        Place {
            path,
            facts: Facts::of(hasher.seen_bytes(), hasher.finish()),
            member: None,
        }
    };
    let mut places = vec![
        small(MANIFEST_NAME, &manifest(&contents)),
        small(
            SUMS_NAME,
            sums(&expected.members, expected.runbook).as_bytes(),
        ),
    ];
    places.extend(expected.runbook.map(|facts| Place {
        path: RUNBOOK_NAME,
        facts: Facts(facts),
        member: None,
    }));
    places.extend(expected.members.iter().map(|member| Place {
        path: &member.path,
        facts: Facts(member.manifest.plain),
        member: Some(member),
    }));
    places
}

impl Place<'_> {
    fn describe(&self) -> String {
        format!(
            "a file `{}` of {}",
            self.path,
            counted(self.facts.0.size_bytes, "byte")
        )
    }

    fn prove(
        &self,
        entry: &mut impl Read,
        sink: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), ArchiveError> {
        let mut hand_on = |block: &[u8]| match block.is_empty() {
            true => Ok(()),
            false => sink(block).map_err(ArchiveError::Sink),
        };
        let mut hasher = Hasher::default();
        let mut held = Vec::new();
        loop {
            let mut block = Vec::with_capacity(BLOCK_BYTES);
            let mut part = entry.take(BLOCK_BYTES as u64);
            part.read_to_end(&mut block).map_err(ArchiveError::Io)?;
            if block.is_empty() {
                break;
            }
            hasher.update(&block);
            hand_on(&held)?;
            held = block;
        }
        let found = Facts::of(hasher.seen_bytes(), hasher.finish());
        if found != self.facts {
            return Err(ArchiveError::Differs {
                path: self.path.to_owned(),
                found,
                expected: self.facts,
            });
        }
        hand_on(&held)
    }
}

fn describe(entry: &tar::Entry<'_, impl Read>) -> String {
    let (path, size_bytes) = (
        String::from_utf8_lossy(&entry.path_bytes()).into_owned(),
        entry.size(),
    );
    match entry.header().entry_type() {
        tar::EntryType::Regular => {
            format!("a file `{path}` of {}", counted(size_bytes, "byte"))
        }
        other => format!("`{path}`, a {other:?}"),
    }
}

/// Checks that only zeros follow: any other bytes were added.
fn only_zeros_follow(rest: &mut impl Read) -> Result<(), ArchiveError> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut seen_bytes = 0;
    loop {
        let count = rest.read(&mut block).map_err(ArchiveError::Io)?;
        if count == 0 {
            return Ok(());
        }
        seen_bytes += count;
        if seen_bytes > MOST_END_BYTES {
            let text = "there are more zeros behind the end of the tar than any tool writes";
            return Err(ArchiveError::Io(io::Error::new(
                io::ErrorKind::InvalidData,
                text,
            )));
        }
        if block[..count].iter().any(|byte| *byte != 0) {
            let text = "there are bytes behind the end of the tar";
            return Err(ArchiveError::Io(io::Error::new(
                io::ErrorKind::InvalidData,
                text,
            )));
        }
    }
}
