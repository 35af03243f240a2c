//! Renders a guide as the JSON document of `GET /restore-guide/{db}`. Shape: spec, "GET /restore-guide/:db"; additions
//! are in `copy`.

use serde_json::{Map, Value, json};

use super::{Guide, Step, Way};
use crate::types::ByteCount;

impl Guide {
    /// Returns the document; `copy` is null if there is no copy.
    pub fn document(&self) -> Value {
        let copies = self.copies.iter().map(|copy| {
            json!({
                "date": copy.date,
                "size": ByteCount(copy.size_bytes).to_string(),
                "key": copy.key,
                "rows": copy.rows,
                "good": copy.is_good,
                "suspect": copy.is_suspect,
                "datedAhead": copy.is_ahead,
                "unconfirmed": copy.is_unconfirmed,
                "form": copy.key.form().as_str(),
            })
        });
        let ways = self.ways.iter();
        let ways: Map<String, Value> = ways.map(|way| (way.key.clone(), way.document())).collect();
        json!({
            "database": self.database,
            "databaseId": self.home.id(),
            "description": self.description,
            "priority": self.priority.map(|priority| priority.to_string()),
            "restoreAfter": self.restore_after,
            "reason": self.reason,
            "availableBackups": copies.collect::<Vec<_>>(),
            "copy": self.copy(),
            "restoreInstructions": ways,
        })
    }

    fn copy(&self) -> Value {
        let Some(chosen) = &self.chosen else {
            return Value::Null;
        };
        let manifest = &chosen.manifest;
        let mut warnings = manifest.warnings.clone();
        warnings.extend(self.lacks_rows.then(|| self.about_rows()));
        let tables = manifest.evidence.tables.iter();
        let tables = tables.map(|table| json!({ "name": table.name, "rows": table.rows }));
        json!({
            "date": manifest.date,
            "key": manifest.key,
            "archive": chosen.archive,
            "size": ByteCount(manifest.plain.size_bytes).to_string(),
            "sizeBytes": manifest.plain.size_bytes,
            "sha256": manifest.plain.sha256,
            "class": manifest.class,
            "proof": manifest.proof(),
            "form": manifest.key.form().as_str(),
            "formReason": manifest.source.method_reason,
            "exceptions": manifest.exceptions,
            "damage": manifest.damage(),
            "bookmark": manifest.source.bookmark,
            "rows": manifest.evidence.total_rows(),
            "tables": tables.collect::<Vec<_>>(),
            "warnings": warnings,
        })
    }
}

impl Way {
    fn document(&self) -> Value {
        let steps = self.steps.iter().enumerate();
        let steps: Vec<String> = steps.map(|(index, step)| step.line(index + 1)).collect();
        let mut document = Map::new();
        document.insert("name".to_owned(), json!(self.name));
        document.insert("steps".to_owned(), json!(steps));
        if let Some(warning) = &self.warning {
            document.insert("warning".to_owned(), json!(warning));
        }
        if let Some(note) = &self.note {
            document.insert("note".to_owned(), json!(note));
        }
        document.into()
    }
}

impl Step {
    fn line(&self, number: usize) -> String {
        match &self.command {
            Some(command) => format!("{number}. {}: {command}", self.say),
            None => format!("{number}. {}", self.say),
        }
    }
}
