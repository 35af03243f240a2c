//! Finds a stored copy and reads it back as plain SQL, from its own object or from an archive. Invariant: text that was
//! passed on to its end is correct in every byte.

mod find;
mod read;

pub use find::{Found, Way, by_key, of_day, ways};
pub use read::{
    MAX_MANIFEST_BYTES, ReadingError, check_manifest, read_archive, read_copy, read_member,
};
