//! Holds the verbs. Invariant: each file has one public function that does one thing from beginning to end.

pub mod drill;
pub mod spool;
