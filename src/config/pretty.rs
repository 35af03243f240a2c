//! Draws findings with the lines of the file they are about.

use std::fmt;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode,
};

use super::problem::{Mark, Problem, Problems, Severity};

/// Wide enough for a schedule and its hint, narrow enough for a split terminal.
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
        let mut labels = vec![label(&problem.mark, problem.path.clone())];
        let mut help = problem.hint.clone();
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
            source: NamedSource::new(&source.name, source.text.clone()),
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
        f.write_str(&self.problem.message)
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
