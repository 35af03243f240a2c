//! Reads Rust text as far as layering rules need it: names, `::`, punctuation, and where test code lies.

use std::iter::Peekable;
use std::str::CharIndices;

/// A name, `::`, or one character of punctuation. Comments, numbers and strings leave no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
}

/// Everything of a text that a rule may look at.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        text,
        chars: text.char_indices().peekable(),
        line: 1,
        found: Vec::new(),
    };
    lexer.run();
    lexer.found
}

struct Lexer<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
    line: usize,
    found: Vec<Token>,
}

impl Lexer<'_> {
    fn run(&mut self) {
        while let Some((at, c)) = self.bump() {
            match c {
                '/' if self.rest(at).starts_with("//") => self.skip_line(),
                '/' if self.rest(at).starts_with("/*") => self.skip_block(),
                '"' => self.string(),
                '\'' => self.char_or_lifetime(at),
                ':' if self.rest(at).starts_with("::") => {
                    self.bump();
                    self.push("::");
                }
                c if is_name(c) => self.word(at),
                c if c.is_whitespace() => {}
                c => self.push(&c.to_string()),
            }
        }
    }

    fn bump(&mut self) -> Option<(usize, char)> {
        let next = self.chars.next();
        if let Some((_, '\n')) = next {
            self.line += 1;
        }
        next
    }

    fn rest(&self, at: usize) -> &str {
        &self.text[at..]
    }

    fn push(&mut self, text: &str) {
        self.found.push(Token {
            text: text.to_owned(),
            line: self.line,
        });
    }

    fn skip_line(&mut self) {
        while self.chars.peek().is_some_and(|&(_, c)| c != '\n') {
            self.bump();
        }
    }

    fn skip_block(&mut self) {
        self.bump();
        let mut depth = 1;
        while depth > 0 {
            let Some((at, _)) = self.bump() else { return };
            let step = match self.rest(at) {
                rest if rest.starts_with("/*") => 1,
                rest if rest.starts_with("*/") => -1,
                _ => continue,
            };
            self.bump();
            depth += step;
        }
    }

    /// A string is skipped, unless it is a path as serde's attributes take one: `with = "crate::x"`.
    fn string(&mut self) {
        let line = self.line;
        let mut inner = String::new();
        while let Some((_, c)) = self.bump() {
            match c {
                '"' => break,
                '\\' => {
                    self.bump();
                }
                c => inner.push(c),
            }
        }
        let is_path = inner.starts_with("crate::") && inner.chars().all(|c| is_name(c) || c == ':');
        if is_path {
            let path = tokens(&inner).into_iter();
            self.found.extend(path.map(|token| Token { line, ..token }));
        }
    }

    fn raw_string(&mut self) {
        let mut end = String::from("\"");
        while let Some((_, '#')) = self.chars.peek() {
            self.bump();
            end.push('#');
        }
        self.bump();
        while let Some((at, _)) = self.bump() {
            if self.rest(at).starts_with(&end) {
                for _ in 1..end.len() {
                    self.bump();
                }
                return;
            }
        }
    }

    fn char_or_lifetime(&mut self, at: usize) {
        let mut ahead = self.rest(at).chars().skip(1);
        let (first, second) = (ahead.next(), ahead.next());
        if first == Some('\\') {
            self.bump();
            self.bump();
            while self.bump().is_some_and(|(_, c)| c != '\'') {}
        } else if second == Some('\'') {
            self.bump();
            self.bump();
        } else {
            while self.chars.peek().is_some_and(|&(_, c)| is_name(c)) {
                self.bump();
            }
        }
    }

    fn word(&mut self, at: usize) {
        let mut end = at + 1;
        while let Some(&(next, c)) = self.chars.peek() {
            end = next;
            if !is_name(c) {
                break;
            }
            self.bump();
            end = next + c.len_utf8();
        }
        let word = self.text[at..end].to_owned();
        let rest = self.text[end..].to_owned();
        let raw = matches!(word.as_str(), "r" | "br" | "cr");
        if raw && rest.trim_start_matches('#').starts_with('"') {
            self.raw_string();
        } else if word == "r" && rest.starts_with('#') {
            self.bump();
        } else if !word.starts_with(|c: char| c.is_ascii_digit()) {
            self.push(&word);
        }
    }
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// For each token, whether it belongs to an item under `#[cfg(test)]`.
pub(super) fn test_marks(tokens: &[Token]) -> Vec<bool> {
    let mut marks = vec![false; tokens.len()];
    for at in 0..tokens.len() {
        if !marks[at] && starts_with(&tokens[at..], &["#", "[", "cfg", "(", "test", ")", "]"]) {
            let end = item_end(tokens, at + 7);
            marks[at..end].fill(true);
        }
    }
    marks
}

