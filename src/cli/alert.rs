//! `patina alert test`: sends a test to every sink and shows each response.

use serde_json::json;

use super::context::{Context, in_spite_of, printable, tell};
use super::exit::{Exit, Refusal};
use super::table::{Side, Table};
use crate::app;
use crate::engine::deliver::{said, send_to_all, test_alert};
use crate::notify::Message;

/// Time that a short command spends on sending due alerts.
pub(super) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(15);

/// Runs `patina alert test`.
pub(super) async fn test(context: &Context) -> anyhow::Result<Exit> {
    let config = context.load()?.config;
    let sinks = app::sinks(&config);
    if sinks.is_empty() {
        let text = "no alert sink is configured\nhint: write a `[[alerts.sink]]`";
        return Err(Refusal::failed(text).into());
    }
    let alert = test_alert(&config.agent().name, app::system_clock().now());
    let answers = send_to_all(&sinks, &Message::Alert(Box::new(alert))).await;
    let failed = answers.iter().filter(|(_, answer)| answer.is_err()).count();
    let exit = match failed {
        0 => Exit::Ok,
        failed if failed == answers.len() => Exit::Failed,
        _ => Exit::Partly,
    };
    if context.json {
        let document = answers.iter().map(
            |(sink, answer)| json!({ "sink": sink, "ok": answer.is_ok(), "answer": said(answer) }),
        );
        return Ok(in_spite_of(
            context.print_json(&document.collect::<Vec<_>>()),
            exit,
        ));
    }
    let mut table = Table::new([
        ("RESULT", Side::Left),
        ("SINK", Side::Left),
        ("ANSWER", Side::Left),
    ]);
    for (sink, answer) in &answers {
        let word = if answer.is_ok() { "ok" } else { "failed" };
        let said = said(answer);
        let first = said.lines().next().unwrap_or_default();
        table.row([word.to_owned(), sink.clone(), printable(first)]);
    }
    let shown = context.print(table);
    for (sink, answer) in &answers {
        if let Err(error) = answer {
            tell(format_args!("error: sink `{sink}`: {error}"));
        }
    }
    Ok(in_spite_of(shown, exit))
}
