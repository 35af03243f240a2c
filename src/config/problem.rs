//! Holds everything that is wrong with a configuration. Invariant: each finding has a place and a way out.

use std::fmt;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::finding::{Findings, Paths};
use super::model::{Agent, Alerts};
use super::read::Sources;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file is not used.
    Error,
    /// The file is used; somebody should look.
    Warning,
}

/// A place in a file; line and column start at 1 and columns count characters.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Place {
    /// The file, as it was named.
    pub file: String,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
    /// What stands there.
    pub note: String,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The key: ``database[1] `blog`.timeout``; absent where no key can be named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What was refused.
    pub message: String,
    /// The way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The second place, where two conflict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<Place>,
    #[serde(skip)]
    pub(super) mark: Mark,
    #[serde(skip)]
    pub(super) other_mark: Option<Mark>,
}

/// The bytes of one of the files that a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Mark {
    pub(super) source: usize,
    pub(super) span: Range<usize>,
}

/// A file's name and text, for snippets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceText {
    pub(super) name: String,
    pub(super) text: String,
}

/// What is still known of a configuration that cannot be used: enough to tell people so.
#[derive(Debug, Clone, PartialEq)]
pub struct Remains {
    /// The installation's name and its folder.
    pub agent: Agent,
    /// The sinks without a mistake of their own.
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

/// Something to say of a text that is no configuration, such as a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// How bad it is.
    pub severity: Severity,
    /// The bytes it is about.
    pub span: Range<usize>,
    /// What was refused.
    pub message: String,
    /// The way out.
    pub hint: Option<String>,
}

impl Remark {
    /// One that forbids using the text.
    pub fn error(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            span,
            message: message.into(),
            hint: None,
        }
    }

    /// One that somebody should look at.
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
    /// The findings in one text that is no configuration, in its order.
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

    /// Adds files of which a change may cure a finding.
    pub fn watch(&mut self, files: &[PathBuf]) {
        self.inputs.extend_from_slice(files);
    }

    /// Adds the findings of `others` behind its own.
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

    /// The findings in file order.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.items.iter()
    }

    /// How many findings there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// True where nothing was found.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// True where a finding forbids using the file.
    pub fn has_errors(&self) -> bool {
        self.items
            .iter()
            .any(|problem| problem.severity == Severity::Error)
    }

    /// The files that were looked at: a change of one of them may cure a finding.
    pub fn inputs(&self) -> &[PathBuf] {
        &self.inputs
    }

    /// The mistakes that forbid using the file, one line each and at most `limit`: for an alert, where the way out is to
    /// look at all of them.
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

    /// Keeps what is known in spite of them.
    pub fn keep(&mut self, remains: Remains) {
        self.remains = Some(Box::new(remains));
    }

    /// What is still known in spite of them. `None`: nothing that helps.
    pub fn remains(&self) -> Option<&Remains> {
        self.remains.as_deref()
    }

    /// One line per finding, with its hint and its second place on lines of their own.
    pub fn short(&self) -> String {
        self.to_string()
    }

    /// The findings with the lines they are about, for a terminal.
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
