//! Every integration test, in one binary: each binary links SQLite and the whole crate anew.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod tidy;
mod torture;
