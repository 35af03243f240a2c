//! Lists the methods to restore a database from an image: it is the database file itself, so nothing is executed.

use super::command::{identifier, path};
use super::ways::{About, WayKey};
use super::{Step, Way};
use crate::quote::{markdown, shell};
use crate::types::counted;

/// Remaining step if the schema needs its program.
const LEFT_TO_DO: &str = "If the program sorts with collations of its own and is another version than when the copy was \
    made, have it run REINDEX before anything else";

impl About<'_> {
    /// Puts the file in the database's place with standard tools.
    pub(super) fn image(&self, file: &std::path::Path) -> Way {
        let (target, image) = (path(file), self.dump());
        let mut steps = self.download();
        steps.extend(self.verify_image(&image));
        steps.extend(self.put_aside(&target));
        steps.push(Step::run(
            "Put the copy in its place: it is the database file",
            format!("cp {image} {target}"),
        ));
        steps.push(Step::by_hand(LEFT_TO_DO));
        steps.push(Step::by_hand("Start the programs again"));
        Way {
            key: WayKey::Image.text(),
            name: "cp, without Patina".to_owned(),
            steps,
            warning: Some("This exchanges the database.".to_owned()),
            note: Some(self.why_image()),
        }
    }

    /// Method without a file to replace, such as for D1.
    pub(super) fn image_alone(&self) -> Way {
        let image = self.dump();
        let mut steps = self.download();
        steps.extend(self.verify_image(&image));
        steps.push(Step::by_hand(
            "Open it with its program, or take what you need out of it with sqlite3",
        ));
        Way {
            key: WayKey::Image.text(),
            name: "The database file".to_owned(),
            steps,
            warning: Some(
                "The copy is an image of a SQLite file: D1 takes SQL text alone, so it cannot be restored there."
                    .to_owned(),
            ),
            note: Some(self.why_image()),
        }
    }

    fn why_image(&self) -> String {
        match &self.manifest().source.method_reason {
            Some(why) => format!(
                "The copy is an image of the file's pages, not SQL text: {}",
                markdown(why)
            ),
            None => "The copy is an image of the file's pages, not SQL text.".to_owned(),
        }
    }

    /// Steps that have SQLite check the file, as far as it can without the program.
    pub(super) fn verify_image(&self, file: &str) -> Vec<Step> {
        let expected = match self.is_suspect() {
            true => "Look at the damage: SQLite names it as in the source",
            false => {
                "Ask SQLite: it says `ok`, names an exception from above, or misses what only the program has"
            }
        };
        let mut steps = vec![Step::run(
            expected,
            format!(
                "sqlite3 {file} 'PRAGMA integrity_check' || echo 'only its own program can check all of it'"
            ),
        )];
        for (table, rows) in self.counted() {
            let sql = format!("SELECT count(*) FROM {} NOT INDEXED", identifier(table));
            steps.push(Step::run(
                format!("Verify: {}", counted(rows, "row")),
                format!(
                    "sqlite3 {file} {} || echo 'only its own program can read this table'",
                    shell(&sql)
                ),
            ));
        }
        steps
    }

    /// Steps that take rows of one table out of the file.
    pub(super) fn one_table_of_image(&self) -> Way {
        let counted = self.counted();
        let table = counted.first().map_or("TABLE", |(table, _)| table);
        let (patina, address) = (self.patina(), self.address());
        let sql = format!("SELECT * FROM {} NOT INDEXED LIMIT 10", identifier(table));
        let file = format!("{}-{}-table.sqlite", self.database(), self.manifest().date);
        let steps = vec![
            Step::run(
                "Look at rows of the copy; nothing is restored for it",
                format!("{patina} query {address} {}", shell(&sql)),
            ),
            Step::run(
                "Write the copy to a file of its own",
                format!("{patina} cat {address} > {file}"),
            ),
            Step::run(
                "Take from it what you need, such as a table's SQL",
                format!(
                    "sqlite3 {file} {} > {}-table.sql",
                    shell(&format!(".dump {}", identifier(table))),
                    self.database()
                ),
            ),
        ];
        Way {
            key: WayKey::OneTable.text(),
            name: "One table, or one row".to_owned(),
            steps,
            warning: None,
            note: Some(
                "Write another table's name in place of this one. What needs a function, collation or module of the \
                 program can be read by the program alone."
                    .to_owned(),
            ),
        }
    }
}
