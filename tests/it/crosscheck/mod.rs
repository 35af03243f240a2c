//! Compares sources and restored copies by code that shares nothing with Patina's reader, writer or check.
//!
//! Invariant: only `patina.rs` imports `patina`.

mod compare;
mod damage;
mod generator;
mod inventory;
mod patina;
mod program;
mod real;
mod schemas;
mod tests;

use std::path::Path;

use tempfile::TempDir;

use self::compare::Difference;
use self::patina::{Copied, Exception};

/// A folder in memory where there is one: thousands of small files wait for no disk there.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    match tempfile::tempdir_in(memory) {
        Ok(folder) => folder,
        Err(_) => tempfile::tempdir().unwrap(),
    }
}

/// The differences that a copy does not admit: all of them in class A, else those whose object no exception names.
fn silent(copied: &Copied, differences: Vec<Difference>) -> Vec<Difference> {
    let is_declared = |difference: &Difference| {
        let names = |exception: &Exception| {
            let object = &exception.object;
            let is_it = |name: &String| name.eq_ignore_ascii_case(object);
            difference.objects.iter().any(is_it)
        };
        copied.class != "A" && copied.exceptions.iter().any(names)
    };
    differences
        .into_iter()
        .filter(|difference| !is_declared(difference))
        .collect()
}
