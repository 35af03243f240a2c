//! `patina query`: runs one query on a copy, and shows the result without loss.
//!
//! Types and bytes survive every format. Table and CSV: NULL, numbers and blobs bare, as SQL writes them. CSV quotes
//! all text and nothing else. JSON: `{"blob": hex}`, `{"text": hex}` for text that is not UTF-8, `{"real":
//! "Infinity"}`.

use std::fmt;
use std::io::{self, BufWriter, Write};

use serde_json::json;
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
use crate::excerpt::{REST, excerpt};
use crate::quote::{self, padded};
use crate::types::{ByteCount, counted, either};

/// Characters of a value shown in a cell of a table; CSV and JSON contain the complete value.
const CELL_CHARS: usize = 200;

/// Bytes of a value from which a cell is made: a character has at most four.
const CELL_BYTES: usize = 4 * CELL_CHARS;

/// Bytes of a longer value that is shown as a literal, which doubles them.
const CELL_LITERAL_BYTES: usize = 60;

/// Number of rows, and below it their bytes, that determine a table's widths; later rows are written as they come.
const HELD_ROWS: usize = 1_000;
const HELD_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of a value that are converted at a time.
const PIECE_BYTES: usize = 64 * 1024;

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
    let out = BufWriter::new(io::stdout());
    let answer = query(
        &job,
        folder.path("query.db"),
        question,
        Shown::new(form, out),
    )
    .await;
    meter.stop().await;
    let (shown, answered) = match answer {
        Ok(answer) => answer,
        Err(RestoreError::Shown(error)) => return Err(error.into()),
        Err(error) => return Err(stored.told(error, &copy)),
    };
    shown.finish(answered.is_cut).map_err(told)?;
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

/// Shows rows in one format, as they come: only the first rows of a table are held, until its widths are known.
pub(super) struct Shown<W: Write> {
    form: Form,
    literals: Literals,
    columns: Vec<String>,
    out: W,
    /// The first rows of a table.
    held: Vec<Vec<String>>,
    held_bytes: usize,
    /// A table's widths; empty until they are known.
    widths: Vec<usize>,
    rows: u64,
}

impl<W: Write> Shown<W> {
    pub(super) fn new(form: Form, out: W) -> Self {
        Self {
            form,
            literals: Literals::new(TextEncoding::Utf8),
            columns: Vec::new(),
            out,
            held: Vec::new(),
            held_bytes: 0,
            widths: Vec::new(),
            rows: 0,
        }
    }

    pub(super) fn finish(mut self, is_cut: bool) -> io::Result<W> {
        match self.form {
            Form::Csv => {}
            Form::Table => self.settle()?,
            Form::Json => {
                self.begin_json()?;
                let end = if self.rows == 0 { "]" } else { "\n  ]" };
                write!(self.out, "{end},\n  \"is_cut\": {is_cut}\n}}\n")?;
            }
        }
        self.out.flush()?;
        Ok(self.out)
    }

    /// Determines the widths from the heading and the rows that are held, and writes those.
    fn settle(&mut self) -> io::Result<()> {
        if !self.widths.is_empty() {
            return Ok(());
        }
        let heading: Vec<String> = self.columns.iter().map(|name| cell_text(name)).collect();
        self.held.insert(0, heading);
        let width = |column: usize| {
            let cells = self.held.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or_default()
        };
        self.widths = (0..self.columns.len()).map(width).collect();
        for row in std::mem::take(&mut self.held) {
            self.table_row(&row)?;
        }
        Ok(())
    }

    fn table_row(&mut self, row: &[String]) -> io::Result<()> {
        let cells = row.iter().zip(&self.widths);
        let line: Vec<String> = cells.map(|(cell, width)| padded(cell, *width)).collect();
        writeln!(self.out, "{}", line.join("  ").trim_end())
    }

