//! Renders a guide as Markdown. Invariant: the command of each step is in a code block of its own, and nothing else is.

use std::fmt::Write as _;

use super::{Chosen, Guide, Home, Way};
use crate::excerpt::excerpt;
use crate::quote::{NAME_CHARS, block, code, code_cell, line, markdown};
use crate::types::{ByteCount, EvidenceClass, counted, either, grouped};

/// Upper bound for the copies listed: a page that is read in a hurry has no room for more.
const COPIES_SHOWN: usize = 40;

impl Guide {
    /// Returns the whole page.
    pub fn markdown(&self) -> String {
        let mut page = format!("# Get `{}` back\n\n", self.database);
        self.about(&mut page);
        if self.lacks_rows {
            let _ = writeln!(page, "**ROWS ARE MISSING:** {}.\n", self.about_rows());
        }
        match &self.chosen {
            Some(chosen) => chosen.describe(&mut page),
            None => page.push_str("There is no copy of it.\n\n"),
        }
        for (index, way) in self.ways.iter().enumerate() {
            let _ = writeln!(page, "## {}. {}\n", index + 1, way.name);
            way.write(&mut page);
        }
        if !self.copies.is_empty() {
            page.push_str(
                "## Copies\n\n| date | size | rows | proven | key |\n|---|---|---|---|---|\n",
            );
        }
        for copy in self.copies.iter().take(COPIES_SHOWN) {
            let (date, size, rows) = (copy.date, ByteCount(copy.size_bytes), grouped(copy.rows));
            let proven = match (copy.is_good, copy.is_suspect, copy.exceptions) {
                (_, true, _) => "**SUSPECT**: a copy of a damaged source".to_owned(),
                (false, false, _) => "no".to_owned(),
                (true, false, 0) => "yes".to_owned(),
                (true, false, count) => format!("yes, {}", counted(count as u64, "exception")),
            };
            let ahead = match (copy.is_ahead, copy.is_unconfirmed) {
                (true, _) => " **AHEAD**: its clock was wrong",
                (false, true) => {
                    " **UNCONFIRMED**: found in a storage, never stored by this catalog"
                }
                (false, false) => "",
            };
            let _ = writeln!(
                page,
                "| {date}{ahead} | {size} | {rows} | {proven} | `{}` |",
                copy.key
            );
        }
        if let Some(more) = self.copies.len().checked_sub(COPIES_SHOWN + 1) {
            let _ = writeln!(
                page,
                "\n{} {} not shown.",
                counted(more + 1, "older copy"),
                either(more + 1, "is", "are")
            );
        }
        page
    }

    /// Explains missing rows; does not name tables, since anyone may have chosen their names.
    pub(super) fn about_rows(&self) -> String {
        format!(
            "the newest copies have far fewer rows in some tables than older ones; compare the rows below, and restore an \
             older copy where they should be there; `patina plan` says which tables, and nothing of `{0}` expires until \
             `patina ack {0}`",
            self.database
        )
    }

    fn about(&self, page: &mut String) {
        let home = match &self.home {
            Home::D1(id) => format!("D1 database {}", code(id)),
            Home::Sqlite(path) => format!("SQLite file {}", code(&path.to_string_lossy())),
        };
        let standing = match self.priority {
            Some(priority) => format!("priority {priority}"),
            None => "no longer in the configuration".to_owned(),
        };
        let _ = writeln!(page, "{home}, {standing}.");
        if !self.description.is_empty() {
            let _ = writeln!(page, "{}", markdown(&self.description));
        }
        let reason = markdown(&self.reason);
        let order = match (self.restore_after.is_empty(), reason.as_str()) {
            (true, "") => String::new(),
            (true, reason) => format!("Its place in the order of restore: {reason}"),
            (false, "") => format!("Restore it after {}.", self.after()),
            (false, reason) => format!("Restore it after {}: {reason}", self.after()),
        };
        if !order.is_empty() {
            let _ = writeln!(page, "\n{order}");
        }
        page.push('\n');
    }

    /// Returns the databases that must be restored first, as Markdown.
    pub(super) fn after(&self) -> String {
        let names = self.restore_after.iter();
        let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        names.join(", ")
    }
}

impl Chosen {
    pub(super) fn describe(&self, page: &mut String) {
        let manifest = &self.manifest;
        self.describe_trouble(page);
        let what = match manifest.is_image() {
            true => "an image of a SQLite file",
            false => "SQL",
        };
        let _ = writeln!(
            page,
            "The commands below restore the copy of **{}**: {} of {what}, {} in {}, begun {}. Its proof is of class {}.\n",
            manifest.date,
            ByteCount(manifest.plain.size_bytes),
            counted(manifest.evidence.total_rows(), "row"),
            counted(manifest.evidence.tables.len() as u64, "table"),
            line(&manifest.started_at),
            manifest.proof(),
        );
        if let Some(archive) = &self.archive {
            let _ = writeln!(page, "It lies in the archive `{archive}`.\n");
        }
        for exception in &manifest.exceptions {
            let _ = writeln!(
                page,
                "**Exception:** {}\n",
                markdown(&exception.to_string())
            );
        }
        for warning in &manifest.warnings {
            let _ = writeln!(page, "**Note:** {}\n", markdown(warning));
        }
        page.push_str("| table | rows |\n|---|---|\n");
        for table in &manifest.evidence.tables {
            let name = code_cell(&excerpt(&table.name, NAME_CHARS));
            let omitted = table.omitted.as_ref();
            let omitted = omitted.map_or(String::new(), |why| {
                format!(" (not in the copy: {})", markdown(why))
            });
            let _ = writeln!(page, "| {name} | {}{omitted} |", grouped(table.rows));
        }
        page.push('\n');
    }
}

impl Chosen {
    /// Describes damage that a person must know of first.
    fn describe_trouble(&self, page: &mut String) {
        if self.manifest.class != EvidenceClass::S {
            return;
        }
        page.push_str(
            "**SUSPECT:** there is no healthy copy. SQLite found the source damaged when this one was made; restored, it is \
             as damaged.\n\n",
        );
        for line in self.manifest.damage() {
            let _ = writeln!(page, "- {}", markdown(line));
        }
        if !self.manifest.damage().is_empty() {
            page.push('\n');
        }
    }
}

impl Way {
    /// Writes the numbered steps, each command in a code block.
    pub(super) fn write(&self, page: &mut String) {
        if let Some(warning) = &self.warning {
            let _ = writeln!(page, "**Warning:** {warning}\n");
        }
        for (index, step) in self.steps.iter().enumerate() {
            let number = index + 1;
            let _ = match &step.command {
                Some(command) => {
                    writeln!(page, "{number}. {}:\n\n{}", step.say, block(command))
                }
                None => writeln!(page, "{number}. {}.\n", step.say),
            };
        }
        if let Some(note) = &self.note {
            let _ = writeln!(page, "{note}\n");
        }
    }
}
