//! Splits SQL text into statements as it streams through, in memory bounded by the longest statement.
//!
//! The rules are those of SQLite's own `sqlite3_complete()`: strings, quoted names in all four styles, comments, and
//! triggers, which end at `; END ;`.

use std::io::{self, Read};

/// Bytes read at a time.
const READ_BYTES: usize = 128 * 1024;

/// Returns one statement after the other.
pub struct Splitter<R> {
    input: R,
    buffer: Vec<u8>,
    /// Offset of the current statement in `buffer`.
    start: usize,
    /// Offset in `buffer` up to which it was scanned.
    scanned: usize,
    /// Number of input bytes before `buffer`.
    before_bytes: u64,
    max_bytes: usize,
    lexer: Lexer,
    at_end: bool,
}

/// The reason that no further statement could be split off.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// The input could not be read.
    #[error("the dump cannot be read after byte {at_bytes}: {source}")]
    Read {
        /// Number of bytes read before the error.
        at_bytes: u64,
        /// The error of the input.
        source: io::Error,
    },
    /// The input ends inside a statement.
    #[error("the dump ends inside the statement that begins at byte {at_bytes}")]
    Incomplete {
        /// Offset of the statement in the input.
        at_bytes: u64,
    },
    /// A statement is longer than `max_bytes`.
    #[error("the statement at byte {at_bytes} is longer than {max_bytes} bytes")]
    TooLong {
        /// Offset of the statement in the input.
        at_bytes: u64,
        /// The limit.
        max_bytes: usize,
    },
}

impl<R: Read> Splitter<R> {
    /// Creates a splitter that rejects statements longer than `max_bytes`.
    pub fn new(input: R, max_bytes: usize) -> Self {
        Self {
            input,
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            before_bytes: 0,
            max_bytes,
            lexer: Lexer::default(),
            at_end: false,
        }
    }

    /// Returns the input at its current position.
    pub fn into_input(self) -> R {
        self.input
    }