    fn hold(&mut self, row: Vec<String>) -> io::Result<()> {
        if !self.widths.is_empty() {
            return self.table_row(&row);
        }
        self.held_bytes += row.iter().map(String::len).sum::<usize>();
        self.held.push(row);
        match self.held.len() >= HELD_ROWS || self.held_bytes >= HELD_BYTES {
            true => self.settle(),
            false => Ok(()),
        }
    }

    /// Formats a cell as SQL writes it, but text without quotes, and of a long value only the beginning.
    fn cell(&self, value: Value<'_>) -> String {
        let size = value.bytes().len();
        if let Value::Text(bytes) = value
            && bytes != b"NULL"
        {
            let start = &bytes[..size.min(CELL_BYTES)];
            let start = match std::str::from_utf8(start) {
                Ok(text) => Some(text),
                // The cut may have split a character; other errors mean that it is not UTF-8.
                Err(error) if error.error_len().is_none() && start.len() < size => {
                    std::str::from_utf8(&start[..error.valid_up_to()]).ok()
                }
                Err(_) => None,
            };
            if let Some(start) = start {
                return with_size(cell_text(start), start.len(), size);
            }
        }
        if size > CELL_BYTES {
            let start = match value {
                Value::Text(bytes) => Value::Text(&bytes[..CELL_LITERAL_BYTES]),
                Value::Blob(bytes) => Value::Blob(&bytes[..CELL_LITERAL_BYTES]),
                number => number,
            };
            return with_size(self.literal(start), CELL_LITERAL_BYTES, size);
        }
        cell_text(&self.literal(value))
    }

    fn literal(&self, value: Value<'_>) -> String {
        let mut text = Vec::new();
        self.literals.write(&mut text, value);
        String::from_utf8_lossy(&text).into_owned()
    }

    fn csv_row(&mut self, values: &[Value<'_>]) -> io::Result<()> {
        for (column, value) in values.iter().enumerate() {
            if column > 0 {
                self.out.write_all(b",")?;
            }
            self.csv(*value)?;
        }
        self.out.write_all(b"\r\n")
    }

    /// Written in pieces: a value may have a gigabyte.
    fn csv(&mut self, value: Value<'_>) -> io::Result<()> {
        match value {
            Value::Null => Ok(()),
            Value::Text(bytes) if std::str::from_utf8(bytes).is_ok() => {
                self.out.write_all(b"\"")?;
                for (number, part) in bytes.split(|byte| *byte == b'"').enumerate() {
                    if number > 0 {
                        self.out.write_all(b"\"\"")?;
                    }
                    self.out.write_all(part)?;
                }
                self.out.write_all(b"\"")
            }
            Value::Text(bytes) => {
                self.out.write_all(b"CAST(X'")?;
                write_hex(&mut self.out, bytes, true)?;
                self.out.write_all(b"' AS TEXT)")
            }
            Value::Blob(bytes) => {
                self.out.write_all(b"X'")?;
                write_hex(&mut self.out, bytes, true)?;
                self.out.write_all(b"'")
            }
            number => {
                let text = self.literal(number);
                self.out.write_all(text.as_bytes())
            }
        }
    }

    fn begin_json(&mut self) -> io::Result<()> {
        if self.rows > 0 {
            return Ok(());
        }
        let columns = Array(&self.columns);
        write!(self.out, "{{\n  \"columns\": {columns},\n  \"rows\": [")
    }

    fn json_row(&mut self, values: &[Value<'_>]) -> io::Result<()> {
        self.begin_json()?;
        let comma = if self.rows == 0 { "" } else { "," };
        write!(self.out, "{comma}\n    [")?;
        for (column, value) in values.iter().enumerate() {
            let comma = if column == 0 { "" } else { "," };
            write!(self.out, "{comma}\n      ")?;
            write_value(&mut self.out, *value)?;
        }
        let end = if values.is_empty() { "]" } else { "\n    ]" };
        self.out.write_all(end.as_bytes())
    }
}

/// Shortens text for a cell of a table.
fn cell_text(text: &str) -> String {
    excerpt(&printable(text), CELL_CHARS).into_owned()
}

/// Adds the size of the complete value to a cell that is cut.
fn with_size(mut cell: String, shown_bytes: usize, size_bytes: usize) -> String {
    if shown_bytes < size_bytes {
        if !cell.ends_with(REST) {
            cell.push(REST);
        }
        let size = ByteCount(size_bytes as u64);
        cell.push_str(&format!(" ({size})"));
    }
    cell
}

/// Names as a JSON array at the second level of the document.
struct Array<'a>(&'a [String]);

impl fmt::Display for Array<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (number, name) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            let text = json!(name).to_string();
            write!(f, "{comma}\n    {}", quote::json(&text))?;
        }
        f.write_str(if self.0.is_empty() { "]" } else { "\n  ]" })
    }
}

