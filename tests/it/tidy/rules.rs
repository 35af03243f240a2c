//! States what each room may name, and finds the lines that name more.

use super::tokens::{Path, Token, paths, starts_with, test_marks, tokens};

/// A file that people still read in one sitting.
const MOST_LINES: usize = 600;

/// One source file; `name` is its path below `src/`, such as `dump/mod.rs`.
pub(super) struct File {
    pub(super) name: String,
    pub(super) text: String,
}

/// A name that only some places may use.
struct Ban {
    /// Adjacent names of a path.
    names: &'static [&'static str],
    places: Places,
    /// Whether `#[cfg(test)]` code may use it anywhere.
    free_in_tests: bool,
    /// What to do instead.
    instead: &'static str,
}

/// Places are paths below `src/` without `.rs`; a `*` at the end stands for any rest.
enum Places {
    NotIn(&'static [&'static str]),
    OnlyIn(&'static [&'static str]),
}

const PURE: Places = Places::NotIn(&[
    "types",
    "excerpt",
    "quote",
    "dump",
    "retention",
    "schedule",
    "anomaly",
]);
const PURE_INSTEAD: &str = "this room is pure: take bytes, `Read`, `Write` or values as parameters and let the caller do the I/O";
const CLOCK_INSTEAD: &str = "take a time as a parameter, or ask the `Clock` you were given";

const BANS: &[Ban] = &[
    Ban {
        names: &["tokio"],
        places: PURE,
        free_in_tests: true,
        instead: PURE_INSTEAD,
    },
    Ban {
        names: &["reqwest"],
        places: PURE,
        free_in_tests: true,
        instead: PURE_INSTEAD,
    },
    Ban {
        names: &["std", "fs"],
        places: PURE,
        free_in_tests: true,
        instead: PURE_INSTEAD,
    },
    Ban {
        names: &["std", "net"],
        places: PURE,
        free_in_tests: true,
        instead: PURE_INSTEAD,
    },
    Ban {
        names: &["rusqlite"],
        places: Places::OnlyIn(&[
            "crosscheck",
            "source/sqlite*",
            "catalog",
            "engine/drill*",
            "engine/restore*",
            "cli/demo*",
        ]),
        free_in_tests: true,
        instead: "ask the catalog, a `Source` or `engine::drill`; they hold the SQL",
    },
    Ban {
        names: &["rhai"],
        places: Places::OnlyIn(&["hook"]),
        free_in_tests: false,
        instead: "call `Hooks`",
    },
    Ban {
        names: &["axum"],
        places: Places::OnlyIn(&["http"]),
        free_in_tests: false,
        instead: "return plain values and let `http` turn them into responses",
    },
    Ban {
        names: &["Client", "builder"],
        places: Places::OnlyIn(&["net"]),
        free_in_tests: true,
        instead: "call `net::client_for`, or `net::client` for a host that the operator configured: one rule says which addresses are private",
    },
    Ban {
        names: &["clap"],
        places: Places::OnlyIn(&["cli", "main"]),
        free_in_tests: false,
        instead: "take plain parameters and let `cli` read the arguments",
    },
    Ban {
        names: &["SystemTime", "now"],
        places: Places::OnlyIn(&["clock"]),
        free_in_tests: false,
        instead: CLOCK_INSTEAD,
    },
    Ban {
        names: &["Utc", "now"],
        places: Places::OnlyIn(&["clock"]),
        free_in_tests: false,
        instead: CLOCK_INSTEAD,
    },
    Ban {
        names: &["Local", "now"],
        places: Places::OnlyIn(&["clock"]),
        free_in_tests: false,
        instead: CLOCK_INSTEAD,
    },
    Ban {
        names: &["Prune"],
        places: Places::OnlyIn(&["store", "engine/expire", "app"]),
        free_in_tests: false,
        instead: "hold a `Store`, which cannot delete; only `engine::expire` removes copies",
    },
];

impl Places {
    fn allow(&self, file: &str) -> bool {
        match self {
            Self::NotIn(places) => !places.iter().any(|place| lies_in(file, place)),
            Self::OnlyIn(places) => places.iter().any(|place| lies_in(file, place)),
        }
    }
}

fn lies_in(file: &str, place: &str) -> bool {
    if let Some(start) = place.strip_suffix('*') {
        return file.starts_with(start);
    }
    let rest = file.strip_prefix(place);
    rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// Every broken rule as a sentence with `file:line` and a hint.
pub(super) fn check(files: &[File]) -> Vec<String> {
    let Some(lib) = files.iter().find(|file| file.name == "lib.rs") else {
        return vec!["src/lib.rs is missing: it declares the rooms in order".to_owned()];
    };
    let order = declared_rooms(&lib.text);
    if order.is_empty() {
        return vec!["src/lib.rs declares no modules: it must name the rooms in order".to_owned()];
    }
    let test_files = test_files(files);
    let files = files.iter().filter(|file| file.name != "lib.rs");
    files
        .flat_map(|file| check_file(file, &order, test_files.contains(&file.name)))
        .collect()
}

fn declared_rooms(lib: &str) -> Vec<String> {
    let tokens = tokens(lib);
    let windows = tokens
        .windows(3)
        .filter(|three| three[0].text == "mod" && three[2].text == ";");
    windows.map(|three| three[1].text.clone()).collect()
}

/// Files that are modules declared under `#[cfg(test)]`.
fn test_files(files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        let tokens = tokens(&file.text);
        let marks = test_marks(&tokens);
        for at in (0..tokens.len()).filter(|&at| marks[at]) {
            if let [word, name, end, ..] = &tokens[at..]
                && word.text == "mod"
                && end.text == ";"
            {
                let folder = module_names(&file.name).join("/");
                let stem = format!("{folder}/{}", name.text);
                let stem = stem.trim_start_matches('/');
                found.push(format!("{stem}.rs"));
                found.push(format!("{stem}/mod.rs"));
            }
        }
    }
    found
}

