#![doc = include_str!("ARCHITECTURE.md")]
#![warn(missing_docs)]

// The order matters: a module imports only modules declared above it (checked by tests/it/tidy).
pub mod excerpt;
pub mod quote;
pub mod types;
pub mod dump;
pub mod retention;
pub mod schedule;
pub mod anomaly;
pub mod config;
pub mod clock;
pub mod net;
pub mod progress;
pub mod crosscheck;
pub mod source;
pub mod archive;
pub mod store;
pub mod hook;
pub mod notify;
pub mod catalog;
pub mod wiring;
pub mod guide;
pub mod overview;
pub mod copy;
pub mod task;
pub mod http;

pub mod engine;
pub mod app;
pub mod daemon;
pub mod cli;
