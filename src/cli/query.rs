//! `patina query`: one question to a copy, answered without loss.
//!
//! Types and bytes survive every form. Table and CSV: NULL, numbers and blobs bare, as SQL writes them. CSV quotes all
//! text and nothing else. JSON: `{"blob": hex}`, `{"text": hex}` for text that is no UTF-8, `{"real": "Infinity"}`.

use std::io::{self, Write};

use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::args::{Form, QueryArgs};
use super::context::{Context, about_stdout, printable, tell};
use super::exit::{Exit, Refusal};
use super::meter::ByteMeter;
use super::signals::overdue;
use super::ways::{Stored, private_folder};
use crate::dump::{Literals, TextEncoding, Value};
use crate::engine::restore::query::{Question, Taker, query};
use crate::engine::restore::{Job, RestoreError};
use crate::types::{counted, either};

/// Runs `patina query`.
pub(super) async fn run(context: &Context, args: &QueryArgs) -> anyhow::Result<Exit> {
    let stop = CancellationToken::new();
    let overdue = overdue(stop.clone())?;
    tokio::select! {
        ended = ask(context, args, &stop) => ended,
        () = overdue => Err(Refusal::failed("the query did not end in time after a signal and was given up").into()),
    }
}

async fn ask(
    context: &Context,
    args: &QueryArgs,
    stop: &CancellationToken,
) -> anyhow::Result<Exit> {
    let stored = Stored::open(context).await?;
    let (copy, origin) = stored.origin(&args.copy, args.storage.as_deref())?;
    let folder = private_folder(&stored.config)?;
    let meter = ByteMeter::start(context, origin.stored_bytes());
    let job = Job {
        origin: &origin,
        tables: &[],
        progress: &meter.progress,
        stop,
    };
    let question = Question {
        sql: args.sql.clone(),
        limit: (args.limit > 0).then_some(args.limit),
        timeout: args.timeout,
    };
    let form = if context.json { Form::Json } else { args.form };
    let answer = query(&job, folder.path("query.db"), question, Shown::new(form)).await;
    meter.stop().await;
    let (shown, answered) = match answer {
        Ok(answer) => answer,
        Err(RestoreError::Shown(error)) => return Err(error.into()),
        Err(error) => return Err(stored.told(error, &copy)),
    };
    shown.finish(answered.is_cut)?;
    tracing::info!(key = %copy.manifest().key, rows = answered.rows, tables = ?answered.tables, "asked");
    if !answered.is_cut {
        return Ok(Exit::Ok);
    }
    tell(format_args!(
        "warning: there are more than {} {}\nhint: `--limit 0` shows all",
        either(answered.rows, "this", "these"),
        counted(answered.rows, "row")
    ));
    Ok(Exit::Partly)
}

/// Shows rows in one form.
struct Shown {
    form: Form,
    literals: Literals,
    columns: Vec<String>,
    /// The rows of a table, whose widths are known at the end, and of a JSON document.
    cells: Vec<Vec<String>>,
    documents: Vec<Json>,
}

impl Shown {
    fn new(form: Form) -> Self {
        Self {
            form,
            literals: Literals::new(TextEncoding::Utf8),
            columns: Vec::new(),
            cells: Vec::new(),
            documents: Vec::new(),
        }
    }

    fn finish(self, is_cut: bool) -> io::Result<()> {
        match self.form {
            Form::Csv => Ok(()),
            Form::Table => print(&self.table()),
            Form::Json => {
                let document =
                    json!({ "columns": self.columns, "rows": self.documents, "is_cut": is_cut });
                print(&format!("{document:#}\n"))
            }
        }
    }

    fn table(&self) -> String {
        let heading: Vec<String> = self.columns.iter().map(|name| printable(name)).collect();
        let rows: Vec<&Vec<String>> = std::iter::once(&heading).chain(&self.cells).collect();
        let width = |column: usize| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..heading.len()).map(width).collect();
        let mut text = String::new();
        for row in rows {
            let cells = row.iter().zip(&widths);
            let line: Vec<String> = cells
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            text.push_str(line.join("  ").trim_end());
            text.push('\n');
        }
        text
    }

    /// As SQL writes it; where a person reads it, plain text without quotes.
    fn cell(&self, value: Value<'_>) -> String {
        if let (Value::Text(bytes), Form::Table) = (value, self.form)
            && let Ok(text) = std::str::from_utf8(bytes)
            && text != "NULL"
        {
            return printable(text);
        }
        self.literal(value)
    }

    fn literal(&self, value: Value<'_>) -> String {
        let mut text = Vec::new();
        self.literals.write(&mut text, value);
        String::from_utf8_lossy(&text).into_owned()
    }

    fn csv(&self, value: Value<'_>) -> String {
        match value {
            Value::Null => String::new(),
            Value::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => format!("\"{}\"", text.replace('"', "\"\"")),
                Err(_) => self.literal(value),
            },
            other => self.literal(other),
        }
    }
}