    /// Returns the next statement and its offset in the input; `None` at the end. The text includes the comments before
    /// the statement and its `;`.
    ///
    /// # Errors
    /// If the input fails, ends inside a statement, or a statement is too long.
    pub fn next_statement(&mut self) -> Result<Option<(u64, &[u8])>, SplitError> {
        loop {
            if let Some(length) = self.lexer.scan(&self.buffer[self.scanned..]) {
                let (start, end) = (self.start, self.scanned + length);
                self.start = end;
                self.scanned = end;
                let at_bytes = self.before_bytes + start as u64;
                return Ok(Some((at_bytes, &self.buffer[start..end])));
            }
            self.scanned = self.buffer.len();
            if self.at_end {
                return self.rest().map(|()| None);
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Result<(), SplitError> {
        let at_bytes = self.before_bytes + self.start as u64;
        self.buffer.drain(..self.start);
        self.before_bytes = at_bytes;
        self.scanned -= self.start;
        self.start = 0;
        if self.buffer.len() > self.max_bytes {
            let max_bytes = self.max_bytes;
            return Err(SplitError::TooLong {
                at_bytes,
                max_bytes,
            });
        }
        let filled = self.buffer.len();
        self.buffer.resize(filled + READ_BYTES, 0);
        let count = loop {
            match self.input.read(&mut self.buffer[filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let count = count.map_err(|source| SplitError::Read {
            at_bytes: self.before_bytes + filled as u64,
            source,
        })?;
        self.buffer.truncate(filled + count);
        self.at_end = count == 0;
        Ok(())
    }

    fn rest(&self) -> Result<(), SplitError> {
        if self.lexer.is_between_statements() {
            return Ok(());
        }
        Err(SplitError::Incomplete {
            at_bytes: self.before_bytes + self.start as u64,
        })
    }
}

/// Lexical state at the end of a text, which determines how a `;` can be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextEnd {
    /// An appended `;` ends the statement.
    Clean,
    /// Inside `-- …`: a newline must come first.
    LineComment,
    /// Inside `/* …`, which SQLite accepts as a comment at the end of a text.
    BlockComment,
}

/// Returns the lexical state at the end of `sql`.
pub fn text_end(sql: &str) -> TextEnd {
    let mut lexer = Lexer::default();
    let mut rest = sql.as_bytes();
    while let Some(length) = lexer.scan(rest) {
        rest = &rest[length..];
    }
    match lexer.place {
        Place::BlockComment | Place::BlockCommentStar => TextEnd::BlockComment,
        Place::LineComment => TextEnd::LineComment,
        _ => TextEnd::Clean,
    }
}

/// Returns the line that the stock `sqlite3` shell mistakes for the end of this statement: one with only `/` or `go` on
/// it, where no quote, comment or trigger is open. `None` if there is no such line.
pub fn early_end(sql: &str) -> Option<&str> {
    let mut starts = sql.match_indices('\n').map(|(at, _)| at + 1);
    starts.find_map(|start| {
        let line = sql[start..].lines().next().unwrap_or_default().trim_ascii();
        let is_mark = line == "/" || line.eq_ignore_ascii_case("go");
        (is_mark && could_end(&sql[..start])).then_some(line)
    })
}

/// True if a `;` after this text would end the statement.
fn could_end(sql: &str) -> bool {
    let mut lexer = Lexer::default();
    let mut rest = sql.as_bytes();
    while let Some(length) = lexer.scan(rest) {
        rest = &rest[length..];
    }
    let is_open = matches!(
        lexer.place,
        Place::Quoted(_) | Place::BlockComment | Place::BlockCommentStar
    );
    !is_open && lexer.phase == Phase::Plain
}

/// Kind of the statement so far, as far as it matters for finding its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    /// Only blanks and comments so far.
    #[default]
    Empty,
    /// `EXPLAIN`, optionally with `QUERY PLAN`.
    Explain,
    /// `CREATE`, optionally with `TEMP`.
    Create,
    /// Any statement that ends at its first `;`.
    Plain,
    /// Inside `CREATE TRIGGER`.
    Trigger,
    /// Inside `CREATE TRIGGER`, after a `;`.
    TriggerSemicolon,
    /// Inside `CREATE TRIGGER`, after `; END`.
    TriggerEnd,
}

/// Lexical position of the scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    #[default]
    Open,
    /// Inside quotes that end with this byte.
    Quoted(u8),
    LineComment,
    BlockComment,
    /// After a `*` inside a block comment.
    BlockCommentStar,
    /// After a `-` that may begin a comment.
    Dash,
    /// After a `/` that may begin a comment.
    Slash,
    Word,
}

/// Bytes with a meaning outside strings and comments, in a statement that ends at its first `;`, where keywords do not
/// matter.
static MEANS_SOMETHING: [bool; 256] = {
    let mut table = [false; 256];
    let bytes = b";'\"`[-/";
    let mut at = 0;
    while at < bytes.len() {
        table[bytes[at] as usize] = true;
        at += 1;
    }
    table
};

#[derive(Debug, Default)]
struct Lexer {
    phase: Phase,
    place: Place,
    word: Word,
}

impl Lexer {
    /// Continues the scan; returns the length up to and including the `;` that ends the statement.
    fn scan(&mut self, text: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < text.len() {
            let byte = text[at];
            match self.place {
                Place::Quoted(end) => {
                    at += memchr::memchr(end, &text[at..])?;
                    self.place = Place::Open;
                }
                Place::LineComment => {
                    at += memchr::memchr(b'\n', &text[at..])?;
                    self.place = Place::Open;
                }
                Place::BlockComment | Place::BlockCommentStar => {
                    self.place = match byte {
                        b'*' => Place::BlockCommentStar,
                        b'/' if self.place == Place::BlockCommentStar => Place::Open,
                        _ => Place::BlockComment,
                    };
                }
                Place::Dash if byte == b'-' => self.place = Place::LineComment,
                Place::Slash if byte == b'*' => self.place = Place::BlockComment,
                Place::Dash | Place::Slash => {
                    self.place = Place::Open;
                    self.other();
                    continue;
                }
                Place::Word if is_word_byte(byte) => self.word.push(byte),
                Place::Word => {
                    self.place = Place::Open;
                    self.end_word();
                    continue;
                }
                Place::Open if self.phase == Phase::Plain && !MEANS_SOMETHING[byte as usize] => {
                    let rest = &text[at..];
                    let skipped = rest.iter().position(|byte| MEANS_SOMETHING[*byte as usize]);
                    at += skipped?;
                    continue;
                }
                Place::Open => {
                    if self.open(byte) {
                        return Some(at + 1);
                    }
                }
            }
            at += 1;
        }
        None
    }

    fn is_between_statements(&self) -> bool {
        let is_outside = matches!(self.place, Place::Open | Place::LineComment);
        self.phase == Phase::Empty && is_outside
    }

    /// Handles one byte outside strings, comments and words; true if it ends the statement.
    fn open(&mut self, byte: u8) -> bool {
        match byte {
            b';' => return self.semicolon(),
            b'\'' | b'"' | b'`' => {
                self.other();
                self.place = Place::Quoted(byte);
            }
            b'[' => {
                self.other();
                self.place = Place::Quoted(b']');
            }
            b'-' => self.place = Place::Dash,
            b'/' => self.place = Place::Slash,
            b' ' | b'\t' | b'\n' | b'\r' | 0x0c => {}
            _ if is_word_byte(byte) => {
                self.word = Word::default();
                self.word.push(byte);
                self.place = Place::Word;
            }
            _ => self.other(),
        }
        false
    }

    fn semicolon(&mut self) -> bool {
        match self.phase {
            Phase::Trigger | Phase::TriggerSemicolon => {
                self.phase = Phase::TriggerSemicolon;
                false
            }
            _ => {
                self.phase = Phase::Empty;
                true
            }
        }
    }

    fn other(&mut self) {
        self.phase = match self.phase {
            Phase::Trigger | Phase::TriggerSemicolon | Phase::TriggerEnd => Phase::Trigger,
            _ => Phase::Plain,
        };
    }

    fn end_word(&mut self) {
        let word = self.word.lower();
        self.phase = match (self.phase, word) {
            (Phase::Empty, b"explain") => Phase::Explain,
            (Phase::Explain, b"query" | b"plan") => Phase::Explain,
            (Phase::Empty | Phase::Explain, b"create") => Phase::Create,
            (Phase::Create, b"temp" | b"temporary") => Phase::Create,
            (Phase::Create, b"trigger") => Phase::Trigger,
            (Phase::TriggerSemicolon, b"end") => Phase::TriggerEnd,
            _ => {
                self.other();
                return;
            }
        };
    }
}

/// The first letters of a word in lower case: enough to distinguish the keywords above from all other words.
#[derive(Debug, Default)]
struct Word {
    letters: [u8; 12],
    length: usize,
}

impl Word {
    fn push(&mut self, byte: u8) {
        if let Some(letter) = self.letters.get_mut(self.length) {
            *letter = byte.to_ascii_lowercase();
            self.length += 1;
        }
    }

    fn lower(&self) -> &[u8] {
        &self.letters[..self.length]
    }
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns its text a few bytes at a time, so that every boundary between reads is tested.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(out.len());
            out[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn split(text: &str, step: usize) -> Result<Vec<String>, SplitError> {
        let mut splitter = Splitter::new(Slow(text.as_bytes(), step), 1 << 20);
        let mut statements = Vec::new();
        while let Some((at, statement)) = splitter.next_statement()? {
            assert_eq!(
                statement,
                &text.as_bytes()[at as usize..][..statement.len()]
            );
            statements.push(String::from_utf8(statement.to_vec()).unwrap());
        }
        Ok(statements)
    }

    #[test]
    fn statements_end_where_sqlite_says() {
        let statements = [
            "SELECT 1;",
            "\n-- a ; comment\nSELECT ';', \";\", `;`, [;] /* ; */;",
            "SELECT 'it''s; fine' - 1 / 2;",
            "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT CASE WHEN 1 THEN 2 END; SELECT 'END;'; END;",
            " CREATE TEMP TRIGGER \"end\" AFTER DELETE ON a BEGIN DELETE FROM b; -- END;\nEND;",
            "EXPLAIN CREATE TRIGGER x AFTER INSERT ON y BEGIN SELECT 1; END ;",
            "CREATE TABLE trigger_end(a);",
            ";",
            "INSERT INTO a VALUES('\n;\n--');",
        ];
        let text = statements.concat();
        for step in [1, 2, 3, 7, 1000] {
            assert_eq!(split(&text, step).unwrap(), statements);
        }
        assert_eq!(split(" \n-- nothing more", 5).unwrap().len(), 0);
    }

    #[test]
    fn a_text_that_ends_inside_a_statement_is_refused_with_its_place() {
        for cut in [
            "SELECT 1",
            "SELECT 'a;",
            "CREATE TRIGGER t BEGIN SELECT 1;",
            "/* a",
            "x -",
        ] {
            let text = format!("SELECT 0;{cut}");
            let error = split(&text, 3).unwrap_err();
            assert!(
                matches!(error, SplitError::Incomplete { at_bytes: 9 }),
                "{error}"
            );
        }
    }

    #[test]
    fn only_a_comment_that_is_not_closed_is_open() {
        for open in ["a /* b", "a /* b *", "a; /*/", "'/*' /* '*/; -- */\n /*--"] {
            assert_eq!(text_end(open), TextEnd::BlockComment, "{open}");
        }
        for closed in [
            "",
            "a /* b */",
            "/**/",
            "'/*",
            "\"/*\"",
            "-- /*",
            "[/*] / * a",
        ] {
            assert_ne!(text_end(closed), TextEnd::BlockComment, "{closed}");
        }
    }

    #[test]
    fn a_line_that_ends_a_statement_in_the_shell_is_found_where_it_would() {
        for sql in [
            "CREATE VIEW v AS SELECT 1\n/\n2",
            "CREATE TABLE t(a,\r\n  Go \r\n, b)",
            "CREATE TABLE t(a -- it's\n, \ngo\n INT)",
        ] {
            assert!(early_end(sql).is_some(), "{sql}");
        }
        for sql in [
            "/\nCREATE TABLE t(a)",
            "CREATE VIEW v AS SELECT '\n/\n'",
            "CREATE TABLE t(\"\ngo\n\")",
            "CREATE TABLE t(a /*\n/\n*/)",
            "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1\n/\n2; END",
            "CREATE TABLE t(a, going INT,\n go INT)",
        ] {
            assert_eq!(early_end(sql), None, "{sql}");
        }
    }

    #[test]
    fn a_statement_longer_than_the_limit_is_refused() {
        let text = format!("SELECT '{}';", "a".repeat(2 << 20));
        assert!(matches!(
            split(&text, 1 << 20),
            Err(SplitError::TooLong { .. })
        ));
    }
}
