//! Reads a file and its includes into one tree. Invariant: every span identifies bytes of one file.
//!
//! The files share one range of offsets, end to end, so that a span alone identifies its file.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Environment;
use super::finding::Findings;

/// Upper bound for included files, more than a person would write; bounds the work for a broad `*`.
const FILES_MAX: usize = 200;

/// Upper bound for one file: a longer one is not a configuration.
pub(super) const FILE_BYTES_MAX: usize = 4 << 20;

/// File with its text and the start of its bytes in the range of offsets.
#[derive(Debug)]
pub(super) struct SourceFile {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) base: usize,
}

/// All files, the main one first.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) files: Vec<SourceFile>,
}

impl Sources {
    /// One file without text, for findings that need none.
    pub(super) fn empty(name: &str, path: &Path) -> Self {
        Self::one(name, path, "")
    }

    /// One file with text.
    pub(super) fn one(name: &str, path: &Path, text: &str) -> Self {
        let mut sources = Self::default();
        sources.add(name.to_owned(), path.to_owned(), text.to_owned());
        sources
    }

    fn add(&mut self, name: String, path: PathBuf, text: String) {
        // One unused offset keeps the end of one file apart from the start of the next.
        let base = self
            .files
            .last()
            .map_or(0, |file| file.base + file.text.len() + 1);
        self.files.push(SourceFile {
            name,
            path,
            text,
            base,
        });
    }

    /// File that contains an offset, with its index.
    pub(super) fn file_at(&self, offset: usize) -> (usize, &SourceFile) {
        let index = self
            .files
            .iter()
            .rposition(|file| file.base <= offset)
            .unwrap_or(0);
        (index, &self.files[index])
    }

    /// Text of a span as typed.
    pub(super) fn typed(&self, span: &Range<usize>) -> &str {
        let (_, file) = self.file_at(span.start);
        let range = span.start - file.base..span.end.saturating_sub(file.base);
        file.text.get(range).unwrap_or("")
    }

    /// Base folder of relative paths written at `offset`.
    pub(super) fn folder(&self, offset: usize) -> &Path {
        let path = &self.file_at(offset).1.path;
        path.parent().unwrap_or(Path::new(""))
    }
}

/// Reads the main file and the files it includes, in the order of its list and then by name.
pub(super) fn sources(
    name: &str,
    path: PathBuf,
    text: String,
    env: &dyn Environment,
    findings: &mut Findings,
) -> Sources {
    let mut sources = Sources::default();
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let patterns = include_patterns(&text);
    sources.add(name.to_owned(), path, text);
    for (pattern, span) in patterns {
        let paths = match matches(&folder.join(&pattern), env) {
            Ok(paths) => paths,
            Err(error) => {
                let message = format!("cannot include `{pattern}`: {error}");
                findings.error(span, message);
                continue;
            }
        };
        for path in paths {
            let known = sources.files.iter().any(|file| file.path == path);
            if known || sources.files.len() > FILES_MAX {
                continue;
            }
            match env.read(&path) {
                Ok(text) => {
                    let name = display_name(name, &folder, &path);
                    sources.add(name, path, text);
                }
                Err(error) => {
                    let message = format!("cannot read `{}`: {error}", path.display());
                    findings.error(span.clone(), message);
                }
            }
        }
    }
    sources
}

/// Tree of all files, in which tables are merged and arrays appended.
pub(super) fn tree<'i>(sources: &'i Sources, findings: &mut Findings) -> DeTable<'i> {
    let mut root = DeTable::new();
    for (index, file) in sources.files.iter().enumerate() {
        let (table, errors) = DeTable::parse_recoverable(&file.text);
        for error in &errors {
            let span = error.span().unwrap_or(0..0);
            let key = file.text.get(span.clone()).unwrap_or("");
            let first = (error.message() == "duplicate key")
                .then(|| last_before(table.get_ref(), key, span.start))
                .flatten();
            let moved = |span: Range<usize>| span.start + file.base..span.end + file.base;
            match first {
                Some(first) => findings
                    .syntax(moved(span), &format!("`{key}` is set twice"))
                    .hint("remove one of the two")
                    .also(moved(first), "first set"),
                None => findings.syntax(moved(span), error.message()),
            };
        }
        let mut part = moved(table.into_inner(), file.base);
        if index > 0
            && let Some((key, _)) = part.get_key_value("include")
        {
            findings
                .error(key.span(), "an included file cannot include others")
                .hint("list every file in `include` of the main file");
            part.remove("include");
        }
        merge(&mut root, part, findings);
    }
    root
}

