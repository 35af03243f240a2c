//! `patina audit`: who was given what, and whether that record is whole.

use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::args::AuditCommand;
use super::context::{Context, printable};
use super::exit::{Exit, Refusal};
use super::table::{Side, Table};
use crate::catalog::{AuditRow, AuditVerdict};
use crate::types::{ByteCount, counted, either};

/// Runs `patina audit …`.
pub(super) fn run(context: &Context, command: &AuditCommand) -> anyhow::Result<Exit> {
    let config = context.load()?.config;
    let catalog = context.catalog(&config)?;
    match command {
        AuditCommand::List { limit } => list(context, &catalog.audits(*limit)?),
        AuditCommand::Verify => verify(context, &catalog.verify_audit()?),
    }
}

fn list(context: &Context, rows: &[AuditRow]) -> anyhow::Result<Exit> {
    if context.json {
        let rows: Vec<Value> = rows.iter().map(document).collect();
        context.print_json(&json!({ "rows": rows }))?;
        return Ok(Exit::Ok);
    }
    if rows.is_empty() {
        context.print("nobody was given anything yet")?;
        return Ok(Exit::Ok);
    }
    let mut table = Table::new([
        ("ROW", Side::Right),
        ("TIME", Side::Left),
        ("WHAT", Side::Left),
        ("OUTCOME", Side::Left),
        ("CLIENT", Side::Left),
        ("ADDRESS", Side::Left),
        ("SIZE", Side::Right),
        ("OF", Side::Left),
    ]);
    for AuditRow { id, audit, .. } in rows {
        table.row([
            id.to_string(),
            audit.at.to_rfc3339_opts(SecondsFormat::Secs, true),
            audit.action.as_str().to_owned(),
            audit.outcome.as_str().to_owned(),
            printable(&audit.client),
            audit.address.to_string(),
            ByteCount(audit.size_bytes).to_string(),
            audit.subject.clone(),
        ]);
    }
    context.print(table)?;
    Ok(Exit::Ok)
}

fn document(row: &AuditRow) -> Value {
    let audit = &row.audit;
    json!({
        "id": row.id,
        "at": audit.at.to_rfc3339_opts(SecondsFormat::Millis, true),
        "request_id": audit.request,
        "action": audit.action.as_str(),
        "outcome": audit.outcome.as_str(),
        "client": audit.client,
        "address": audit.address,
        "subject": audit.subject,
        "size_bytes": audit.size_bytes,
        "hash": row.hash,
    })
}

fn verify(context: &Context, verdict: &AuditVerdict) -> anyhow::Result<Exit> {
    let (rows, head) = match verdict {
        AuditVerdict::Whole { rows, head } => (rows, head),
        AuditVerdict::Broken { row, what } => {
            let text = format!(
                "the audit is not as it was written: row {row}: {what}\n\
                 hint: `patina audit list` shows the rows; somebody changed the catalog"
            );
            return Err(Refusal::damage(text).into());
        }
    };
    if context.json {
        context.print_json(&json!({ "rows": rows, "head": head }))?;
        return Ok(Exit::Ok);
    }
    match head {
        None => context.print("the audit has no row yet")?,
        Some(head) => context.print(format_args!(
            "{} {} written; the last one's hash, which stands for all before it, is\n{head}",
            counted(*rows, "row"),
            either(*rows, "is as it was", "are as they were")
        ))?,
    }
    Ok(Exit::Ok)
}
