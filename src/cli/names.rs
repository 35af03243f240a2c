//! Distinguishes a misspelt name from an unknown one.

use crate::config::did_you_mean;
use crate::types::DatabaseName;

/// Returns a hint for a name that is not in `known`: the nearest, or all.
pub(super) fn hint_for<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    did_you_mean(name, known.clone())
        .unwrap_or_else(|| format!("there are {}", known.collect::<Vec<_>>().join(", ")))
}

/// Returns the error text for an unknown database.
pub(super) fn unknown_database<'a>(
    name: &DatabaseName,
    known: impl Iterator<Item = &'a str> + Clone,
) -> String {
    let hint = hint_for(name.as_str(), known);
    format!("no database is called `{name}`\nhint: {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_offered_and_a_far_one_gets_the_list() {
        let known = ["groveauth", "scout-db"];
        let hint = |name| hint_for(name, known.into_iter());
        assert_eq!(hint("grovauth"), "did you mean `groveauth`?");
        assert_eq!(hint("zzz"), "there are groveauth, scout-db");
    }
}
