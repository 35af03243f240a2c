//! Compares an account's databases with the configured ones. Invariant: every database of either side is listed once.

use std::collections::HashSet;

use super::listing::ListedDatabase;
use crate::config::{Config, SourceSpec};
use crate::types::DatabaseName;

/// Number of characters of the id that distinguish two databases of the same name.
const ID_CHARS: usize = 8;

/// Name given to a database whose own name has no letter and no digit.
const NAMELESS: &str = "d1";

/// One D1 database, as listed by the account, the configuration, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovered {
    /// Its id, in lower case.
    pub id: String,
    /// Its name in the account; `None` if the account does not have it.
    pub listed_name: Option<String>,
    /// Its state of protection.
    pub standing: Standing,
}

/// State of protection of a D1 database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// A `[[database]]` of this name backs it up.
    Protected(DatabaseName),
    /// No `[[database]]` refers to it.
    Unprotected,
    /// This `[[database]]` refers to it, but the account does not have it.
    Absent(DatabaseName),
}

impl Standing {
    /// The word used in lists.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Protected(_) => "protected",
            Self::Unprotected => "unprotected",
            Self::Absent(_) => "absent",
        }
    }

    /// The name of its `[[database]]`.
    pub fn configured_name(&self) -> Option<&DatabaseName> {
        match self {
            Self::Protected(name) | Self::Absent(name) => Some(name),
            Self::Unprotected => None,
        }
    }
}

/// Compares the listed databases with those in `config`: first the listed ones in their order, then those that are
/// absent.
pub fn compare(config: &Config, listed: &[ListedDatabase]) -> Vec<Discovered> {
    let configured: Vec<(&DatabaseName, String)> = config
        .databases()
        .iter()
        .filter_map(|database| match &database.source {
            SourceSpec::D1 { id, .. } => Some((&database.name, id.to_ascii_lowercase())),
            SourceSpec::Sqlite(_) => None,
        })
        .collect();
    let mut found: Vec<Discovered> = Vec::with_capacity(listed.len());
    let mut ids = HashSet::new();
    for database in listed {
        let id = database.uuid.to_ascii_lowercase();
        if !ids.insert(id.clone()) {
            continue;
        }
        let by = configured.iter().find(|(_, known)| *known == id);
        found.push(Discovered {
            id,
            listed_name: Some(database.name.clone()),
            standing: by.map_or(Standing::Unprotected, |(name, _)| {
                Standing::Protected((*name).clone())
            }),
        });
    }
    for (name, id) in configured {
        if ids.insert(id.clone()) {
            found.push(Discovered {
                id,
                listed_name: None,
                standing: Standing::Absent(name.clone()),
            });
        }
    }
    found
}

/// Chooses a name for the database that is called `listed_name` in the account: the same if it is valid and free, else
/// the nearest valid one, with the start of the id if that is taken. `None` if even that one is taken.
pub fn name_for(
    listed_name: &str,
    id: &str,
    is_taken: impl Fn(&DatabaseName) -> bool,
) -> Option<DatabaseName> {
    let plain = plain(listed_name);
    let mark: String = id
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(ID_CHARS)
        .collect();
    let room = DatabaseName::MAX_BYTES - mark.len() - 1;
    let marked = format!("{}-{mark}", &plain[..plain.len().min(room)]);
    [plain, marked.to_ascii_lowercase()]
        .iter()
        .filter_map(|text| text.parse().ok())
        .find(|name| !is_taken(name))
}

/// Converts to the characters that a database name may have.
fn plain(listed_name: &str) -> String {
    let lower = listed_name.chars().map(|letter| match letter {
        'a'..='z' | '0'..='9' | '_' | '-' => letter,
        'A'..='Z' => letter.to_ascii_lowercase(),
        _ => '-',
    });
    let text: String = lower.collect();
    let text = text.trim_start_matches(['-', '_']).trim_end_matches('-');
    match &text[..text.len().min(DatabaseName::MAX_BYTES)] {
        "" => NAMELESS.to_owned(),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::System;

    const ONE: &str = "45eae4c7-8ae7-4078-9218-8e1677a4360f";
    const TWO: &str = "11111111-2222-4333-8444-555555555555";

    fn config() -> Config {
        let text = format!(
            "[cloudflare]\naccount_id = \"0123456789abcdef0123456789abcdef\"\napi_token = \"t\"\n\
             [[database]]\nname = \"auth\"\nd1 = \"{ONE}\"\n[[database]]\nname = \"blog\"\nsqlite = \"b.db\"\n"
        );
        let loaded = Config::from_text(&text, "patina.toml", Path::new("/"), &System);
        loaded.unwrap().config
    }

    fn listed(uuid: &str, name: &str) -> ListedDatabase {
        ListedDatabase {
            uuid: uuid.to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn each_database_of_either_side_is_told_once() {
        let upper = ONE.to_uppercase();
        let found = compare(
            &config(),
            &[listed(&upper, "groveauth"), listed(TWO, "new")],
        );
        let words: Vec<_> = found.iter().map(|one| one.standing.word()).collect();
        assert_eq!(words, ["protected", "unprotected"]);
        assert_eq!(
            found[0].standing.configured_name().unwrap().as_str(),
            "auth"
        );
        let found = compare(&config(), &[listed(TWO, "new")]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].standing, Standing::Absent("auth".parse().unwrap()));
        assert_eq!((found[1].id.as_str(), &found[1].listed_name), (ONE, &None));
    }

    #[test]
    fn any_name_becomes_a_valid_one_and_a_taken_one_carries_the_id() {
        let name = |text: &str| name_for(text, ONE, |_| false).unwrap().to_string();
        assert_eq!(name("auth"), "auth");
        assert_eq!(name("My Shop (EU)"), "my-shop--eu");
        assert_eq!(name("_grün"), "gr-n");
        assert_eq!(name("日本"), "d1");
        assert_eq!(name(&"x".repeat(90)).len(), DatabaseName::MAX_BYTES);
        let taken = |known: &DatabaseName| known.as_str() == "auth" || known.as_str().len() == 64;
        let second = |text: &str| name_for(text, ONE, taken).map(|name| name.to_string());
        assert_eq!(second("Auth").unwrap(), "auth-45eae4c7");
        assert_eq!(name_for("auth", ONE, |_| true), None);
        let long = name_for(&"x".repeat(90), ONE, |known| known.as_str().ends_with('x'));
        assert!(long.unwrap().as_str().ends_with("x-45eae4c7"));
    }
}
