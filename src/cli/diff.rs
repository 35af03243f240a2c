//! `patina diff`: shows the differences between two copies. Exit codes as of `diff`: 0 equal, 1 different, 2 error.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::args::DiffArgs;
use super::context::{Context, in_spite_of, printable};
use super::exit::{Exit, Refusal};
use super::meter::ByteMeter;
use super::signals::overdue;
use super::ways::{Stored, private_folder};
use crate::engine::restore::diff::{Difference, SchemaChange, diff};
use crate::engine::restore::{Changes, Job, KeyKind, TableDifference};
use crate::types::{counted, grouped};

/// Runs `patina diff`.
pub(super) async fn run(context: &Context, args: &DiffArgs) -> anyhow::Result<Exit> {
    let stop = CancellationToken::new();
    let overdue = overdue(stop.clone())?;
    let ended = tokio::select! {
        ended = compare(context, args, &stop) => ended,
        () = overdue => Err(Refusal::failed("the comparison did not end in time after a signal and was given up").into()),
    };
    // 1 means that the copies differ, and nothing else.
    ended.map_err(|error| match error.downcast::<Refusal>() {
        Ok(refusal) if refusal.exit == Exit::Failed => Refusal::usage(refusal.text).into(),
        Ok(refusal) => refusal.into(),
        Err(other) => other,
    })
}

async fn compare(
    context: &Context,
    args: &DiffArgs,
    stop: &CancellationToken,
) -> anyhow::Result<Exit> {
    let stored = Stored::open(context).await?;
    let (first, a) = stored.origin(&args.a, args.storage.as_deref())?;
    let (second, b) = stored.origin(&args.b, args.storage.as_deref())?;
    let folder = private_folder(&stored.config)?;
    let meter = ByteMeter::start(context, a.stored_bytes() + b.stored_bytes());
    let job = |origin| Job {
        origin,
        tables: &args.tables,
        progress: &meter.progress,
        stop,
    };
    let found = diff(&job(&a), &job(&b), &folder.path(""), args.samples).await;
    let found = found.map_err(|error| stored.told(error, &first));
    meter.stop().await;
    let found = found?;
    let keys = [
        first.manifest().key.to_string(),
        second.manifest().key.to_string(),
    ];
    let shown = match context.json {
        true => context.print_json(&document(&keys, &found)),
        false => context.print(text(&keys, &found)),
    };
    Ok(in_spite_of(
        shown,
        match found.is_empty() {
            true => Exit::Ok,
            false => Exit::Failed,
        },
    ))
}

fn document(keys: &[String; 2], found: &Difference) -> Value {
    json!({
        "a": keys[0],
        "b": keys[1],
        "is_equal": found.is_empty(),
        "equal_tables": found.equal_tables,
        "schema": found.schema.iter().map(schema_document).collect::<Vec<_>>(),
        "tables": found.tables.iter().map(table_document).collect::<Vec<_>>(),
    })
}

fn schema_document(change: &SchemaChange) -> Value {
    json!({
        "kind": change.kind,
        "name": change.name,
        "change": change.word(),
        "before": change.before,
        "after": change.after,
    })
}

fn table_document(table: &TableDifference) -> Value {
    let changes = |changes: &Changes| json!({ "rows": changes.rows, "keys": changes.samples });
    json!({
        "name": table.name,
        "key": key(&table.key),
        "added": changes(&table.added),
        "removed": changes(&table.removed),
        "changed": changes(&table.changed),
        "columns": table.columns,
        "not_compared": table.not_compared,
    })
}

fn key(kind: &KeyKind) -> String {
    match kind {
        KeyKind::Primary(columns) => columns.join(","),
        KeyKind::Rowid => "rowid".to_owned(),
        KeyKind::Whole => "whole rows".to_owned(),
    }
}

fn text(keys: &[String; 2], found: &Difference) -> String {
    let mut text = format!("--- {}\n+++ {}\n", keys[0], keys[1]);
    for change in &found.schema {
        let mark = match change.word() {
            "added" => '+',
            "removed" => '-',
            _ => '~',
        };
        let (kind, name) = (&change.kind, printable(&change.name));
        let _ = writeln!(text, "{mark} {kind} {name}: {}", change.word());
    }
    for table in &found.tables {
        let _ = writeln!(
            text,
            "table {} (by {}):",
            printable(&table.name),
            printable(&key(&table.key))
        );
        if !table.columns.is_empty() {
            let columns = printable(&table.columns.join(", "));
            let _ = writeln!(
                text,
                "  ~ columns in one copy alone, not compared: {columns}"
            );
        }
        if let Some(why) = &table.not_compared {
            let _ = writeln!(text, "  ? rows not compared: {}", printable(why));
        }
        let kinds = [
            ('+', "added", &table.added),
            ('-', "removed", &table.removed),
            ('~', "changed", &table.changed),
        ];
        for (mark, word, changes) in kinds.into_iter().filter(|(_, _, changes)| changes.rows > 0) {
            let _ = writeln!(
                text,
                "  {mark} {} {word}{}",
                grouped(changes.rows),
                samples(changes)
            );
        }
    }
    let _ = match found.is_empty() {
        true => write!(text, "equal: {}", counted(found.equal_tables, "table")),
        false => write!(
            text,
            "equal otherwise: {}",
            counted(found.equal_tables, "table")
        ),
    };
    text
}

fn samples(changes: &Changes) -> String {
    if changes.samples.is_empty() {
        return String::new();
    }
    let more = if changes.rows > changes.samples.len() as u64 {
        ", …"
    } else {
        ""
    };
    let keys: Vec<String> = changes.samples.iter().map(|key| printable(key)).collect();
    format!(": {}{more}", keys.join("; "))
}
