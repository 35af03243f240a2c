//! Shows the result of a restore: each table with its mark, and what could not be compared.

use std::time::Duration;

use serde_json::{Value, json};

use super::What;
use crate::cli::context::{Context, in_spite_of, printable, tell};
use crate::cli::exit::Exit;
use crate::cli::list::add_proof;
use crate::cli::table::{Side, Table};
use crate::engine::restore::{Basis, Proof, Restored, TableProof, Verdict};
use crate::types::{ByteCount, counted, grouped};

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
            let texts: Vec<String> = all.iter().map(text).collect();
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

fn text(done: &Done<'_>) -> String {
    let restored = &done.restored;
    let mut table = Table::new([
        ("", Side::Left),
        ("TABLE", Side::Left),
        ("ROWS", Side::Right),
        ("PROOF", Side::Left),
    ]);
    for entry in &restored.proof.tables {
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
    let mut text = format!(
        "{} → {}\n{table}\n{}",
        done.what.name,
        done.target,
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
