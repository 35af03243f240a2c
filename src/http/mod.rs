//! Answers who asks over the network. Invariant: it reads the catalog and opens stores; it never runs a job itself.

pub mod metrics;
pub mod page;