/// Span of the last key with this text before `limit`: the parser keeps the first of two.
fn last_before(table: &DeTable<'_>, key: &str, limit: usize) -> Option<Range<usize>> {
    let here = table
        .keys()
        .filter(|known| known.get_ref() == key.trim_matches(['"', '\'']))
        .map(Spanned::span);
    let below = table
        .values()
        .filter_map(|value| last_in(value.get_ref(), key, limit));
    here.chain(below)
        .filter(|span| span.start < limit)
        .max_by_key(|span| span.start)
}

fn last_in(value: &DeValue<'_>, key: &str, limit: usize) -> Option<Range<usize>> {
    match value {
        DeValue::Table(table) => last_before(table, key, limit),
        DeValue::Array(items) => items
            .iter()
            .filter_map(|item| last_in(item.get_ref(), key, limit))
            .max_by_key(|span| span.start),
        _ => None,
    }
}

/// Name of an included file in findings, relative to the name of the main file.
fn display_name(main: &str, folder: &Path, path: &Path) -> String {
    let shown = path.strip_prefix(folder).unwrap_or(path);
    let named_from = Path::new(main).parent().unwrap_or(Path::new(""));
    named_from.join(shown).display().to_string()
}

fn include_patterns(text: &str) -> Vec<(String, Range<usize>)> {
    let (table, _) = DeTable::parse_recoverable(text);
    let Some(list) = table.get_ref().get("include") else {
        return Vec::new();
    };
    let items = list.get_ref().as_array().map_or(&[][..], |array| array);
    items
        .iter()
        .filter_map(|item| Some((item.get_ref().as_str()?.to_owned(), item.span())))
        .collect()
}

/// Files that match a pattern, sorted; `*` in the last component stands for any characters.
fn matches(pattern: &Path, env: &dyn Environment) -> std::io::Result<Vec<PathBuf>> {
    let name = pattern.file_name().unwrap_or_default().to_string_lossy();
    if !name.contains('*') {
        return Ok(vec![pattern.to_owned()]);
    }
    let folder = pattern.parent().unwrap_or(Path::new(""));
    let mut paths = env.list(folder)?;
    paths.retain(|path| {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        !file.starts_with('.') && is_match(&name, &file) && env.is_file(path)
    });
    paths.sort();
    Ok(paths)
}

fn is_match(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let last = parts.pop().unwrap_or("");
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Table with every span shifted by `base`.
fn moved(table: DeTable<'_>, base: usize) -> DeTable<'_> {
    table
        .into_iter()
        .map(|(key, mut value)| {
            let span = key.span();
            move_value(&mut value, base);
            let span = span.start + base..span.end + base;
            (Spanned::new(span, key.into_inner()), value)
        })
        .collect()
}

fn move_value(value: &mut Spanned<DeValue<'_>>, base: usize) {
    let span = value.span();
    let mut inner = std::mem::replace(value.get_mut(), DeValue::Boolean(false));
    match &mut inner {
        DeValue::Array(items) => items.iter_mut().for_each(|item| move_value(item, base)),
        DeValue::Table(table) => *table = moved(std::mem::take(table), base),
        _ => {}
    }
    *value = Spanned::new(span.start + base..span.end + base, inner);
}

fn merge<'i>(into: &mut DeTable<'i>, from: DeTable<'i>, findings: &mut Findings) {
    for (key, value) in from {
        let span = key.span();
        let first = into
            .get_key_value(key.get_ref().as_ref())
            .map(|(first, _)| first.span());
        let Some(first) = first else {
            into.insert(key, value);
            continue;
        };
        let Some(known) = into.get_mut(key.get_ref().as_ref()) else {
            continue;
        };
        match (known.get_mut(), value.into_inner()) {
            (DeValue::Table(known), DeValue::Table(new)) => merge(known, new, findings),
            (DeValue::Array(known), DeValue::Array(new)) => {
                for item in new {
                    known.push(item);
                }
            }
            _ => {
                findings
                    .error(span, format!("`{}` is set twice", key.get_ref()))
                    .hint("keep it in one file only")
                    .also(first, "first set");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_match;

    #[test]
    fn a_star_stands_for_any_part_of_a_file_name() {
        for (pattern, name, expected) in [
            ("*.toml", "a.toml", true),
            ("*.toml", "a.toml~", false),
            ("db-*.toml", "db-1.toml", true),
            ("db-*.toml", "x-1.toml", false),
            ("*a*b", "xaxb", true),
            ("*a*b", "xbxa", false),
        ] {
            assert_eq!(is_match(pattern, name), expected, "{pattern} {name}");
        }
    }
}
