//! Shortens text from outside: an error of SQLite or of a service, a hook's message, a name. Invariant: the kept part
//! is unchanged, a cut is visible and never divides a grapheme (unless the first one alone is too long), and a hint is
//! kept.

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation;

/// Marks the place of a cut.
pub const REST: char = '…';

/// Upper bound for the characters of an error's message: enough for a path, a name and a cause.
pub const ERROR_CHARS: usize = 1_000;

/// Upper bound for the characters of a whole event: a job's failures, each with its reason.
pub const EVENT_CHARS: usize = 16_000;

/// Separator before the hint in an error's text.
const HINT: &str = "\nhint: ";

/// Truncates text to at most `most_chars` characters.
pub fn excerpt(text: &str, most_chars: usize) -> Cow<'_, str> {
    cut(text, most_chars, |text| text.chars().count())
}

/// Truncates text to at most `most` by this measure, the mark of the cut included. A longer text must never measure
/// less.
pub fn cut(text: &str, most: usize, measure: impl Fn(&str) -> usize) -> Cow<'_, str> {
    if measure(text) <= most {
        return Cow::Borrowed(text);
    }
    let fits = |end: usize| measure(&format!("{}{REST}", &text[..end])) <= most;
    let ends: Vec<usize> = text.grapheme_indices(true).map(|(at, _)| at).collect();
    let fitting = ends.partition_point(|end| fits(*end));
    let mut end = fitting.checked_sub(1).map_or(0, |last| ends[last]);
    if end == 0 {
        // If the first grapheme does not fit, a part of it is better than nothing.
        let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        let fitting = ends.partition_point(|end| fits(*end));
        end = fitting.checked_sub(1).map_or(0, |last| ends[last]);
    }
    match fits(end) {
        true => Cow::Owned(format!("{}{REST}", &text[..end])),
        false => Cow::Borrowed(""),
    }
}

/// Truncates an error's message and its hint, each on its own.
pub fn error(text: &str) -> String {
    let (message, hint) = split_hint(text);
    let message = excerpt(message, ERROR_CHARS);
    match hint {
        Some(hint) => format!("{message}{HINT}{}", excerpt(hint, ERROR_CHARS)),
        None => message.into_owned(),
    }
}

/// Splits an error into its message and its hint, if any.
pub fn split_hint(text: &str) -> (&str, Option<&str>) {
    match text.split_once(HINT) {
        Some((message, hint)) => (message, Some(hint)),
        None => (text, None),
    }
}

/// Joins several errors: all messages first, then each distinct hint once.
pub fn joined(errors: &[String]) -> String {
    let parts = errors.iter().map(|error| split_hint(error));
    let messages: Vec<&str> = parts.clone().map(|(message, _)| message).collect();
    let mut text = messages.join("; ");
    let mut hints: Vec<&str> = Vec::new();
    for hint in parts.filter_map(|(_, hint)| hint) {
        if !hints.contains(&hint) {
            hints.push(hint);
            text.push_str(HINT);
            text.push_str(hint);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cut_never_divides_what_a_person_sees_as_one_character() {
        // A flag, a family, a combining accent, a Thai and a Devanagari syllable.
        for (text, most, expected) in [
            ("ab🇩🇪cd", 4, "ab…"),
            ("ab🇩🇪cd", 5, "ab🇩🇪…"),
            ("👩‍👩‍👧x", 5, "👩\u{200d}👩\u{200d}…"),
            ("👩‍👩‍👧x", 6, "👩‍👩‍👧x"),
            ("👩‍👩‍👧xyz", 6, "👩‍👩‍👧…"),
            ("ae\u{301}bc", 3, "a…"),
            ("กี่ข", 3, "ก\u{e35}…"),
            ("क्षित्र", 100, "क्षित्र"),
        ] {
            assert_eq!(excerpt(text, most), expected, "{text} {most}");
        }
    }

    #[test]
    fn an_error_is_bounded_and_keeps_its_way_out() {
        let text = format!(
            "table `t`: {}\nhint: look {}",
            "x".repeat(5_000),
            "y".repeat(5_000)
        );
        let short = error(&text);
        let (message, hint) = split_hint(&short);
        assert!(message.starts_with("table `t`: xxx") && message.ends_with(REST));
        assert!(hint.unwrap().starts_with("look yyy"));
        assert!(short.chars().count() <= 2 * ERROR_CHARS + HINT.len());
        assert_eq!(error("short\nhint: as it is"), "short\nhint: as it is");
    }

    #[test]
    fn errors_that_are_joined_keep_what_happened_together_and_tell_each_way_out_once() {
        let errors = ["a fails\nhint: mount", "b fails", "c fails\nhint: mount"].map(str::to_owned);
        assert_eq!(joined(&errors), "a fails; b fails; c fails\nhint: mount");
    }

    proptest! {
        #[test]
        fn what_is_kept_is_a_beginning_and_fits(text in "\\PC{0,60}", most in 1_usize..50) {
            let bytes = cut(&text, most, str::len);
            prop_assert!(bytes.len() <= most);
            let kept = bytes.strip_suffix(REST).unwrap_or(&bytes);
            prop_assert!(text.starts_with(kept));
            prop_assert!(excerpt(&text, most).chars().count() <= most);
        }
    }
}
