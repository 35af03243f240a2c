//! Represents everything wrong with a configuration. Invariant: each finding has a place and a way out.

use std::fmt;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::finding::{Findings, Paths};
use super::model::{Agent, Alerts};
use super::read::Sources;

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file is used; somebody should check.
    Warning,
}

/// Place in a file; line and column start at 1, and columns count characters.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Place {
    /// Name of the file, as given.
    pub file: String,
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
    /// Description of the place.
    pub note: String,
}

/// Finding with its place.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Severity.
    pub severity: Severity,
    /// Name of the file, as given.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Key: ``database[1] `blog`.timeout``; `None` if no key can be named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Description of the mistake.
    pub message: String,
    /// The way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Second place, if two conflict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<Place>,
    #[serde(skip)]
    pub(super) mark: Mark,
    #[serde(skip)]
    pub(super) other_mark: Option<Mark>,
}

/// Bytes of one of the files that a finding refers to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Mark {
    pub(super) source: usize,
    pub(super) span: Range<usize>,
}

/// Name and text of a file, for snippets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceText {
    pub(super) name: String,
    pub(super) text: String,
}

/// Part of an unusable configuration that is still known: enough to send alerts about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Remains {
    /// Name and state folder of the installation.
    pub agent: Agent,
    /// Sinks without a mistake of their own.
    pub alerts: Alerts,
}

/// Findings in file order.
#[derive(Debug, Clone, Default)]
pub struct Problems {
    pub(super) items: Vec<Problem>,
    pub(super) sources: Arc<Vec<SourceText>>,
    pub(super) inputs: Vec<PathBuf>,
    pub(super) remains: Option<Box<Remains>>,
}

/// Finding in a text that is no configuration, such as a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Severity.
    pub severity: Severity,
    /// Bytes that it refers to.
    pub span: Range<usize>,
    /// Description of the mistake.
    pub message: String,
    /// The way out.
    pub hint: Option<String>,
}

impl Remark {
    /// Finding that forbids using the text.
    pub fn error(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            span,
            message: message.into(),
            hint: None,
        }
    }

    /// Finding that somebody should check.
    pub fn warning(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(span, message)
        }
    }

    /// Adds the way out.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl Problems {
    /// Converts findings in one text that is no configuration, in its order.
    pub fn of_text(name: &str, path: &Path, text: &str, remarks: Vec<Remark>) -> Self {
        let mut findings = Findings::default();
        for remark in remarks {
            let finding = match remark.severity {
                Severity::Error => findings.error(remark.span, remark.message),
                Severity::Warning => findings.warning(remark.span, remark.message),
            };
            finding.maybe_hint(remark.hint);
        }
        findings.into_problems(&Sources::one(name, path, text), &Paths::default())
    }

    /// Adds files whose change may resolve a finding.
    pub fn watch(&mut self, files: &[PathBuf]) {
        self.inputs.extend_from_slice(files);
    }

    /// Appends the findings of `others`.
    pub fn append(&mut self, others: Self) {
        let shift = self.sources.len();
        let mut sources = Vec::clone(&self.sources);
        sources.extend(others.sources.iter().cloned());
        self.sources = Arc::new(sources);
        self.inputs.extend(others.inputs);
        self.items
            .extend(others.items.into_iter().map(|mut problem| {
                problem.mark.source += shift;
                if let Some(mark) = &mut problem.other_mark {
                    mark.source += shift;
                }
                problem
            }));
    }

    /// Iterates over the findings in file order.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.items.iter()
    }

    /// Number of findings.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// True if nothing was found.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// True if a finding forbids using the file.
    pub fn has_errors(&self) -> bool {
        self.items
            .iter()
            .any(|problem| problem.severity == Severity::Error)
    }

    /// Files that were read: a change of one of them may resolve a finding.
    pub fn inputs(&self) -> &[PathBuf] {
        &self.inputs
    }

    /// Lists the errors, one line each and at most `limit`: for an alert whose hint is to run the full check.
    pub fn mistakes(&self, limit: usize) -> String {
        let errors = self.items.iter();
        let errors: Vec<String> = errors
            .filter(|problem| problem.severity == Severity::Error)
            .map(|problem| {
                let message = problem.message.lines().next().unwrap_or_default();
                let (file, line, column) = (&problem.file, problem.line, problem.column);
                format!("{file}:{line}:{column}: {message}")
            })
            .collect();
        let mut lines: Vec<String> = errors.iter().take(limit).cloned().collect();
        if errors.len() > limit {
            lines.push(format!("and {} more", errors.len() - limit));
        }
        lines.join("\n")
    }

    /// Stores the part of the configuration that is still known.
    pub fn keep(&mut self, remains: Remains) {
        self.remains = Some(Box::new(remains));
    }

    /// Part of the configuration that is still known. `None`: nothing useful.
    pub fn remains(&self) -> Option<&Remains> {
        self.remains.as_deref()
    }

    /// Formats one line per finding, with its hint and its second place on lines of their own.
    pub fn short(&self) -> String {
        self.to_string()
    }

    /// Formats the findings with the lines they refer to, for a terminal.
    pub fn pretty(&self, color: bool) -> String {
        super::pretty::render(self, color)
    }

    /// `{"problems": […]}`, each with severity, file, line, column, path, message, hint and other.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({ "problems": self.items })
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        write!(
            f,
            "{}:{}:{}: {kind}{}",
            self.file, self.line, self.column, self.message
        )?;
        if let Some(other) = &self.other {
            write!(
                f,
                "\nnote: {} at {}:{}:{}",
                other.note, other.file, other.line, other.column
            )?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for problem in &self.items {
            writeln!(text, "{problem}")?;
        }
        f.write_str(text.trim_end())
    }
}

impl std::error::Error for Problems {}
