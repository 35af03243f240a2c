//! Escapes text from outside for a context: a terminal, a log, Markdown, a shell command, TOML, JSON. Invariant: a
//! name, a value, an error or a manifest is shown as text there, and never interpreted.
//!
//! One function per context. The others build on [`line()`]: its result never moves a cursor, begins a line, hides, or
//! changes the direction of the following text.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;

use serde_json::ser::{Formatter, PrettyFormatter};

use crate::excerpt::excerpt;

/// Upper bound for the characters of a name in a message: enough to distinguish names.
pub const NAME_CHARS: usize = 200;

/// True if `c` has an effect where it is shown, or is invisible: controls (C0, DEL, C1), ends of lines and paragraphs,
/// direction marks, characters without width, tags. Joiners and variation selectors are not hidden: scripts and emoji
/// need them.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// True if `text` is shown literally and on one line.
pub fn is_plain(text: &str) -> bool {
    !text.contains(is_hidden)
}

/// Escapes text for one line of a terminal, a log or a page: hidden characters become escapes, such as `\n` or
/// `\u{1b}`.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, is_hidden)
}

/// Escapes a message of several lines: line breaks stay, and each line is escaped as by [`line()`].
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && is_hidden(c))
}

/// Escapes a name for a message: on one line, and truncated if very long.
pub fn name(text: &str) -> String {
    excerpt(&line(text), NAME_CHARS).into_owned()
}

/// Escapes text from outside as [`line()`] does, and truncates it to `most_chars` characters.
pub fn foreign(text: &str, most_chars: usize) -> String {
    // Escapes are longer than their characters: no more than this can be left of it.
    let first: String = text.chars().take(most_chars.saturating_add(1)).collect();
    excerpt(&line(&first), most_chars).into_owned()
}

/// Upper bound for the width of a column of text; a longer text shifts only its own line.
pub const MOST_COLUMN_CHARS: usize = 200;

/// Pads `text` with blanks up to `width` characters, within [`MOST_COLUMN_CHARS`].
pub fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", blanks(text, width))
}

/// Blanks that pad `text` to `width` characters, within [`MOST_COLUMN_CHARS`]. The standard library's `{:width$}`
/// panics if a width does not fit 16 bits.
pub fn blanks(text: &str, width: usize) -> String {
    let width = width.min(MOST_COLUMN_CHARS);
    " ".repeat(width.saturating_sub(text.chars().count()))
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    let Some(first) = text.find(&is_escaped) else {
        return Cow::Borrowed(text);
    };
    let mut safe = String::with_capacity(text.len() + 16);
    safe.push_str(&text[..first]);
    for c in text[first..].chars() {
        match is_escaped(c) {
            true => safe.extend(c.escape_default()),
            false => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// Escapes a log event: always one line. A hint follows its message after a semicolon.
pub fn log(text: &str) -> String {
    line(&text.replace("\nhint: ", "; hint: ")).into_owned()
}

/// Same as [`log()`], for an event drawn with colours: ESC stays, because the drawing code has removed it from the text
/// itself.
pub fn log_drawn(text: &str) -> String {
    let text = text.replace("\nhint: ", "; hint: ");
    escaped(&text, |c| c != '\u{1b}' && is_hidden(c)).into_owned()
}

/// Quotes a word for a POSIX shell: the command gets exactly `word` (without NUL), on one line.
pub fn shell(word: &str) -> String {
    if is_plain(word) {
        // `shlex` rejects only NUL, which is hidden.
        return shlex::try_quote(word).map_or_else(|_| "''".to_owned(), Cow::into_owned);
    }
    let mut format = String::with_capacity(4 * word.len());
    // No argument of a program can contain a NUL.
    for byte in word.bytes().filter(|byte| *byte != 0) {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' | b' ' => {
                format.push(char::from(byte));
            }
            byte => {
                let _ = write!(format, "\\{byte:03o}");
            }
        }
    }
    // A command substitution drops trailing newlines.
    match word.ends_with('\n') {
        true => format!("$'{format}'"),
        false => format!("\"$(printf -- '{format}')\""),
    }
}

/// Escapes text for Markdown: it creates no heading, bullet list, bracketed link, image, block or HTML, and no table
/// column. Text between backticks stays a code span.
pub fn markdown(text: &str) -> String {
    let text = line(text);
    let text = text.trim();
    let mut safe = String::with_capacity(text.len() + 16);
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if c == '`' {
            let span = code_span(&text[at..]);
            match span {
                Some(length) => safe.push_str(&text[at..at + length].replace('|', "\\|")),
                None => safe.push_str("\\`"),
            }
            at += span.unwrap_or(1);
            continue;
        }
        let is_read = match c {
            '\\' | '*' | '<' | '>' | '[' | ']' | '|' | '&' | '~' => true,
            '#' | '-' | '+' | '=' => at == 0,
            '_' => !is_within_word(text, at),
            _ => false,
        };
        if is_read {
            safe.push('\\');
        }
        safe.push(c);
        at += c.len_utf8();
    }
    safe
}

