//! Words what there is to know of a copy of a damaged source: what SQLite said, the last healthy copy, the way out.

use crate::catalog::Good;
use crate::excerpt::excerpt;
use crate::types::Manifest;

/// So many lines of SQLite's are in a message; `patina show` has all that were kept.
const MOST_LINES: usize = 3;

/// No line of SQLite's is longer in a message.
const MOST_CHARACTERS: usize = 160;

/// The alert about a suspect copy.
pub(super) fn message(manifest: &Manifest, last_healthy: Option<&Good>) -> String {
    let (name, key) = (&manifest.database, &manifest.key);
    let damage = damage(manifest.damage());
    let (last, restore) = match last_healthy {
        Some(good) => {
            let text = format!("the last healthy copy is {} of {}", good.key, good.date);
            let restore = format!(", or `patina restore {} --to FILE`", good.key);
            (text, restore)
        }
        None => ("there is no healthy copy".to_owned(), String::new()),
    };
    let file = shlex::try_quote(&manifest.source.id)
        .map_or_else(|_| "FILE".to_owned(), |word| word.into_owned());
    format!(
        "`{name}` is damaged where it lives: {damage}. The copy {key} is suspect: it is kept and does not count; {last}; \
         nothing of `{name}` expires meanwhile\nhint: stop the program that uses it; `sqlite3 {file} 'PRAGMA \
         integrity_check'` shows the damage; then `sqlite3 {file} .recover | sqlite3 NEW` saves what can be \
         read{restore}"
    )
}

/// What SQLite said, shortened.
fn damage(lines: &[String]) -> String {
    if lines.is_empty() {
        return "SQLite finds damage in it".to_owned();
    }
    let mut told: Vec<String> = lines
        .iter()
        .take(MOST_LINES)
        .map(|line| excerpt(line, MOST_CHARACTERS).into_owned())
        .collect();
    if lines.len() > MOST_LINES {
        told.push(format!("and {} more", lines.len() - MOST_LINES));
    }
    format!("SQLite says `{}`", told.join("`, `"))
}
