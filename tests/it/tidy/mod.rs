//! Holds `src/` to the order of `src/lib.rs` and to what each room may name.
//!
//! Invariant: the checker works on a tree of texts, so every rule is also shown a tree that breaks it.

mod counting;
mod rules;
mod tokens;

use std::path::Path;

use rules::{File, check};

/// Fewer files mean that the scan looked in the wrong place.
const LEAST_FILES: usize = 15;

#[test]
fn every_module_keeps_to_the_order_of_lib_rs() {
    let files = read_tree(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(
        files.len() >= LEAST_FILES,
        "only {} files read: has src/ moved?",
        files.len()
    );
    let broken = check(&files);
    assert!(
        broken.is_empty(),
        "{} rules broken\n\n{}\n",
        broken.len(),
        broken.join("\n\n")
    );
}

/// Every `.rs` file under `src/`, by its path below `src/`.
fn read_tree(root: &Path) -> Vec<File> {
    let src = root.join("src");
    let mut files = Vec::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path
                    .strip_prefix(&src)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                let text = std::fs::read_to_string(&path).unwrap();
                files.push(File { name, text });
            }
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}