/// Length of the code span at the start of `text`; `None` for a fence that could open a block.
fn code_span(text: &str) -> Option<usize> {
    let fence = &text[..text.len() - text.trim_start_matches('`').len()];
    let mut at = fence.len();
    if at > 2 {
        return None;
    }
    loop {
        at += text[at..].find('`')?;
        let run = text[at..].len() - text[at..].trim_start_matches('`').len();
        at += run;
        if run == fence.len() {
            return Some(at);
        }
    }
}

/// True if letters or digits are on both sides: Markdown reads no emphasis there.
fn is_within_word(text: &str, at: usize) -> bool {
    let before = text[..at].chars().next_back();
    let after = text[at..].chars().nth(1);
    [before, after]
        .iter()
        .all(|c| c.is_some_and(|c| c.is_alphanumeric() || c == '_'))
}

/// Formats text as a Markdown code span, shown literally.
pub fn code(text: &str) -> String {
    let text = line(text);
    let (mut longest, mut run) = (0, 0);
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    if longest == 0 && !text.is_empty() && !text.starts_with(' ') {
        return format!("`{text}`");
    }
    let fence = "`".repeat(longest + 1);
    format!("{fence} {text} {fence}")
}

/// Same as [`code()`], for a cell of a table.
pub fn code_cell(text: &str) -> String {
    code(text).replace('|', "\\|")
}

/// Formats a command as a code block: the command has its own lines, and nothing in it ends the block.
pub fn block(command: &str) -> String {
    let mut fence = "```".to_owned();
    while command.contains(&fence) {
        fence.push('`');
    }
    format!("{fence}sh\n{command}\n{fence}\n")
}

