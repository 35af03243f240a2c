//! Brings copies back by the real binary, from real storages, and holds what comes back against what was backed up.

mod cloud;
mod drill;
mod faults;
mod files;
mod kill;
mod questions;
pub(crate) mod site;
