//! Replaces `${NAME}` in strings. Invariant: only string leaves change, never the structure.
//!
//! It runs after parsing, so a value with quotes or brackets in it stays one value.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::Environment;
use super::finding::Findings;
use super::read::Sources;

/// Keys that hold secrets: they take a reference such as `env:NAME`, never a replaced text.
pub(super) const SECRET_KEYS: [&str; 9] = [
    "api_token",
    "access_key_id",
    "secret_access_key",
    "discord",
    "slack",
    "ntfy",
    "webhook",
    "heartbeat",
    "secret",
];

/// Replaces variables in every ordinary string of the tree.
pub(super) fn expand(
    table: &mut DeTable<'_>,
    sources: &Sources,
    env: &dyn Environment,
    findings: &mut Findings,
) {
    for (key, value) in table.iter_mut() {
        if !SECRET_KEYS.contains(&key.get_ref().as_ref()) {
            expand_value(value, sources, env, findings);
        }
    }
}

fn expand_value(
    value: &mut Spanned<DeValue<'_>>,
    sources: &Sources,
    env: &dyn Environment,
    findings: &mut Findings,
) {
    let span = value.span();
    match value.get_mut() {
        DeValue::Table(table) => expand(table, sources, env, findings),
        DeValue::Array(items) => {
            for item in items.iter_mut() {
                expand_value(item, sources, env, findings);
            }
        }
        DeValue::String(text) if text.contains("${") => {
            let expanded = replaced(text, |name| {
                let found = env.var(name);
                if found.is_none() {
                    missing(name, &span, sources, findings);
                }
                found
            });
            *text = DeString::Owned(expanded);
        }
        _ => {}
    }
}

/// Text with each `${NAME}` replaced; anything that is not a name in braces stays unchanged.
fn replaced(text: &str, mut value_of: impl FnMut(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        out.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let name = inner.split_once('}').map(|(name, _)| name);
        match name.filter(|name| is_name(name)) {
            Some(name) => {
                match value_of(name) {
                    Some(value) => out.push_str(&value),
                    None => out.push_str(&rest[at..at + name.len() + 3]),
                }
                rest = &inner[name.len() + 1..];
            }
            None => {
                out.push_str("${");
                rest = inner;
            }
        }
    }
    out.push_str(rest);
    out
}

fn missing(name: &str, span: &Range<usize>, sources: &Sources, findings: &mut Findings) {
    let typed = format!("${{{name}}}");
    let span = match sources.typed(span).find(&typed) {
        Some(at) => span.start + at..span.start + at + typed.len(),
        None => span.clone(),
    };
    findings
        .error(span, format!("environment variable `{name}` is not set"))
        .hint(format!("set `{name}` before starting patina"));
}

/// True if it is a valid name of an environment variable.
pub(super) fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_in_braces_is_replaced_and_a_value_is_never_read_again() {
        let value = |name: &str| (name == "A").then(|| "${A}\"".to_owned());
        for (text, expected) in [
            ("x${A}y", "x${A}\"y"),
            ("${A}${A}", "${A}\"${A}\""),
            ("${B}", "${B}"),
            ("$A ${} ${1} ${A", "$A ${} ${1} ${A"),
            ("ä${A}", "ä${A}\""),
        ] {
            assert_eq!(replaced(text, value), expected);
        }
    }
}
