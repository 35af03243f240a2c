//! Runs weeks and years of backups with the real engine on a clock, a bucket and crashes that a test holds in its
//! hands.

mod archives;
pub(crate) mod damaged;
mod held;
mod kept;
pub(crate) mod kill;
mod listing;
mod reading;
mod shared;
mod simulator;
mod scripts;
mod skipped;
pub(crate) mod world;
mod year;
