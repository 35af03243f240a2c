//! Collects findings while a file is checked, and converts spans to places at the end.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::problem::{Mark, Place, Problem, Problems, Severity, SourceText};
use super::read::Sources;

/// Finding, located by its span.
#[derive(Debug)]
pub(super) struct Finding {
    severity: Severity,
    span: Range<usize>,
    message: String,
    hint: Option<String>,
    other: Option<(Range<usize>, &'static str)>,
    syntax: bool,
}

impl Finding {
    /// Adds a hint.
    pub(super) fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a hint, if one is given.
    pub(super) fn maybe_hint(&mut self, hint: Option<String>) -> &mut Self {
        self.hint = hint.or(self.hint.take());
        self
    }

    /// Adds the second place of a conflict.
    pub(super) fn also(&mut self, span: Range<usize>, note: &'static str) -> &mut Self {
        self.other = Some((span, note));
        self
    }
}

/// Findings so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    items: Vec<Finding>,
    /// Starts of tables that lost a key to an earlier finding: a missing key there is not reported.
    broken: HashSet<usize>,
    any_syntax: bool,
}

impl Findings {
    /// Adds a finding that forbids using the file.
    pub(super) fn error(&mut self, span: Range<usize>, message: impl Into<String>) -> &mut Finding {
        self.push(Severity::Error, span, message.into())
    }

    /// Adds a finding that somebody should check.
    pub(super) fn warning(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> &mut Finding {
        self.push(Severity::Warning, span, message.into())
    }

    /// Adds a syntax error of the TOML.
    pub(super) fn syntax(&mut self, span: Range<usize>, message: &str) -> &mut Finding {
        const HINTS: [(&str, &str); 5] = [
            ("must be quoted", "put the value in quotes: `\"…\"`"),
            ("basic string", "close the quote on the same line"),
            ("literal string", "close the quote on the same line"),
            ("duplicate key", "remove one of the two"),
            (
                "table",
                "write `[name]` for a section and `[[name]]` for an item of a list",
            ),
        ];
        self.any_syntax = true;
        let hint = HINTS.iter().find(|(part, _)| message.contains(part));
        let finding = self.error(span, message);
        finding.syntax = true;
        finding.hint(hint.map_or(
            "see https://toml.io for how values are written",
            |(_, hint)| hint,
        ))
    }

    /// Reports a missing key, unless an earlier finding explains its absence.
    pub(super) fn absent(
        &mut self,
        table: Range<usize>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        if !self.any_syntax && !self.broken.contains(&table.start) {
            self.error(table, message).hint(hint);
        }
    }

    /// Records that a table lost a key to a finding.
    pub(super) fn lost_a_key(&mut self, table_start: usize) {
        self.broken.insert(table_start);
    }

    fn push(&mut self, severity: Severity, span: Range<usize>, message: String) -> &mut Finding {
        let at = self.items.len();
        self.items.push(Finding {
            severity,
            span,
            message,
            hint: None,
            other: None,
            syntax: false,
        });
        &mut self.items[at]
    }

    /// Converts all findings, in file order.
    pub(super) fn into_problems(mut self, sources: &Sources, paths: &Paths) -> Problems {
        let shadows: Vec<Range<usize>> = self
            .items
            .iter()
            .filter(|finding| finding.syntax)
            .map(|finding| shadow(sources, finding.span.start))
            .collect();
        // Findings in a line that the parser could not read are dropped.
        self.items.retain(|finding| {
            let at = finding.span.start;
            finding.syntax || !shadows.iter().any(|shadow| shadow.contains(&at))
        });
        self.items.sort_by_key(|finding| finding.span.start);
        let texts = sources.files.iter().map(|file| SourceText {
            name: file.name.clone(),
            text: file.text.clone(),
        });
        Problems {
            inputs: Vec::new(),
            remains: None,
            sources: Arc::new(texts.collect()),
            items: self
                .items
                .into_iter()
                .map(|finding| finding.into_problem(sources, paths))
                .collect(),
        }
    }
}

impl Finding {
    fn into_problem(self, sources: &Sources, paths: &Paths) -> Problem {
        let (place, mark) = locate(sources, &self.span, "");
        let other = self.other.map(|(span, note)| locate(sources, &span, note));
        let (other, other_mark) = other.unzip();
        Problem {
            severity: self.severity,
            path: paths.of(&self.span),
            file: place.file,
            line: place.line,
            column: place.column,
            message: self.message,
            hint: self.hint,
            other,
            mark,
            other_mark,
        }
    }
}

/// Range that a syntax error spoils: its line, and below a broken header everything up to the next one.
fn shadow(sources: &Sources, offset: usize) -> Range<usize> {
    let (_, file) = sources.file_at(offset);
    let at = (offset - file.base).min(file.text.len());
    let bytes = file.text.as_bytes();
    let start = bytes[..at].iter().rposition(|b| *b == b'\n');
    let start = start.map_or(0, |newline| newline + 1);
    let mut lines = file.text.get(start..).unwrap_or("").split_inclusive('\n');
    let broken = lines.next().unwrap_or("");
    let mut end = start + broken.len();
    if broken.trim_start().starts_with('[') {
        let rest = lines.take_while(|line| !line.trim_start().starts_with('['));
        end += rest.map(str::len).sum::<usize>();
    }
    file.base + start..file.base + end.max(start + 1)
}

fn locate(sources: &Sources, span: &Range<usize>, note: &str) -> (Place, Mark) {
    let (source, file) = sources.file_at(span.start);
    let text = &file.text;
    let mut start = (span.start - file.base).min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let end = (span.end.saturating_sub(file.base)).clamp(start, text.len());
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let place = Place {
        file: file.name.clone(),
        line: text[..start].matches('\n').count() + 1,
        column: text[line_start..start].chars().count() + 1,
        note: note.to_owned(),
    };
    let span = start..end;
    (place, Mark { source, span })
}

/// Maps each span to its key.
#[derive(Debug, Default)]
pub(super) struct Paths {
    entries: Vec<(Range<usize>, String)>,
}

impl Paths {
    /// Paths of all keys of a tree.
    pub(super) fn new(root: &DeTable<'_>) -> Self {
        let mut paths = Self::default();
        paths.table(root, "");
        paths
    }

