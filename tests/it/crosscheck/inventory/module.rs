//! Finds the module in the text of a `CREATE VIRTUAL TABLE`.

/// The modules whose content these tests know how to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Module {
    Fts3,
    Fts4,
    Fts5,
    Rtree,
    /// The words of a full-text table, as a table.
    Vocabulary,
    Other,
}

/// The module that comes after `USING`; `None` where the text has another form.
pub(super) fn module_of(sql: &str) -> Option<Module> {
    let rest = word(sql, "create")?;
    let rest = word(rest, "virtual")?;
    let mut rest = word(rest, "table")?;
    while word(rest, "using").is_none() {
        rest = after_one(rest)?;
    }
    let rest = skip_blank(word(rest, "using")?);
    let name = &rest[..rest.len() - after_one(rest)?.len()];
    let name = name.trim_matches(['"', '\'', '`', '[', ']']).to_lowercase();
    Some(match name.as_str() {
        "fts3" => Module::Fts3,
        "fts4" => Module::Fts4,
        "fts5" => Module::Fts5,
        "rtree" | "rtree_i32" => Module::Rtree,
        "fts5vocab" | "fts4aux" => Module::Vocabulary,
        _ => Module::Other,
    })
}

fn word<'a>(text: &'a str, expected: &str) -> Option<&'a str> {
    let text = skip_blank(text);
    let start = text.get(..expected.len())?;
    let rest = &text[expected.len()..];
    let goes_on = rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    (start.eq_ignore_ascii_case(expected) && !goes_on).then_some(rest)
}

/// The text behind blanks and comments.
fn skip_blank(mut text: &str) -> &str {
    loop {
        text = text.trim_start();
        text = if let Some(comment) = text.strip_prefix("--") {
            comment.find('\n').map_or("", |end| &comment[end..])
        } else if let Some(comment) = text.strip_prefix("/*") {
            comment.find("*/").map_or("", |end| &comment[end + 2..])
        } else {
            return text;
        };
    }
}

/// The text behind one name, quoted or not, or one sign.
fn after_one(text: &str) -> Option<&str> {
    let text = skip_blank(text);
    let first = text.chars().next()?;
    let close = match first {
        '[' => ']',
        '"' | '\'' | '`' => first,
        c if c.is_alphanumeric() || c == '_' || !c.is_ascii() => {
            let ends = |c: char| !(c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii());
            return Some(text.find(ends).map_or("", |end| &text[end..]));
        }
        c => return Some(&text[c.len_utf8()..]),
    };
    let mut rest = &text[1..];
    loop {
        let end = rest.find(close)?;
        rest = &rest[end + 1..];
        if close == ']' || !rest.starts_with(close) {
            return Some(rest);
        }
        rest = &rest[1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_found_behind_every_name() {
        for (sql, module) in [
            ("CREATE VIRTUAL TABLE a USING fts5(b)", Module::Fts5),
            (
                "create virtual\ttable \"x using \"\"fts5\" /* using fts5 */ using 'RTREE'(a)",
                Module::Rtree,
            ),
            ("CREATE VIRTUAL TABLE [using] USING fts4", Module::Fts4),
            ("CREATE VIRTUAL TABLE v USING vec0(a)", Module::Other),
        ] {
            assert_eq!(module_of(sql), Some(module), "{sql}");
        }
        assert_eq!(module_of("CREATE TABLE t(a)"), None);
    }
}
