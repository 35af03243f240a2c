//! Shows the result of a restore: each table with its mark, and what could not be compared.

use std::time::Duration;

use serde_json::{Value, json};

use super::What;
use crate::cli::context::{Context, in_spite_of, printable, tell};
use crate::cli::exit::Exit;
use crate::cli::list::add_proof;
use crate::cli::table::{Side, Table};
use crate::engine::restore::{Basis, Proof, Restored, TableProof, Verdict};
use crate::types::{ByteCount, counted, either, grouped};

/// More tables than these are summed up, all databases taken together, and only those named that a person should look at:
/// as `patina backup` does with databases.
const MOST_LISTED: usize = 100;

/// One completed restore.
pub(super) struct Done<'a> {
    pub(super) what: &'a What,
    pub(super) target: String,
    pub(super) restored: Restored,
    pub(super) duration: Duration,
}

/// Shows the results.
pub(super) fn show(context: &Context, all: &[Done<'_>]) -> Exit {
    for done in all {
        for warning in &done.restored.warnings {
            tell(format_args!("warning: {}", printable(warning)));
        }
    }
    let shown = match context.json {
        true => {
            let databases: Vec<Value> = all.iter().map(document).collect();
            context.print_json(&json!({ "databases": databases }))
        }
        false => {
            let tables = all.iter().map(|done| done.restored.proof.tables.len());
            let is_long = tables.sum::<usize>() > MOST_LISTED;
            let texts: Vec<String> = all.iter().map(|done| text(done, is_long)).collect();
            context.print(texts.join("\n\n"))
        }
    };
    in_spite_of(shown, Exit::Ok)
}

fn document(done: &Done<'_>) -> Value {
    let restored = &done.restored;
    let mut document = json!({
        "copy": done.what.name,
        "target": done.target,
        "safety_copy": restored.safety_copy,
        "size_bytes": restored.size_bytes,
        "duration_ms": u64::try_from(done.duration.as_millis()).unwrap_or(u64::MAX),
        "compared_with": basis(restored.proof.basis),
        // Nothing in an image is executed or checked: its pages are the source's.
        "integrity": (restored.proof.basis != Basis::Pages).then_some("ok"),
        "foreign_key_violations": restored.proof.violations,
        "expected_foreign_key_violations": restored.proof.expected_violations,
        "tables": restored.proof.tables.iter().map(table_document).collect::<Vec<_>>(),
        "warnings": restored.warnings,
    });
    if let Some(manifest) = done.what.manifest() {
        document["class"] = json!(manifest.class);
        add_proof(&mut document, manifest);
    }
    document
}

fn table_document(table: &TableProof) -> Value {
    json!({
        "name": table.name,
        "rows": table.rows,
        "expected_rows": table.expected_rows,
        "result": table.verdict.word(),
    })
}

fn basis(basis: Basis) -> &'static str {
    match basis {
        Basis::Manifest => "manifest",
        Basis::Pages => "pages",
        Basis::Counts => "row counts",
        Basis::Nothing => "nothing",
    }
}

/// The table of tables, and what it leaves out where there are very many; may be empty.
fn listed(tables: &[TableProof], is_long: bool) -> String {
    let is_listed = |entry: &&TableProof| !is_long || is_notable(&entry.verdict);
    let listed: Vec<&TableProof> = tables.iter().filter(is_listed).collect();
    let mut text = match listed.is_empty() {
        true => String::new(),
        false => format!("{}\n", table(&listed)),
    };
    let left = (tables.len() - listed.len()) as u64;
    if left > 0 {
        let (left, are) = (counted(left, "table"), either(left, "is", "are"));
        text += &format!("{left} {are} not listed; `--json` names each\n");
    }
    text
}

/// Whether a person should look at the table, whatever is said of all of them.
fn is_notable(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::LeftOut(_) | Verdict::Differs(_) => true,
        Verdict::Equal
        | Verdict::InPages
        | Verdict::Counted
        | Verdict::Restored
        | Verdict::Rebuilt => false,
    }
}

fn table(tables: &[&TableProof]) -> Table<4> {
    let mut table = Table::new([
        ("", Side::Left),
        ("TABLE", Side::Left),
        ("ROWS", Side::Right),
        ("PROOF", Side::Left),
    ]);
    for entry in tables {
        let mark = if entry.verdict.is_good() {
            "✓"
        } else {
            "✗"
        };
        table.row([
            mark.to_owned(),
            printable(&entry.name),
            grouped(entry.rows),
            words(entry),
        ]);
    }
    table
}

fn text(done: &Done<'_>, is_long: bool) -> String {
    let restored = &done.restored;
    let mut text = format!(
        "{} → {}\n{}{}",
        done.what.name,
        done.target,
        listed(&restored.proof.tables, is_long),
        sum(&restored.proof)
    );
    text += &format!(
        "\n✓ {} in {:.1} s",
        ByteCount(restored.size_bytes),
        done.duration.as_secs_f64()
    );
    if let Some(manifest) = done.what.manifest() {
        text += &format!("\nproof {}", manifest.proof());
        if manifest.is_image() {
            text += "\nthe copy is an image: its pages are those of the source";
        }
        for exception in &manifest.exceptions {
            text += &format!("\nexception: {}", printable(&exception.to_string()));
        }
    }
    if let Some(copy) = &restored.safety_copy {
        text += &format!("\nsafety copy of what was there: {}", copy.display());
    }
    text
}

fn words(table: &TableProof) -> String {
    match &table.verdict {
        Verdict::Equal => "every value equal to the manifest's".to_owned(),
        Verdict::InPages => "in the image, whose pages are the source's".to_owned(),
        Verdict::Counted => "as many rows as the dump announces".to_owned(),
        Verdict::Restored => "restored; nothing known to compare with".to_owned(),
        Verdict::Rebuilt => "index, built again".to_owned(),
        Verdict::LeftOut(reason) => format!("the copy holds no rows: {}", printable(reason)),
        Verdict::Differs(how) => printable(how),
    }
}

/// Returns the summary line.
fn sum(proof: &Proof) -> String {
    let (tables, rows) = (
        counted(proof.tables.len() as u64, "table"),
        counted(proof.total_rows(), "row"),
    );
    let keys = match (proof.violations, proof.expected_violations) {
        (0, _) => "no foreign key violated".to_owned(),
        (count, Some(expected)) if count == expected => {
            format!("{count} foreign keys violated, as in the source")
        }
        (count, _) => format!("{count} foreign keys violated"),
    };
    let compared = match proof.basis {
        Basis::Manifest => "equal to the manifest",
        // Nothing in it was executed, so nothing more is known.
        Basis::Pages => return format!("✓ {tables}, {rows}: every page equal to the source's"),
        Basis::Counts => "row counts as the dump announces, no manifest to compare values with",
        Basis::Nothing => "nothing known to compare with",
    };
    format!("✓ {tables}, {rows}: {compared}; integrity ok, {keys}")
}
