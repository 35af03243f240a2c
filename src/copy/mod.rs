//! Finds a stored copy and reads it back as plain SQL, out of its own object or out of an archive. Invariant: what is
//! handed on to its end was right in every byte.

mod find;
mod read;

pub use find::{Found, Way, by_key, of_day, ways};
pub use read::{
    MAX_MANIFEST_BYTES, ReadingError, check_manifest, read_archive, read_copy, read_member,
};