/// The modules that lead to a file: `dump/mod.rs` is `dump`, `dump/split.rs` is `dump`, `split`.
fn module_names(file: &str) -> Vec<&str> {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let mut names: Vec<&str> = stem.split('/').collect();
    if matches!(names.last(), Some(&("mod" | "lib" | "main"))) {
        names.pop();
    }
    names
}

fn check_file(file: &File, order: &[String], is_test: bool) -> Vec<String> {
    let tokens = tokens(&file.text);
    let mut marks = test_marks(&tokens);
    if is_test {
        marks.fill(true);
    }
    let paths = paths(&tokens, &marks);
    let mut broken = Vec::new();
    broken.extend(check_length(file));
    broken.extend(check_bans(file, &paths));
    broken.extend(check_law(file, &paths, order));
    broken.extend(check_aliases(file, &tokens));
    broken.dedup();
    broken
}

fn check_length(file: &File) -> Option<String> {
    let lines = file.text.lines().count();
    (lines > MOST_LINES).then(|| {
        format!(
            "src/{}:{lines}: the file has {lines} lines, more than {MOST_LINES}\n\
             hint: split it by noun, each part with its own `//!` sentence",
            file.name
        )
    })
}

fn check_bans(file: &File, paths: &[Path]) -> Vec<String> {
    let mut broken = Vec::new();
    for ban in BANS.iter().filter(|ban| !ban.places.allow(&file.name)) {
        for path in paths
            .iter()
            .filter(|path| !(path.in_test && ban.free_in_tests))
        {
            if path
                .names
                .windows(ban.names.len())
                .any(|names| names == ban.names)
            {
                broken.push(format!(
                    "src/{}:{}: `{}` is not for this place\nhint: {}",
                    file.name,
                    path.line,
                    ban.names.join("::"),
                    ban.instead
                ));
            }
        }
    }
    broken
}

fn check_law(file: &File, paths: &[Path], order: &[String]) -> Vec<String> {
    let modules = module_names(&file.name);
    let Some(&room) = modules.first() else {
        return Vec::new(); // main.rs stands above all rooms
    };
    let Some(place) = order.iter().position(|name| name == room) else {
        return vec![format!(
            "src/{}:1: `{room}` is not declared in src/lib.rs\n\
             hint: declare `pub mod {room};` below the rooms it imports, or delete the file",
            file.name
        )];
    };
    let mut broken = Vec::new();
    for path in paths {
        let Some(other) = room_of(path, modules.len()) else {
            continue;
        };
        let at = format!("src/{}:{}", file.name, path.line);
        match order.iter().position(|name| name == other) {
            Some(above) if above <= place => {}
            Some(_) => broken.push(format!(
                "{at}: `{room}` imports `{other}`, which src/lib.rs declares below it\n\
                 hint: move what both need into a room above `{room}`, or let the caller pass it in"
            )),
            None => broken.push(format!(
                "{at}: `crate::{other}` is no room of src/lib.rs\n\
                 hint: name the room the item lives in"
            )),
        }
    }
    broken
}

/// The name directly below the crate's root that a path leads to, if it leads there.
fn room_of(path: &Path, file_depth: usize) -> Option<&str> {
    let mut depth = file_depth + path.inline_depth;
    for (index, name) in path.names.iter().enumerate() {
        match name.as_str() {
            "crate" if index == 0 => depth = 0,
            "self" if index == 0 => {}
            "super" => depth = depth.saturating_sub(1),
            _ if index == 0 => return None,
            other => return (depth == 0).then_some(other),
        }
    }
    None
}

/// `use crate as x` would hide every later path from the law.
fn check_aliases(file: &File, tokens: &[Token]) -> Vec<String> {
    let starts = (0..tokens.len()).filter(|&at| {
        starts_with(&tokens[at..], &["use", "crate", "as"])
            || starts_with(&tokens[at..], &["crate", "::", "*"])
            || starts_with(&tokens[at..], &["crate", "::", "{", "self"])
    });
    let lines = starts.map(|at| tokens[at].line);
    lines
        .map(|line| {
            format!(
                "src/{}:{line}: the crate's root is imported as a whole\nhint: name the room",
                file.name
            )
        })
        .collect()
}

#[cfg(test)]
mod tests;
