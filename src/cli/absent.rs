//! Tells which SQLite files of a configuration are not on this machine. Invariant: nothing of them is opened, and what
//! cannot be looked at is not called absent.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::config::edit::sqlite_span;
use crate::config::{Config, Problems, Remark, SourceSpec, did_you_mean, read_text, within};
use crate::types::DatabaseName;

/// So many files of a folder are compared with a name that is not there.
const MOST_NEIGHBOURS: usize = 1_000;

/// A file that is not there, and what to do.
struct Absent {
    name: DatabaseName,
    remark: String,
    hint: String,
}

/// A warning for each database whose file is not here, at its line where that is found.
pub(super) fn warnings(config: &Config) -> Problems {
    let (databases, files) = (config.databases().to_vec(), config.inputs().to_vec());
    let look = move || {
        let absent = databases.iter().filter_map(|database| {
            let SourceSpec::Sqlite(path) = &database.source else {
                return None;
            };
            absent(&database.name, path)
        });
        let mut absent = Vec::from_iter(absent);
        let mut problems = Problems::default();
        for file in &files {
            problems.append(in_file(file, &mut absent));
        }
        // Its name has a variable, or its place changed just now.
        let first = files.first().map_or(Path::new(""), |file| file.as_path());
        let rest = absent.into_iter().map(|absent| absent.at(0..0)).collect();
        problems.append(Problems::of_text(
            &first.display().to_string(),
            first,
            "",
            rest,
        ));
        problems
    };
    // A mount that does not answer is named by whoever has to read from it.
    within(look).unwrap_or_default()
}

fn absent(name: &DatabaseName, path: &Path) -> Option<Absent> {
    let error = fs::metadata(path).err()?;
    if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
        return None;
    }
    let way_out = match near(path) {
        Some(near) => format!("{near} Else"),
        None => "correct the path, or".to_owned(),
    };
    Some(Absent {
        name: name.clone(),
        remark: format!(
            "the file of `{name}` is not on this machine: `{}`",
            path.display()
        ),
        hint: format!("{way_out} run `patina check --online` on the machine that has it"),
    })
}

/// A file beside it whose name is alike.
fn near(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let files = fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?;
    let names = files.take(MOST_NEIGHBOURS).flatten().filter_map(|file| {
        let is_file = file.file_type().is_ok_and(|kind| !kind.is_dir());
        file.file_name().into_string().ok().filter(|_| is_file)
    });
    let is_database = |name: &String| {
        !["-wal", "-shm", "-journal"]
            .iter()
            .any(|end| name.ends_with(end))
    };
    let names: Vec<String> = names.filter(is_database).collect();
    did_you_mean(name, names.iter().map(String::as_str))
}

/// Takes those that stand in `file`; what is no configuration, such as a script or a secret, has none.
fn in_file(file: &Path, absent: &mut Vec<Absent>) -> Problems {
    if absent.is_empty() {
        return Problems::default();
    }
    let Ok(text) = read_text(file) else {
        return Problems::default();
    };
    let mut remarks = Vec::new();
    absent.retain_mut(|absent| match sqlite_span(&text, &absent.name) {
        Some(span) => {
            remarks.push(absent.at(span));
            false
        }
        None => true,
    });
    match remarks.is_empty() {
        true => Problems::default(),
        false => Problems::of_text(&file.display().to_string(), file, &text, remarks),
    }
}

impl Absent {
    fn at(&self, span: std::ops::Range<usize>) -> Remark {
        Remark::warning(span, self.remark.clone()).hint(self.hint.clone())
    }
}