impl<W: Write + Send> Taker for Shown<W> {
    fn columns(&mut self, names: &[String]) -> io::Result<()> {
        self.columns = names.to_vec();
        match self.form {
            Form::Csv => {
                let names: Vec<Value<'_>> =
                    names.iter().map(|n| Value::Text(n.as_bytes())).collect();
                self.csv_row(&names).map_err(told)
            }
            Form::Table | Form::Json => Ok(()),
        }
    }

    fn row(&mut self, values: &[Value<'_>]) -> io::Result<()> {
        let done = match self.form {
            Form::Csv => self.csv_row(values),
            Form::Table => {
                let cells = values.iter().map(|value| self.cell(*value)).collect();
                self.hold(cells)
            }
            Form::Json => self.json_row(values),
        };
        self.rows += 1;
        done.map_err(told)
    }
}

fn told(cause: io::Error) -> io::Error {
    about_stdout(&cause)
}

/// Writes a value as JSON. Integers have all their digits; readers that use doubles lose those beyond 2^53. A long
/// value is written in pieces.
fn write_value(out: &mut impl Write, value: Value<'_>) -> io::Result<()> {
    match value {
        Value::Null => out.write_all(b"null"),
        Value::Integer(number) => write!(out, "{number}"),
        Value::Real(number) if number.is_finite() => write!(out, "{}", json!(number)),
        Value::Real(number) => {
            let sign = if number < 0.0 { "-" } else { "" };
            write!(out, "{{\n        \"real\": \"{sign}Infinity\"\n      }}")
        }
        Value::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => {
                let mut rest = text;
                out.write_all(b"\"")?;
                while !rest.is_empty() {
                    let (piece, left) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES));
                    let text = json!(piece).to_string();
                    // Without the quotes around it.
                    out.write_all(quote::json(&text[1..text.len() - 1]).as_bytes())?;
                    rest = left;
                }
                out.write_all(b"\"")
            }
            Err(_) => write_object(out, "text", bytes),
        },
        Value::Blob(bytes) => write_object(out, "blob", bytes),
    }
}

fn write_object(out: &mut impl Write, kind: &str, bytes: &[u8]) -> io::Result<()> {
    write!(out, "{{\n        \"{kind}\": \"")?;
    write_hex(out, bytes, false)?;
    out.write_all(b"\"\n      }")
}

