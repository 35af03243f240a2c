//! Makes databases that break backup tools, and compares two databases without any of Patina's code.
//!
//! Invariant: nothing here imports `patina`, so a fault of the dump cannot hide in the test that looks for it.

mod build;
mod compare;
mod dice;
mod random;
mod shell;

pub(crate) use build::{CONTENTLESS, LEAST_FEATURES, build, build_for_d1, build_some};
pub(crate) use build::{build_crlf_schema, build_open_comment, build_utf16};
pub(crate) use compare::{compare, compare_except};
pub(crate) use dice::Dice;
pub(crate) use random::random_database;
pub(crate) use shell::{Shell, shell_restore};

#[cfg(test)]
mod tests;
