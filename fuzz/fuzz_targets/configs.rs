//! Reads any text as `patina.toml`: it is a configuration, or its findings can be printed.

#![no_main]

use std::io;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use patina::config::{Config, Environment};

struct Nothing;

impl Environment for Nothing {
    fn var(&self, _: &str) -> Option<String> {
        None
    }

    fn read(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn is_file(&self, _: &Path) -> bool {
        false
    }

    fn mode(&self, _: &Path) -> Option<u32> {
        None
    }
}

fuzz_target!(|text: &str| {
    match Config::from_text(text, "patina.toml", Path::new("/"), &Nothing) {
        Ok(loaded) => assert!(loaded.config.databases().len() <= text.len()),
        Err(problems) => assert!(!problems.to_string().is_empty()),
    }
});
