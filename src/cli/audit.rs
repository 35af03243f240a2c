//! `patina audit`: shows the audit log of granted and refused requests, and verifies it.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::args::AuditCommand;
use super::context::{Context, printable};
use super::exit::{Exit, Refusal};
use super::table::{Side, Table};
use crate::catalog::{AuditLimit, AuditRow, AuditVerdict, Refused};
use crate::types::{ByteCount, counted};

/// Runs `patina audit …`.
pub(super) fn run(context: &Context, command: &AuditCommand) -> anyhow::Result<Exit> {
    let config = context.load()?.config;
    let catalog = context.catalog(&config)?;
    match command {
        AuditCommand::List { limit, refused } => {
            let given = match refused {
                true => Vec::new(),
                false => catalog.audits(*limit)?,
            };
            list(context, &given, &catalog.refused(*limit)?, *limit)
        }
        AuditCommand::Verify => verify(context, &catalog.verify_audit()?),
    }
}

fn list(
    context: &Context,
    given: &[AuditRow],
    refused: &[Refused],
    limit: usize,
) -> anyhow::Result<Exit> {
    if context.json {
        let rows: Vec<Value> = given.iter().map(document).collect();
        let refused: Vec<Value> = refused.iter().map(refusal).collect();
        context.print_json(&json!({ "rows": rows, "refused": refused }))?;
        return Ok(Exit::Ok);
    }
    if given.is_empty() && refused.is_empty() {
        context.print("no access is recorded yet")?;
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
    let mut rows: Vec<(DateTime<Utc>, [String; 8])> = given.iter().map(given_cells).collect();
    rows.extend(refused.iter().map(refused_cells));
    // Each list comes in the order of writing, which a clock that was set back does not change.
    rows.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    for (_, cells) in rows.into_iter().take(limit) {
        table.row(cells);
    }
    context.print(table)?;
    Ok(Exit::Ok)
}

fn given_cells(row: &AuditRow) -> (DateTime<Utc>, [String; 8]) {
    let AuditRow { id, audit, .. } = row;
    let cells = [
        id.to_string(),
        audit.at.to_rfc3339_opts(SecondsFormat::Secs, true),
        audit.action.as_str().to_owned(),
        audit.outcome.as_str().to_owned(),
        printable(&audit.client),
        audit.address.to_string(),
        ByteCount(audit.size_bytes).to_string(),
        printable(&audit.subject),
    ];
    (audit.at, cells)
}

/// Refused requests have no number in the chain, and one row may represent several.
fn refused_cells(refused: &Refused) -> (DateTime<Utc>, [String; 8]) {
    let times = match refused.times {
        1 => String::new(),
        times => format!(", {times}×"),
    };
    let cells = [
        String::new(),
        refused.at.to_rfc3339_opts(SecondsFormat::Secs, true),
        format!("refused {}", refused.status),
        format!("{}{times}", refused.why),
        printable(refused.client.as_deref().unwrap_or("-")),
        refused.address.to_string(),
        String::new(),
        printable(&format!("{} {}", refused.method, refused.path)),
    ];
    (refused.at, cells)
}

fn refusal(refused: &Refused) -> Value {
    json!({
        "at": refused.at.to_rfc3339_opts(SecondsFormat::Millis, true),
        "request_id": refused.request,
        "status": refused.status,
        "why": refused.why,
        "method": refused.method,
        "path": refused.path,
        "client": refused.client,
        "address": refused.address,
        "times": refused.times,
    })
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
    let (rows, head, begin) = match verdict {
        AuditVerdict::Whole { rows, head, begin } => (rows, head, begin),
        AuditVerdict::Broken { row, what } => {
            let text = format!(
                "the audit is not as it was written: row {row}: {what}\n\
                 hint: `patina audit list` shows the rows; somebody changed the catalog"
            );
            return Err(Refusal::damage(text).into());
        }
    };
    if context.json {
        let begin = begin.as_ref().map(
            |begin| json!({ "after_row": begin.after_row, "hash": begin.hash, "at": begin.at }),
        );
        context.print_json(&json!({ "rows": rows, "head": head, "begins": begin }))?;
        return Ok(Exit::Ok);
    }
    let Some(head) = head else {
        context.print("the audit has no row yet")?;
        return Ok(Exit::Ok);
    };
    let from = begin.as_ref().map_or(1, |begin| begin.after_row + 1);
    context.print(format_args!(
        "all rows from {from} to {rows} are as they were written; the last one's hash, which stands for all before it, \
         is\n{head}"
    ))?;
    if let Some(begin) = begin {
        let at = begin.at.format("%Y-%m-%d %H:%M UTC");
        let limit = AuditLimit::USUAL;
        context.print(format_args!(
            "rows 1 to {} were let go, the last ones on {at}: the audit keeps {}, and {} beyond the newest {}; \
             the hash of row {} was\n{}",
            begin.after_row,
            counted(limit.most_rows, "row"),
            counted(limit.most_age.num_days(), "day"),
            limit.least_rows,
            begin.after_row,
            begin.hash
        ))?;
    }
    Ok(Exit::Ok)
}
