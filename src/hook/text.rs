//! Finds places in a script's text: the interpreter reports no position of a function or a key.

use std::ops::Range;

/// Returns the span of the name in `fn name`; `None` if the text has no such function.
pub(super) fn function(text: &str, name: &str) -> Option<Range<usize>> {
    words(text).find_map(|span| {
        let before = text[..span.start].trim_end();
        let is_defined = before.ends_with("fn") && before.len() < span.start;
        (&text[span.clone()] == name && is_defined).then_some(span)
    })
}

/// Returns the first occurrence of this key before a `:`, from `start` on.
pub(super) fn key(text: &str, start: usize, key: &str) -> Option<Range<usize>> {
    words(text).find(|span| {
        let after = text[span.end..].trim_start_matches('"').trim_start();
        span.start >= start
            && &text[span.clone()] == key
            && after.starts_with(':')
            && !after.starts_with("::")
    })
}

/// Returns the start of the next function after the one at `start`, or the end of the text.
pub(super) fn end_of_function(text: &str, start: usize) -> usize {
    let mut later = words(text).filter(|span| span.start > start);
    later
        .find(|span| &text[span.clone()] == "fn")
        .map_or(text.len(), |span| span.start)
}

/// Returns the keys in a map within `span`: words before a `:` that are first or follow a comma.
pub(super) fn map_keys(text: &str, span: Range<usize>) -> Vec<Range<usize>> {
    let is_key = |word: &Range<usize>| {
        let before = text[..word.start].trim_end();
        let after = text[word.end..].trim_start();
        span.contains(&word.start)
            && (before.ends_with("#{") || before.ends_with(','))
            && after.starts_with(':')
            && !after.starts_with("::")
    };
    words(text).filter(is_key).collect()
}

/// Returns line and column of an offset, both from 1; columns count characters.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

/// Returns the token at a line and column, both from 1; the end of the text if there is no such place.
pub(super) fn token_at(text: &str, line: usize, column: usize) -> Range<usize> {
    let mut lines = text.split_inclusive('\n');
    let start: usize = lines
        .by_ref()
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let line = lines.next().unwrap_or("");
    let within = line.char_indices().nth(column.saturating_sub(1));
    let start = start + within.map_or(line.len(), |(at, _)| at);
    let rest = &text[start..];
    let word = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
    let one = rest
        .chars()
        .next()
        .filter(|c| *c != '\n')
        .map_or(0, char::len_utf8);
    start..start + word.max(one)
}

/// Returns the place just before the token at `start`, after which something is missing.
pub(super) fn end_before(text: &str, start: usize) -> Range<usize> {
    let end = text[..start].trim_end().len();
    end.saturating_sub(1)..end
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Returns every word outside comments; words in string literals are included.
fn words(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = &text[at..];
            let character = rest.chars().next()?;
            if rest.starts_with("//") {
                at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                at += rest.find("*/").map_or(rest.len(), |end| end + 2);
            } else if is_word(character) {
                let length = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
                let span = at..at + length;
                at += length;
                return Some(span);
            } else {
                at += character.len_utf8();
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "// fn check_size\nfn check_size(a, b) {\n  #{ verdit: \"ok\" }\n}\nfn later() {}\n";

    #[test]
    fn a_function_is_found_by_its_definition_and_not_in_a_comment() {
        let span = function(TEXT, "check_size").unwrap();
        assert_eq!(line_and_column(TEXT, span.start), (2, 4));
        assert_eq!(function(TEXT, "check"), None);
    }

    #[test]
    fn a_key_is_found_within_its_function() {
        let start = function(TEXT, "check_size").unwrap().start;
        let end = end_of_function(TEXT, start);
        let keys = map_keys(TEXT, start..end);
        assert_eq!(keys.len(), 1);
        assert_eq!(&TEXT[keys[0].clone()], "verdit");
        assert_eq!(key(TEXT, start, "verdit"), Some(keys[0].clone()));
    }

    #[test]
    fn a_place_past_the_end_is_the_end() {
        assert_eq!(token_at("ab\ncd", 2, 1), 3..5);
        assert_eq!(token_at("ab\ncd", 9, 9), 5..5);
        assert_eq!(token_at("ab\n", 1, 3), 2..2);
    }
}
