//! Checks `restore_after`: every name exists in the file, and nothing waits for itself.

use std::collections::HashMap;

use super::Checker;
use crate::config::order::ordered;
use crate::config::raw::{At, RawConfig, RawDatabase};
use crate::config::shape::did_you_mean;

/// Database as typed: its other mistakes are reported elsewhere.
type Typed = At<RawDatabase>;

impl Checker<'_> {
    /// Reports unknown names and cycles.
    pub(super) fn restore_order(&mut self, raw: &RawConfig) {
        let names: HashMap<&str, usize> = raw.database.iter().enumerate().rev().fold(
            HashMap::new(),
            |mut names, (index, database)| {
                names.insert(name(database), index);
                names
            },
        );
        let after: Vec<Vec<usize>> = raw
            .database
            .iter()
            .map(|database| self.waits_for(database, &names))
            .collect();
        for circle in ordered(&after).circles {
            self.circle(raw, &circle);
        }
    }

    /// Indices of the databases that this one waits for.
    fn waits_for(&mut self, database: &Typed, names: &HashMap<&str, usize>) -> Vec<usize> {
        let mut found = Vec::new();
        for wanted in &database.value.restore_after {
            let text = wanted.value.as_str();
            match names.get(text) {
                Some(_) if text == name(database) => {
                    self.error(
                        &wanted.span,
                        format!("`restore_after` of `{text}` names `{text}` itself"),
                    )
                    .hint("name the databases that must be there first");
                }
                Some(index) => found.push(*index),
                None => {
                    let known = names
                        .keys()
                        .copied()
                        .filter(|known| *known != name(database));
                    let hint = did_you_mean(text, known).unwrap_or_else(|| {
                        "name a `[[database]]` of this file, or remove it".to_owned()
                    });
                    self.error(
                        &wanted.span,
                        format!("`restore_after` names `{text}`, which is no database here"),
                    )
                    .hint(hint);
                }
            }
        }
        found
    }

    fn circle(&mut self, raw: &RawConfig, circle: &[usize]) {
        let (Some(first), Some(last)) = (circle.first(), circle.last()) else {
            return;
        };
        let members = circle.iter().chain([first]);
        let told: Vec<String> = members
            .map(|index| format!("`{}`", name(&raw.database[*index])))
            .collect();
        let target = name(&raw.database[*first]);
        let mut closing = raw.database[*last].value.restore_after.iter();
        if let Some(at) = closing.find(|at| at.value == target) {
            let message = format!("`restore_after` goes in a circle: {}", told.join(" after "));
            self.error(&at.span, message)
                .hint("remove one of them: no order fits all");
        }
    }
}

fn name(database: &Typed) -> &str {
    let name = database.value.name.as_ref();
    name.map_or("", |name| name.value.as_str())
}
