//! Checks the tree against the schema: unknown keys, wrong types, words and bounds. Invariant: the remaining tree
//! deserializes.
//!
//! serde stops at its first mistake; this pass finds all, removes what is wrong, and continues.

use std::ops::Range;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use super::finding::Findings;
use super::foreign;
use crate::quote;

/// Reports what does not fit the schema and removes it from the tree.
pub(super) fn prune(root: &mut DeTable<'_>, schema: &Value, findings: &mut Findings) {
    let pass = Pass { schema };
    pass.table("", root, 0, schema, findings);
}

struct Pass<'a> {
    schema: &'a Value,
}

impl Pass<'_> {
    /// Checks a table. `place` is the section's name without brackets; empty: the file itself.
    fn table(
        &self,
        place: &str,
        table: &mut DeTable<'_>,
        start: usize,
        schema: &Value,
        found: &mut Findings,
    ) {
        let Some(known) = schema.get("properties").and_then(Value::as_object) else {
            return;
        };
        let keys: Vec<(String, Range<usize>)> = table
            .keys()
            .map(|key| (key.get_ref().clone().into_owned(), key.span()))
            .collect();
        for (key, span) in keys {
            let fits = match known.get(&key) {
                None => {
                    self.unknown_key(place, &key, span, known, found);
                    let value = table.get(key.as_str());
                    self.foreign_keys(
                        &key,
                        value.and_then(|value| value.get_ref().as_table()),
                        found,
                    );
                    false
                }
                Some(schema) => match table.get_mut(key.as_str()) {
                    Some(value) => {
                        let place = match place {
                            "" => key.clone(),
                            place => format!("{place}.{key}"),
                        };
                        self.value(&place, &key, value, self.resolved(schema), found)
                    }
                    None => true,
                },
            };
            if !fits {
                table.remove(key.as_str());
                found.lost_a_key(start);
            }
        }
    }

    /// True if the value, or what is left of it, fits.
    fn value(
        &self,
        place: &str,
        key: &str,
        value: &mut Spanned<DeValue<'_>>,
        schema: &Value,
        found: &mut Findings,
    ) -> bool {
        let span = value.span();
        let wanted = Wanted::of(schema);
        if let DeValue::Datetime(moment) = value.get_ref() {
            // No key takes a TOML date; keys that take a date as text accept one without quotes.
            *value.get_mut() = DeValue::String(DeString::Owned(moment.to_string()));
        }
        match (wanted, value.get_mut()) {
            (Wanted::Table, DeValue::Table(table)) => {
                self.table(place, table, span.start, schema, found);
                true
            }
            (Wanted::List, DeValue::Array(items)) => {
                self.list(place, key, items, schema, found);
                true
            }
            (Wanted::List, DeValue::Table(_)) if self.items_are_tables(schema) => {
                found
                    .error(span.clone(), format!("`{key}` is a list of tables"))
                    .hint(format!("write `[[{key}]]`, with double brackets"));
                let table = std::mem::replace(value.get_mut(), DeValue::Boolean(false));
                let mut items = DeArray::new();
                items.push(Spanned::new(span, table));
                self.list(place, key, &mut items, schema, found);
                *value.get_mut() = DeValue::Array(items);
                true
            }
            (Wanted::Text, DeValue::String(text)) => word(key, text, &span, schema, found),
            (Wanted::Switch, DeValue::Boolean(_)) => true,
            (Wanted::Integer, DeValue::Integer(number)) => {
                let value = i64::from_str_radix(number.as_str(), number.radix());
                bounds(key, value.ok(), &number.to_string(), &span, schema, found)
            }
            (Wanted::Number, DeValue::Integer(_) | DeValue::Float(_)) => true,
            (wanted, other) => {
                let message = format!("`{key}` is {}, found {}", wanted.word(), word_for(other));
                let hint = wrong_type_hint(key, wanted, other, schema);
                found.error(span, message).maybe_hint(hint);
                false
            }
        }
    }

    fn list<'i>(
        &self,
        place: &str,
        key: &str,
        items: &mut DeArray<'i>,
        schema: &Value,
        found: &mut Findings,
    ) {
        let Some(item_schema) = schema.get("items") else {
            return;
        };
        let item_schema = self.resolved(item_schema);
        let mut fitting = DeArray::new();
        let all: DeArray<'i> = std::mem::replace(items, DeArray::new());
        for mut item in all {
            if self.value(place, key, &mut item, item_schema, found) {
                fitting.push(item);
            }
        }
        *items = fitting;
    }

    fn items_are_tables(&self, schema: &Value) -> bool {
        schema
            .get("items")
            .is_some_and(|items| Wanted::of(self.resolved(items)) == Wanted::Table)
    }

    fn unknown_key(
        &self,
        place: &str,
        key: &str,
        span: Range<usize>,
        known: &Map<String, Value>,
        found: &mut Findings,
    ) {
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        let hint = foreign::hint(place, key)
            .or_else(|| did_you_mean(key, names.iter().copied()))
            .or_else(|| self.elsewhere(key))
            .unwrap_or_else(|| format!("the keys here are {}", listed(&names)));
        found.error(span, format!("unknown key `{key}`")).hint(hint);
    }

    /// Reports the known words inside a section of another program's file, each at its place.
    fn foreign_keys(&self, section: &str, table: Option<&DeTable<'_>>, found: &mut Findings) {
        for key in table.into_iter().flat_map(DeTable::keys) {
            if let Some(hint) = foreign::hint(section, key.get_ref()) {
                let message = format!("unknown key `{section}.{}`", key.get_ref());
                found.error(key.span(), message).hint(hint);
            }
        }
    }

    /// Hint about the sections that have the key.
    fn elsewhere(&self, key: &str) -> Option<String> {
        let mut places = Vec::new();
        self.places_of(key, self.schema, "", &mut places);
        let places: Vec<&str> = places.iter().map(String::as_str).collect();
        (!places.is_empty()).then(|| format!("`{key}` belongs in {}", listed(&places)))
    }

    /// Collects the sections within `schema` that have the key, as they are written.
    fn places_of(&self, key: &str, schema: &Value, prefix: &str, places: &mut Vec<String>) {
        let sections = schema.get("properties").and_then(Value::as_object);
        for (name, schema) in sections.into_iter().flatten() {
            let schema = self.resolved(schema);
            let path = format!("{prefix}{name}");
            let (section, written) = match Wanted::of(schema) {
                Wanted::Table => (schema, format!("[{path}]")),
                Wanted::List if self.items_are_tables(schema) => {
                    (self.resolved(&schema["items"]), format!("[[{path}]]"))
                }
                _ => continue,
            };
            if section
                .get("properties")
                .is_some_and(|known| known.get(key).is_some())
            {
                places.push(written);
            }
            self.places_of(key, section, &format!("{path}."), places);
        }
    }

    /// Schema behind references and optionality.
    fn resolved<'s>(&'s self, schema: &'s Value) -> &'s Value {
        if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
            let path = name.trim_start_matches('#');
            return self.schema.pointer(path).unwrap_or(schema);
        }
        let null = Value::from("null");
        let choice = schema
            .get("anyOf")
            .and_then(Value::as_array)
            .and_then(|choices| choices.iter().find(|c| c.get("type") != Some(&null)));
        choice.map_or(schema, |choice| self.resolved(choice))
    }
}

