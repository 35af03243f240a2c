//! Escapes text from outside. Invariant: a name or an error is displayed literally and never interpreted.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::excerpt;

/// Keeps every script and character but these: a control character becomes a visible symbol, a mark that overrides the
/// direction of all that follows is spelled out, and a direction opened in a line is closed at its end.
pub(super) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    let mut open: Vec<char> = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' => {
                cleaned.extend(open.drain(..).rev());
                cleaned.push(c);
            }
            '\r' if chars.peek() == Some(&'\n') => {}
            '\t' => cleaned.push(c),
            // U+2400 and following: a symbol for each of the first 32, and one for DEL.
            '\0'..='\x1f' => cleaned.extend(char::from_u32(0x2400 + u32::from(c))),
            '\x7f' => cleaned.push('\u{2421}'),
            '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{202D}' | '\u{202E}' => {
                cleaned.extend(c.escape_unicode());
            }
            c => {
                direction(c, &mut open);
                cleaned.push(c);
            }
        }
    }
    cleaned.extend(open.drain(..).rev());
    cleaned
}

/// Tracks the directions that `c` opens or closes, each by its closing character.
fn direction(c: char, open: &mut Vec<char>) {
    match c {
        '\u{202A}' | '\u{202B}' => open.push('\u{202C}'),
        '\u{2066}'..='\u{2068}' => open.push('\u{2069}'),
        '\u{202C}' | '\u{2069}' => {
            if let Some(at) = open.iter().rposition(|end| *end == c) {
                open.truncate(at);
            }
        }
        _ => {}
    }
}

/// Cleans text, and puts a backslash before every character that Discord's Markdown interprets; Discord hides the
/// backslashes.
pub(super) fn discord(text: &str) -> String {
    let text = clean(text);
    let mut escaped = String::with_capacity(text.len() + 16);
    let mut before = '\n';
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        let is_read = match c {
            // A list or small text.
            '-' | '+' => before == '\n',
            // `1.` begins a list.
            '.' => before.is_ascii_digit() && next == Some(' '),
            // `:name:` becomes an emoji.
            ':' => next.is_some_and(|next| next.is_ascii_alphanumeric() || "_+-".contains(next)),
            c => "\\*_~`|>#[]()<@".contains(c),
        };
        if is_read {
            escaped.push('\\');
        }
        escaped.push(c);
        before = c;
    }
    escaped
}

/// Cleans text, and replaces the three characters that Slack interprets: no mention, no link.
pub(super) fn slack(text: &str) -> String {
    let text = clean(text).replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

/// Text bytes of an encoded word, which has at most 75 characters, in base64 (RFC 2047, 2).
const WORD_BYTES: usize = 45;

/// Formats a header value: unchanged if it is plain ASCII, else in encoded words, which ntfy decodes
/// (https://docs.ntfy.sh/publish/, "Message title"; RFC 2047).
pub(super) fn header(text: &str) -> String {
    let text = clean(text).replace('\n', " ");
    let is_plain = text.chars().all(|c| c.is_ascii_graphic() || c == ' ');
    if is_plain && !text.contains("=?") {
        return text.trim().to_owned();
    }
    let mut encoded = String::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (word, left) = rest.split_at(rest.floor_char_boundary(WORD_BYTES));
        let space = if encoded.is_empty() { "" } else { " " };
        let _ = write!(encoded, "{space}=?UTF-8?B?{}?=", STANDARD.encode(word));
        rest = left;
    }
    encoded
}

/// Counts UTF-16 units, as chat services do.
pub(super) fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Cuts text to at most this many UTF-16 units.
pub(super) fn cut(text: &str, most_units: usize) -> String {
    excerpt::cut(text, most_units, units).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads text as an independent reader of Discord's Markdown does: drops every backslash before a punctuation
    /// character.
    fn read_by_discord(text: &str) -> String {
        let mut read = String::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match (c, chars.peek()) {
                ('\\', Some(next)) if next.is_ascii_punctuation() => read.extend(chars.next()),
                _ => read.push(c),
            }
        }
        read
    }

    #[test]
    fn nothing_from_outside_mentions_or_formats() {
        assert_eq!(
            discord("@everyone **x** [a](b) `c`"),
            "\\@everyone \\*\\*x\\*\\* \\[a\\]\\(b\\) \\`c\\`"
        );
        assert_eq!(discord(":smile: at 03: x"), "\\:smile: at 03: x");
        assert_eq!(discord("- a\n1. b\n2-1"), "\\- a\n1\\. b\n2-1");
        assert_eq!(slack("<!channel> & co"), "&lt;!channel&gt; &amp; co");
        assert_eq!(header("test\r\nX-Evil: 1"), "test X-Evil: 1");
    }

    #[test]
    fn names_in_any_script_are_read_as_they_are() {
        for name in [
            "الطلبات",
            "הזמנות\u{200F}(2)",
            "注文_明細",
            "คำสั่งซื้อ",
            "क्षत्रिय",
            "cafe\u{301}",
            "👩‍👩‍👧‍👦 🇩🇪 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
            "a\u{200D}b\u{200C}c",
            "\u{2067}abc\u{2069} d",
            "tab\tstop",
            "*bold* _it_ ~~no~~ `code` ||spoiler|| # > - + 1. <b> & :x: \\ [a](b)",
        ] {
            assert_eq!(clean(name), name);
            assert_eq!(read_by_discord(&discord(name)), name, "{}", discord(name));
            let read = slack(name).replace("&lt;", "<").replace("&gt;", ">");
            assert_eq!(read.replace("&amp;", "&"), name);
        }
    }

    #[test]
    fn what_would_act_is_shown_instead() {
        assert_eq!(clean("a\u{202E}b\0c\r\nd\u{7}\u{7f}"), "a\\u{202e}b␀c\nd␇␡");
        assert_eq!(clean("a\u{2028}b\u{85}"), "a\\u{2028}b\\u{85}");
        // A direction opened in a line ends with it.
        assert_eq!(clean("\u{202B}a\nb"), "\u{202B}a\u{202C}\nb");
        assert_eq!(
            clean("\u{2068}\u{202A}a"),
            "\u{2068}\u{202A}a\u{202C}\u{2069}"
        );
        assert_eq!(clean("\u{2068}a\u{2069}b"), "\u{2068}a\u{2069}b");
    }

    #[test]
    fn a_header_that_is_no_ascii_is_encoded_in_words_that_are_short_enough() {
        let text = "Patina größer 備份 🍋: ".repeat(6);
        let encoded = header(&text);
        let mut decoded = String::new();
        for word in encoded.split(' ') {
            assert!(word.len() <= 75, "{word}");
            let inner = word.strip_prefix("=?UTF-8?B?").unwrap();
            let bytes = STANDARD.decode(inner.strip_suffix("?=").unwrap()).unwrap();
            decoded += &String::from_utf8(bytes).unwrap();
        }
        assert_eq!(decoded, text);
        assert!(header("=?UTF-8?B?eA==?=").starts_with("=?UTF-8?B?PT9V"));
    }
}
