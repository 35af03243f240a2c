//! Accesses variables and files that a configuration refers to. Invariant: no other module here does.

use std::io;
use std::path::{Path, PathBuf};

use super::deadline::looks_at;
use super::regular::read_text;

/// Access of the configuration to things outside its own text.
pub trait Environment {
    /// Value of an environment variable; `None` if it is not set or not UTF-8.
    fn var(&self, name: &str) -> Option<String>;

    /// Text of a regular file, bounded.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// Files of a folder, in any order.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;

    /// True if a regular file, or a link to one, is at `path`.
    fn is_file(&self, path: &Path) -> bool;

    /// Permission bits of a file; `None` if the file does not exist.
    fn mode(&self, path: &Path) -> Option<u32>;
}

/// Environment and file system of the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Environment for System {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        read_text(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        looks_at(folder);
        std::fs::read_dir(folder)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect()
    }

    fn is_file(&self, path: &Path) -> bool {
        looks_at(path);
        path.is_file()
    }

    fn mode(&self, path: &Path) -> Option<u32> {
        use std::os::unix::fs::PermissionsExt;
        looks_at(path);
        let facts = std::fs::metadata(path).ok()?;
        Some(facts.permissions().mode() & 0o777)
    }
}