/// Formats a TOML string on one line.
pub fn toml(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if is_hidden(c) => {
                let _ = write!(text, "\\U{:08X}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

/// Escapes every hidden character in JSON: the same document, safe to show in a terminal.
pub fn json(document: &str) -> Cow<'_, str> {
    // Outside its strings, a document contains none except the blanks of its layout.
    let is_escaped = |c: char| !matches!(c, '\n' | '\t' | '\r') && is_hidden(c);
    if !document.contains(is_escaped) {
        return Cow::Borrowed(document);
    }
    let mut safe = String::with_capacity(document.len() + 16);
    for c in document.chars() {
        match is_escaped(c) {
            true => push_json(&mut safe, c),
            false => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

fn push_json(text: &mut String, c: char) {
    let mut units = [0; 2];
    for unit in c.encode_utf16(&mut units) {
        let _ = write!(text, "\\u{unit:04x}");
    }
}

/// Writes `document` as indented JSON in which every hidden character is an escape.
///
/// # Errors
/// Those of `out`, and of a document that cannot be JSON.
pub fn write_json(
    out: &mut dyn io::Write,
    document: &(impl serde::Serialize + ?Sized),
) -> serde_json::Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(out, Shown::default());
    document.serialize(&mut serializer)
}

/// Formatter for indented JSON without hidden characters.
#[derive(Default)]
struct Shown(PrettyFormatter<'static>);

impl Formatter for Shown {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        out.write_all(json(fragment).as_bytes())
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_array(out)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array(out)
    }

    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        is_first: bool,
    ) -> io::Result<()> {
        self.0.begin_array_value(out, is_first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array_value(out)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object(out)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object(out)
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        is_first: bool,
    ) -> io::Result<()> {
        self.0.begin_object_key(out, is_first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object_value(out)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object_value(out)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn text_from_outside_is_one_line_in_which_nothing_acts() {
        let text = "a\u{1b}[2J\r\nERROR forged\u{202e}\u{9b}\u{7f}\0é👩‍👧";
        assert_eq!(
            foreign(text, 200),
            "a\\u{1b}[2J\\r\\nERROR forged\\u{202e}\\u{9b}\\u{7f}\\u{0}é👩‍👧"
        );
        assert_eq!(foreign(&"\u{1b}".repeat(1_000), 10), "\\u{1b}\\u{…");
        assert_eq!(foreign("short", 5), "short");
    }

    /// Names that try to leave their context.
    const HOSTILE: [&str; 12] = [
        "plain",
        "it's \"so\" `id` $(id) \\ ; & | < > * ? #",
        "a\nhint: run this\n```\n",
        "\u{1b}[2J\u{1b}]0;x\u{7}",
        "\u{9b}31m\u{85}",
        "\u{202e}txt.exe\u{2066}",
        "a\u{2028}b\u{2029}c\u{feff}",
        "tab\tand\rreturn",
        "-rf",
        "%s %d \\012",
        "```` four",
        "ends\n",
    ];

    #[test]
    fn no_context_lets_a_hidden_character_through() {
        for text in HOSTILE {
            for shown in [
                line(text).into_owned(),
                log(text),
                name(text),
                shell(text),
                markdown(text),
                code(text),
                code_cell(text),
                toml(text),
            ] {
                assert!(is_plain(&shown), "{text:?}: {shown:?}");
            }
        }
    }

    #[test]
    fn a_shell_hands_a_word_on_as_it_was() {
        for text in HOSTILE.iter().filter(|text| !text.ends_with('\n')) {
            let script = format!("printf '%s' {}", shell(text));
            let told = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&told.stdout), **text, "{script}");
        }
    }

    #[test]
    fn toml_and_json_give_back_what_was_written() {
        for text in HOSTILE {
            let document: toml::Table = format!("x = {}", toml(text)).parse().unwrap();
            assert_eq!(document["x"].as_str(), Some(text));
            let mut written = Vec::new();
            write_json(&mut written, text).unwrap();
            let written = String::from_utf8(written).unwrap();
            assert!(is_plain(&written), "{written:?}");
            assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
            let plain = serde_json::to_string(text).unwrap();
            assert_eq!(serde_json::from_str::<String>(&json(&plain)).unwrap(), text);
        }
        assert_eq!(json("\"\u{e0041}\""), "\"\\udb40\\udc41\"");
    }

    #[test]
    fn what_markdown_reads_is_escaped_and_words_stay_readable() {
        assert_eq!(markdown("user_id of T_1 - 3"), "user_id of T_1 - 3");
        assert_eq!(markdown("# a\n- b"), "\\# a\\\\n- b");
        assert_eq!(
            markdown("<b> [x](y) `c` a|b"),
            "\\<b\\> \\[x\\](y) `c` a\\|b"
        );
        assert_eq!(
            markdown("the table `_a|b_` `` a ` ``"),
            "the table `_a\\|b_` `` a ` ``"
        );
        assert_eq!(markdown("```sh"), "\\`\\`\\`sh");
        assert_eq!(code("a"), "`a`");
        assert_eq!(code("a`b``c"), "``` a`b``c ```");
        assert_eq!(code_cell("a|b"), "`a\\|b`");
        assert_eq!(block("echo '```'"), "````sh\necho '```'\n````\n");
    }
}