    /// Key whose text or value is the narrowest around the span's start.
    fn of(&self, span: &Range<usize>) -> Option<String> {
        self.entries
            .iter()
            .filter(|(range, _)| range.start <= span.start && span.start < range.end)
            .min_by_key(|(range, _)| range.end - range.start)
            .map(|(_, path)| path.clone())
    }

    fn table(&mut self, table: &DeTable<'_>, prefix: &str) {
        for (key, value) in table {
            let dot = if prefix.is_empty() { "" } else { "." };
            let path = format!("{prefix}{dot}{}", key.get_ref());
            self.entries.push((key.span(), path.clone()));
            self.value(value.get_ref(), value.span(), path);
        }
    }

    fn value(&mut self, value: &DeValue<'_>, span: Range<usize>, path: String) {
        match value {
            DeValue::Table(table) => self.table(table, &path),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let label = label(item.get_ref());
                    let path = format!("{path}[{index}]{label}");
                    self.value(item.get_ref(), item.span(), path);
                }
            }
            _ => {}
        }
        self.entries.push((span, path));
    }
}

/// Name of a list item's table, for people: `` `blog`` in backticks after a blank.
fn label(item: &DeValue<'_>) -> String {
    let Some(table) = item.as_table() else {
        return String::new();
    };
    ["name", "id"]
        .iter()
        .find_map(|key| table.get(*key)?.get_ref().as_str())
        .map_or(String::new(), |name| format!(" `{name}`"))
}
