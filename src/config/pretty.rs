//! Renders findings with the lines of the file they refer to.

use std::fmt;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode,
};

use super::problem::{Mark, Problem, Problems, Severity};
use crate::quote;

/// Width of the output: wide enough for a schedule and its hint, narrow enough for a split terminal.
const WIDTH_COLUMNS: usize = 100;

pub(super) fn render(problems: &Problems, color: bool) -> String {
    let theme = if color {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(WIDTH_COLUMNS)
        .with_context_lines(1)
        .without_syntax_highlighting();
    let mut text = String::new();
    for problem in problems {
        let report = Report::new(problems, problem);
        if handler.render_report(&mut text, &report).is_err() {
            text.push_str(&problem.to_string());
        }
        text.push('\n');
    }
    text
}

/// Text with a question mark for each byte of a hidden character: positions stay valid.
fn seen(text: &str) -> String {
    let is_hidden = |c: &char| !matches!(c, '\n' | '\r' | '\t') && quote::is_hidden(*c);
    let mut seen = String::with_capacity(text.len());
    for c in text.chars() {
        match is_hidden(&c) {
            true => seen.extend(std::iter::repeat_n('?', c.len_utf8())),
            false => seen.push(c),
        }
    }
    seen
}

struct Report<'a> {
    problem: &'a Problem,
    source: NamedSource<String>,
    labels: Vec<LabeledSpan>,
    help: Option<String>,
}

impl<'a> Report<'a> {
    fn new(problems: &Problems, problem: &'a Problem) -> Self {
        let source = &problems.sources[problem.mark.source];
        let label = |mark: &Mark, note: Option<String>| {
            let start = mark.span.start.min(source.text.len());
            let end = mark.span.end.min(source.text.len());
            LabeledSpan::new(note, start, end - start)
        };
        let path = problem
            .path
            .as_deref()
            .map(|path| quote::line(path).into_owned());
        let mut labels = vec![label(&problem.mark, path)];
        let mut help = problem
            .hint
            .as_deref()
            .map(|hint| quote::lines(hint).into_owned());
        if let (Some(mark), Some(other)) = (&problem.other_mark, &problem.other) {
            if mark.source == problem.mark.source {
                labels.push(label(mark, Some(other.note.clone())));
            } else {
                let place = format!(
                    "{} at {}:{}:{}",
                    other.note, other.file, other.line, other.column
                );
                help = Some(match help {
                    Some(hint) => format!("{place}\n{hint}"),
                    None => place,
                });
            }
        }
        Self {
            problem,
            source: NamedSource::new(quote::line(&source.name), seen(&source.text)),
            labels,
            help,
        }
    }
}

impl fmt::Debug for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.problem, f)
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quote::lines(&self.problem.message))
    }
}

impl std::error::Error for Report<'_> {}

impl Diagnostic for Report<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.problem.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        self.help
            .as_ref()
            .map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}
