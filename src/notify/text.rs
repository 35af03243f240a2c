//! Makes text from outside harmless and short. Invariant: what stood in a name or an error is shown as it stood, never
//! obeyed.

/// What stands for the rest of a text that was cut.
const REST: char = '…';

/// Without control characters and marks that turn the direction of writing; line ends stay.
pub(super) fn clean(text: &str) -> String {
    let is_harmless = |c: &char| {
        let turns = matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
        (!c.is_control() || *c == '\n') && !turns
    };
    text.chars().filter(is_harmless).collect()
}

/// Cleaned, and with a backslash before everything that Discord's Markdown reads.
pub(super) fn discord(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in clean(text).chars() {
        if "\\*_~`|>#[]()<@".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// Cleaned, and with the three characters replaced that Slack reads: no mention, no link.
pub(super) fn slack(text: &str) -> String {
    let text = clean(text).replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

/// What a header may hold.
pub(super) fn header(text: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_graphic() || *c == ' ';
    text.chars().filter(is_plain).collect()
}

/// At most so many UTF-16 units, which is what chat services count; a backslash that lost its character goes, too.
pub(super) fn cut(text: &str, most_units: usize) -> String {
    if text.encode_utf16().count() <= most_units {
        return text.to_owned();
    }
    let mut left = most_units.saturating_sub(1);
    let kept = text.chars().take_while(|c| {
        let fits = c.len_utf16() <= left;
        left = left.saturating_sub(c.len_utf16());
        fits
    });
    let mut kept: String = kept.collect();
    let slashes = kept.len() - kept.trim_end_matches('\\').len();
    if slashes % 2 == 1 {
        kept.pop();
    }
    kept.push(REST);
    kept
}

/// At most so many bytes.
pub(super) fn cut_bytes(text: &str, most_bytes: usize) -> String {
    if text.len() <= most_bytes {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most_bytes.saturating_sub(REST.len_utf8()));
    format!("{}{REST}", &text[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_from_outside_mentions_or_formats() {
        assert_eq!(
            discord("@everyone **x** [a](b) `c`"),
            "\\@everyone \\*\\*x\\*\\* \\[a\\]\\(b\\) \\`c\\`"
        );
        assert_eq!(slack("<!channel> & co"), "&lt;!channel&gt; &amp; co");
        assert_eq!(clean("a\u{202E}b\0c\nd"), "abc\nd");
        assert_eq!(header("täst\r\nX-Evil: 1"), "tstX-Evil: 1");
    }

    proptest! {
        #[test]
        fn a_cut_text_is_never_too_long_and_ends_in_no_lone_backslash(text in ".{0,60}", most in 1_usize..40) {
            let escaped = discord(&text);
            let short = cut(&escaped, most);
            prop_assert!(short.encode_utf16().count() <= most);
            prop_assert!(cut_bytes(&text, most.max(3)).len() <= most.max(3));
            let kept = short.trim_end_matches(REST);
            prop_assert!(escaped.starts_with(kept) || short == escaped);
        }
    }
}
