//! Every integration test, in one binary: each binary links SQLite and the whole crate anew.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod alerts;
mod backup_crash;
mod backup_faults;
mod browser;
mod catalog;
mod catalog_file;
mod catalog_history;
mod catalog_kill;
mod catalog_week;
mod cli;
mod config;
mod config_words;
mod crosscheck;
mod d1;
mod daemon;
mod dump_torture;
mod dump_reading;
mod dump_values;
mod dumping;
mod file_identity;
mod flavour;
mod guide;
mod http;
mod hooks;
mod images;
mod killed;
mod live;
mod measures;
mod night;
mod overview;
mod package;
mod simulated;
mod sqlite_source;
mod restore;
mod sabotage;
mod s3;
mod store;
mod store_contract;
mod store_crash;
mod systemd;
mod tidy;
mod torture;
mod version_0_1;
mod week;