fn write_hex(out: &mut impl Write, bytes: &[u8], is_upper: bool) -> io::Result<()> {
    for piece in bytes.chunks(PIECE_BYTES) {
        let text = match is_upper {
            true => hex::encode_upper(piece),
            false => hex::encode(piece),
        };
        out.write_all(text.as_bytes())?;
    }
    Ok(())
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
        let csv = |value: Value<'_>| {
            let mut shown = Shown::new(Form::Csv, Vec::new());
            shown.csv(value).unwrap();
            String::from_utf8(shown.out).unwrap()
        };
        let cells: Vec<String> = VALUES.iter().map(|value| csv(*value)).collect();
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
        assert_eq!(csv(Value::Text(b"")), "\"\"");
    }

    #[test]
    fn json_keeps_every_digit_and_every_byte() {
        let text = answer(Form::Json, &["a"; VALUES.len()], &[&VALUES]);
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["is_cut"], false);
        assert_eq!(
            document["rows"][0].to_string(),
            r#"[null,-9223372036854775808,9007199254740993,0.1,3.0,{"real":"-Infinity"},"it's \"so\",\nNULL",{"text":"61ff"},{"blob":"00ff"}]"#
        );
    }

    fn answer(form: Form, columns: &[&str], rows: &[&[Value<'_>]]) -> String {
        let mut shown = Shown::new(form, Vec::new());
        let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        shown.columns(&columns).unwrap();
        for row in rows {
            shown.row(row).unwrap();
        }
        String::from_utf8(shown.finish(false).unwrap()).unwrap()
    }

    #[test]
    fn a_document_is_laid_out_as_the_others_are() {
        for (columns, rows) in [
            (
                &["a", "b"][..],
                &[&VALUES[..2], &VALUES[5..7], &VALUES[7..]][..],
            ),
            (&["a"], &[]),
        ] {
            let text = answer(Form::Json, columns, rows);
            let document: serde_json::Value = serde_json::from_str(&text).unwrap();
            let keys: Vec<&String> = document.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["columns", "is_cut", "rows"]);
            let mut again = Vec::new();
            let parts = [&document["columns"], &document["rows"]];
            for part in parts {
                quote::write_json(&mut again, part).unwrap();
            }
            let again: String = String::from_utf8(again)
                .unwrap()
                .split_whitespace()
                .collect();
            let packed: String = text.split_whitespace().collect();
            let packed = packed
                .replace("{\"columns\":", "")
                .replace(",\"rows\":", "");
            assert_eq!(packed, format!("{again},\"is_cut\":false}}"));
        }
    }

    #[test]
    fn a_cell_shows_the_beginning_of_a_long_value_and_its_size() {
        let (text, blob) = ("é".repeat(70_000), vec![0xab; 70_000]);
        let broken = [b"\xff".to_vec(), vec![b'x'; 70_000]].concat();
        let values = [
            Value::Text(text.as_bytes()),
            Value::Blob(&blob),
            Value::Text(&broken),
        ];
        let table = answer(Form::Table, &["a", "b", "c"], &[&values]);
        assert!(table.chars().count() < 2_000, "{}", table.len());
        for part in ["éé… (137 KB)", "ABAB'… (68 KB)", "AS TEXT)… (68 KB)"] {
            assert!(table.contains(part), "{part}: {table}");
        }
        let csv = answer(Form::Csv, &["a"], &[&values[..1]]);
        assert_eq!(csv, format!("\"a\"\r\n\"{text}\"\r\n"));
        let document = answer(Form::Json, &["a"], &[&values[1..2]]);
        assert!(document.contains(&"ab".repeat(70_000)));
    }

    #[test]
    fn a_long_table_is_written_as_its_rows_come() {
        let mut shown = Shown::new(Form::Table, Vec::new());
        shown.columns(&["a".to_owned()]).unwrap();
        for number in 0..3 * HELD_ROWS {
            shown.row(&[Value::Integer(number as i64)]).unwrap();
            assert!(shown.held.len() < HELD_ROWS);
        }
        let text = String::from_utf8(shown.finish(false).unwrap()).unwrap();
        assert_eq!(text.lines().count(), 3 * HELD_ROWS + 1);
    }

    #[test]
    fn a_table_shows_the_word_null_as_text_in_quotes() {
        let table = answer(
            Form::Table,
            &["a", "b"],
            &[
                &[Value::Null, Value::Text(b"NULL")],
                &[Value::Text("grün\n".as_bytes()), Value::Integer(7)],
            ],
        );
        assert_eq!(table, "a       b\nNULL    'NULL'\ngrün\\n  7\n");
    }
}