impl Taker for Shown {
    fn columns(&mut self, names: &[String]) -> io::Result<()> {
        self.columns = names.to_vec();
        match self.form {
            Form::Csv => {
                let names: Vec<String> = names
                    .iter()
                    .map(|n| self.csv(Value::Text(n.as_bytes())))
                    .collect();
                print(&format!("{}\r\n", names.join(",")))
            }
            Form::Table | Form::Json => Ok(()),
        }
    }

    fn row(&mut self, values: &[Value<'_>]) -> io::Result<()> {
        match self.form {
            Form::Csv => {
                let cells: Vec<String> = values.iter().map(|value| self.csv(*value)).collect();
                return print(&format!("{}\r\n", cells.join(",")));
            }
            Form::Table => {
                let cells = values.iter().map(|value| self.cell(*value)).collect();
                self.cells.push(cells);
            }
            Form::Json => {
                let values = values.iter().map(|value| document(*value)).collect();
                self.documents.push(Json::Array(values));
            }
        }
        Ok(())
    }
}

/// Integers are written with all their digits; who reads them as doubles loses those beyond 2^53.
fn document(value: Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Integer(number) => json!(number),
        Value::Real(number) if number.is_finite() => json!(number),
        Value::Real(number) => {
            let sign = if number < 0.0 { "-" } else { "" };
            json!({ "real": format!("{sign}Infinity") })
        }
        Value::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => json!(text),
            Err(_) => json!({ "text": hex::encode(bytes) }),
        },
        Value::Blob(bytes) => json!({ "blob": hex::encode(bytes) }),
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|cause| about_stdout(&cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: [Value<'_>; 9] = [
        Value::Null,
        Value::Integer(i64::MIN),
        Value::Integer(9_007_199_254_740_993),
        Value::Real(0.1),
        Value::Real(3.0),
        Value::Real(f64::NEG_INFINITY),
        Value::Text(b"it's \"so\",\nNULL"),
        Value::Text(b"a\xff"),
        Value::Blob(b"\x00\xff"),
    ];

    #[test]
    fn csv_tells_every_type_apart() {
        let shown = Shown::new(Form::Csv);
        let cells: Vec<String> = VALUES.iter().map(|value| shown.csv(*value)).collect();
        let wanted = [
            "",
            "-9223372036854775808",
            "9007199254740993",
            "0.1",
            "3.0",
            "-9e999",
            "\"it's \"\"so\"\",\nNULL\"",
            "CAST(X'61ff' AS TEXT)",
            "X'00ff'",
        ];
        let lower: Vec<String> = cells.iter().map(|cell| cell.replace("FF", "ff")).collect();
        assert_eq!(lower, wanted);
        assert_eq!(shown.csv(Value::Text(b"")), "\"\"");
    }

    #[test]
    fn json_keeps_every_digit_and_every_byte() {
        let text = json!(VALUES.map(document)).to_string();
        assert_eq!(
            text,
            r#"[null,-9223372036854775808,9007199254740993,0.1,3.0,{"real":"-Infinity"},"it's \"so\",\nNULL",{"text":"61ff"},{"blob":"00ff"}]"#
        );
    }

    #[test]
    fn a_table_shows_the_word_null_as_text_in_quotes() {
        let mut shown = Shown::new(Form::Table);
        shown.columns(&["a".to_owned(), "b".to_owned()]).unwrap();
        shown.row(&[Value::Null, Value::Text(b"NULL")]).unwrap();
        shown
            .row(&[Value::Text("grün\n".as_bytes()), Value::Integer(7)])
            .unwrap();
        assert_eq!(shown.table(), "a       b\nNULL    'NULL'\ngrün\\n  7\n");
    }
}