/// Kind of value that a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Table,
    List,
    Text,
    Switch,
    Integer,
    Number,
}

impl Wanted {
    fn of(schema: &Value) -> Self {
        let kind = match schema.get("type") {
            Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str),
            Some(kind) => kind.as_str(),
            None => None,
        };
        match kind {
            Some("object") => Self::Table,
            Some("array") => Self::List,
            Some("boolean") => Self::Switch,
            Some("integer") => Self::Integer,
            Some("number") => Self::Number,
            _ => Self::Text,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Table => "a table",
            Self::List => "a list",
            Self::Text => "a text",
            Self::Switch => "`true` or `false`",
            Self::Integer => "a whole number",
            Self::Number => "a number",
        }
    }
}

fn word_for(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text `{text}`"),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(value) => format!("`{value}`"),
        DeValue::Datetime(moment) => format!("the date {moment}"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

fn wrong_type_hint(
    key: &str,
    wanted: Wanted,
    found: &DeValue<'_>,
    schema: &Value,
) -> Option<String> {
    match (wanted, found) {
        (Wanted::Text, DeValue::Integer(number)) if schema.get("x-duration").is_some() => {
            Some(duration_hint(key, number.as_str()))
        }
        (Wanted::Text, _) => Some(format!("put it in quotes: `{key} = \"…\"`")),
        (Wanted::List, DeValue::String(text)) => {
            Some(format!("put it in brackets: `{key} = [\"{text}\"]`"))
        }
        (Wanted::Integer | Wanted::Number, DeValue::String(text))
            if text.parse::<f64>().is_ok() =>
        {
            Some(format!("remove the quotes: `{key} = {text}`"))
        }
        (Wanted::Switch, DeValue::String(text)) if matches!(&**text, "true" | "false") => {
            Some(format!("remove the quotes: `{key} = {text}`"))
        }
        (Wanted::Table, _) => Some(format!("write a `[{key}]` section")),
        _ => None,
    }
}

/// A multiple of 1,000 is read as milliseconds, which other programs use.
fn duration_hint(key: &str, number: &str) -> String {
    let milliseconds = number.parse::<u64>().ok();
    let whole = milliseconds.filter(|number| *number >= 1_000 && number.is_multiple_of(1_000));
    match whole {
        Some(number) => format!(
            "write a duration with its unit: {number} milliseconds are `{key} = \"{}s\"`",
            number / 1_000
        ),
        None => format!("write a duration with its unit, such as `{key} = \"{number}s\"`"),
    }
}

fn word(key: &str, text: &str, span: &Range<usize>, schema: &Value, found: &mut Findings) -> bool {
    let mut allowed = Vec::new();
    collect_words(schema, &mut allowed);
    if allowed.is_empty() || allowed.contains(&text) {
        return true;
    }
    let hint = did_you_mean(text, allowed.iter().copied());
    let message = format!("`{key}` cannot be `{text}`");
    found
        .error(span.clone(), message)
        .hint(hint.unwrap_or_else(|| format!("use {}", listed(&allowed))));
    false
}

/// Collects the words that an enumeration allows: `enum`, or `const` in each choice.
fn collect_words<'s>(schema: &'s Value, words: &mut Vec<&'s str>) {
    if let Some(list) = schema.get("enum").and_then(Value::as_array) {
        words.extend(list.iter().filter_map(Value::as_str));
    }
    words.extend(schema.get("const").and_then(Value::as_str));
    for choices in ["oneOf", "anyOf"] {
        let choices = schema.get(choices).and_then(Value::as_array);
        for choice in choices.into_iter().flatten() {
            collect_words(choice, words);
        }
    }
}

fn bounds(
    key: &str,
    value: Option<i64>,
    shown: &str,
    span: &Range<usize>,
    schema: &Value,
    found: &mut Findings,
) -> bool {
    let limit = |name: &str| schema.get(name).and_then(Value::as_i64);
    let (least, most) = (limit("minimum"), limit("maximum"));
    let problem = match (least, most) {
        (Some(least), _) if value.is_some_and(|value| value < least) => {
            format!("must be at least {least}")
        }
        (_, Some(most)) if value.is_none_or(|value| value > most) => {
            format!("must be at most {most}")
        }
        _ => return true,
    };
    let hint = match (least, most) {
        (Some(least), Some(most)) => Some(format!("use a number from {least} to {most}")),
        _ => None,
    };
    found
        .error(span.clone(), format!("`{key}` {problem}, found {shown}"))
        .maybe_hint(hint);
    false
}

/// Returns `` did you mean `x`? `` if one of the words is similar.
pub(crate) fn did_you_mean<'w>(
    word: &str,
    known: impl IntoIterator<Item = &'w str>,
) -> Option<String> {
    const NEAR: f64 = 0.8;
    let lower = word.to_lowercase();
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(&lower, &known.to_lowercase()), known))
        .filter(|(score, _)| *score >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| format!("did you mean `{}`?", quote::name(known)))
}

/// Formats `` `a`, `b` or `c` ``.
pub(super) fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}