/// Whether the tokens begin with these texts.
pub(super) fn starts_with(tokens: &[Token], texts: &[&str]) -> bool {
    tokens.len() >= texts.len()
        && texts
            .iter()
            .zip(tokens)
            .all(|(text, token)| token.text == *text)
}

/// The index after the item at `from`: past its `;` or its closing brace.
fn item_end(tokens: &[Token], from: usize) -> usize {
    let mut depth = 0_i32;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 && matches!(token.text.as_str(), ";" | "}") {
            return at + 1;
        }
    }
    tokens.len()
}

/// A path that code names, with groups spelled out: `a::{b, c::d}` is `a::b` and `a::c::d`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) names: Vec<String>,
    pub(super) line: usize,
    pub(super) in_test: bool,
    /// How many inline modules (`mod x { … }`) stand around it.
    pub(super) inline_depth: usize,
}

/// Every path of the tokens, single names included.
pub(super) fn paths(tokens: &[Token], marks: &[bool]) -> Vec<Path> {
    let mut found = Vec::new();
    let mut braces: Vec<bool> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let text = tokens[at].text.as_str();
        let after = at.checked_sub(1).map_or("", |before| &tokens[before].text);
        match text {
            "{" => braces.push(at >= 2 && tokens[at - 2].text == "mod"),
            "}" => drop(braces.pop()),
            _ => {}
        }
        if !text.starts_with(is_name) || after == "::" || after == "." {
            at += 1;
            continue;
        }
        let mut spelled = Vec::new();
        let end = spell(tokens, at, &[], &mut spelled);
        found.extend(spelled.into_iter().map(|(names, line)| Path {
            names,
            line,
            in_test: marks[at],
            inline_depth: braces.iter().filter(|is_module| **is_module).count(),
        }));
        at = end;
    }
    found
}

/// Spells out the path at `at` behind `prefix`; returns the index after it.
fn spell(
    tokens: &[Token],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<(Vec<String>, usize)>,
) -> usize {
    let mut names = prefix.to_vec();
    let line = tokens.get(at).map_or(0, |token| token.line);
    while let Some(token) = tokens.get(at) {
        if token.text == "{" {
            return spell_group(tokens, at + 1, &names, found);
        }
        names.push(token.text.clone());
        at += 1;
        let goes_on = tokens.get(at).is_some_and(|token| token.text == "::")
            && tokens.get(at + 1).is_some_and(|token| {
                token.text.starts_with(is_name) || matches!(token.text.as_str(), "{" | "*")
            });
        if !goes_on {
            break;
        }
        at += 1;
    }
    found.push((names, line));
    at
}

fn spell_group(
    tokens: &[Token],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<(Vec<String>, usize)>,
) -> usize {
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "}" => return at + 1,
            "," => at += 1,
            "as" => at += 2,
            _ => at = spell(tokens, at, prefix, found),
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(text: &str) -> Vec<String> {
        let tokens = tokens(text);
        let marks = test_marks(&tokens);
        let paths = paths(&tokens, &marks).into_iter();
        paths.map(|path| path.names.join("::")).collect()
    }

    #[test]
    fn groups_of_imports_are_spelled_out() {
        let paths = spelled("use crate::{a, b::{c as d, e::*}, super::f}; x::<T>::new()");
        assert_eq!(
            paths,
            [
                "use",
                "crate::a",
                "crate::b::c",
                "crate::b::e::*",
                "crate::super::f",
                "x",
                "T"
            ]
        );
    }

    #[test]
    fn comments_and_strings_name_nothing() {
        let text = r####"
            // crate::a
            /* crate::b /* crate::c */ crate::d */
            let _ = ("crate::e f", 'c', '\'', b"crate::g \" crate::h", r#"" crate::i "#, '"', 'x: loop);
            #[serde(with = "crate::j::k")]
        "####;
        let named = spelled(text);
        let named: Vec<_> = named.iter().filter(|path| path.contains("::")).collect();
        assert_eq!(named, ["crate::j::k"]);
        let tokens = tokens(text);
        assert_eq!(tokens.last().map(|token| token.line), Some(5));
    }

    #[test]
    fn test_code_ends_with_its_item() {
        let tokens = tokens("#[cfg(test)] fn a(x: [u8; 2]) { b; } c #[cfg(test)] mod d; e");
        let marks = test_marks(&tokens);
        let outside = tokens.iter().zip(&marks).filter(|(_, mark)| !**mark);
        let outside: Vec<_> = outside.map(|(token, _)| token.text.as_str()).collect();
        assert_eq!(outside, ["c", "e"]);
    }
}
