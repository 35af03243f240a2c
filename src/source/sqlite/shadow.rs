//! Finds the tables that a virtual table's module creates for itself. Invariant: they are found by creating the virtual
//! table, not by their names.

use rusqlite::{Connection, Result};

use crate::dump::quoted_name;
use crate::source::describe::Entry;

/// Result of creating a virtual table alone in an empty database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::source) enum Trial {
    /// These tables were created.
    Makes(Vec<String>),
    /// SQLite cannot create it, for this reason: its module or tokenizer is missing.
    Refused(String),
}

/// Creates the virtual table of `entry` alone and lists the tables that appear.
pub(in crate::source) fn try_alone(entry: &Entry) -> Trial {
    match made_by(entry) {
        Ok(tables) => Trial::Makes(tables),
        Err(error) => Trial::Refused(error.to_string()),
    }
}

fn made_by(entry: &Entry) -> Result<Vec<String>> {
    let connection = Connection::open_in_memory()?;
    let before = match connection.execute_batch(&entry.sql) {
        Ok(()) => vec![entry.name.clone()],
        // An index over another table may read that table's columns; a table with any column suffices to see what it
        // creates.
        Err(error) => {
            let content = entry.module().and_then(|module| module.option("content"));
            let Some(content) = content.filter(|name| !name.is_empty()) else {
                return Err(error);
            };
            connection.execute_batch(&format!("CREATE TABLE {}(a)", quoted_name(&content)))?;
            connection.execute_batch(&entry.sql)?;
            vec![entry.name.clone(), content]
        }
    };
    let sql = "SELECT name FROM sqlite_schema WHERE type='table' ORDER BY name";
    let mut statement = connection.prepare(sql)?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut names: Vec<String> = names.collect::<Result<_>>()?;
    names.retain(|name| !before.contains(name));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn makes(sql: &str) -> Option<Vec<String>> {
        let entry = Entry {
            kind: "table".to_owned(),
            name: "f".to_owned(),
            table: "f".to_owned(),
            sql: sql.to_owned(),
        };
        match try_alone(&entry) {
            Trial::Makes(tables) => Some(tables),
            Trial::Refused(_) => None,
        }
    }

    #[test]
    fn what_a_module_makes_is_seen_and_not_guessed() {
        let own = makes("CREATE VIRTUAL TABLE f USING fts5(a)").unwrap();
        assert_eq!(
            own,
            ["f_config", "f_content", "f_data", "f_docsize", "f_idx"]
        );
        let contentless = makes("CREATE VIRTUAL TABLE f USING fts5(a, content='', columnsize=0)");
        assert_eq!(contentless.unwrap(), ["f_config", "f_data", "f_idx"]);
        let over = makes("CREATE VIRTUAL TABLE f USING fts4(content=\"posts\")").unwrap();
        assert_eq!(over, ["f_docsize", "f_segdir", "f_segments", "f_stat"]);
        assert_eq!(
            makes("CREATE VIRTUAL TABLE f USING dbstat").unwrap(),
            [""; 0]
        );
        assert_eq!(makes("CREATE VIRTUAL TABLE f USING vec0(a)"), None);
        assert_eq!(
            makes("CREATE VIRTUAL TABLE f USING fts5(a, tokenize='mine')"),
            None
        );
    }
}
