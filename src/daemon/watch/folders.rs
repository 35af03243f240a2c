//! Finds the folders in which a change of a path is visible. Invariant: each is a real path, so that an event's path
//! is, too.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The kernel's limit for links in one path.
const MOST_LINKS: u32 = 40;

/// Follows an absolute path as the kernel does. Adds the folder of each link on the way and the folder at the end to
/// `folders`, and returns the end of the path. If a component is missing, the path ends in the folder that lacks it.
pub(super) fn follow(path: &Path, folders: &mut BTreeSet<PathBuf>) -> PathBuf {
    let mut ahead: VecDeque<OsString> = names(path).collect();
    let mut here = PathBuf::from("/");
    let mut links = 0;
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&name);
        let facts = fs::symlink_metadata(&next);
        if facts.as_ref().is_ok_and(|facts| facts.is_symlink()) && links < MOST_LINKS {
            links += 1;
            folders.insert(here.clone());
            let target = fs::read_link(&next).unwrap_or_default();
            if target.is_absolute() {
                here = PathBuf::from("/");
            }
            for name in names(&target).collect::<Vec<_>>().into_iter().rev() {
                ahead.push_front(name);
            }
            continue;
        }
        if facts.is_err() || ahead.is_empty() {
            folders.insert(here);
            return next;
        }
        here = next;
    }
    folders.insert(here.clone());
    here
}

fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn each_link_and_the_end_of_the_way_are_watched_and_an_absent_part_where_it_would_appear() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let at = |name: &str| root.join(name);
        fs::create_dir_all(at("etc")).unwrap();
        fs::create_dir_all(at("mount/..v1")).unwrap();
        fs::write(at("mount/..v1/patina.toml"), "").unwrap();
        symlink("..v1", at("mount/..data")).unwrap();
        symlink("..data/patina.toml", at("mount/patina.toml")).unwrap();
        symlink(at("mount/patina.toml"), at("etc/patina.toml")).unwrap();
        symlink("loop", at("loop")).unwrap();
        for (path, end, expected) in [
            (
                "etc/patina.toml",
                "mount/..v1/patina.toml",
                vec!["etc", "mount", "mount/..v1"],
            ),
            ("etc/../etc/new", "etc/new", vec!["etc"]),
            ("absent/conf.d/*", "absent", vec![""]),
            ("loop/x", "loop/x", vec!["", "loop"]),
        ] {
            let mut folders = BTreeSet::new();
            assert_eq!(follow(&at(path), &mut folders), at(end), "{path}");
            let expected: BTreeSet<PathBuf> = expected
                .into_iter()
                .map(|name| root.join(name).components().collect())
                .collect();
            assert_eq!(folders, expected, "{path}");
        }
    }
}
