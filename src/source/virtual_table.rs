//! Reads the module and its arguments out of a `CREATE VIRTUAL TABLE` text.

/// What stands behind `USING`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Module {
    /// Its name, lower case.
    pub(super) name: String,
    /// Its arguments, trimmed, as written.
    pub(super) arguments: Vec<String>,
}

/// How a full-text table keeps its text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FullText {
    /// In itself.
    Own,
    /// In another table, over which it is an index.
    External,
    /// Nowhere: the text cannot be read back.
    Contentless,
}

impl Module {
    /// The module of a virtual table; `None` where the text has another form.
    pub(super) fn of(sql: &str) -> Option<Self> {
        let mut tokens = Tokens(sql);
        loop {
            if tokens.next()?.eq_ignore_ascii_case("using") {
                break;
            }
        }
        let name = tokens.next()?;
        let rest = tokens.0.trim_start();
        let inner = rest.strip_prefix('(').map_or("", |inner| {
            inner.rfind(')').map_or(inner, |end| &inner[..end])
        });
        Some(Self {
            name: unquoted(name).to_ascii_lowercase(),
            arguments: split_arguments(inner),
        })
    }

    /// Whether it is one of SQLite's full-text modules.
    pub(super) fn is_full_text(&self) -> bool {
        ["fts3", "fts4", "fts5"].contains(&self.name.as_str())
    }

    /// The value of the option `key`, without its quotes.
    pub(super) fn option(&self, key: &str) -> Option<String> {
        self.arguments.iter().find_map(|argument| {
            let (name, value) = argument.split_once('=')?;
            let is_wanted = name.trim().eq_ignore_ascii_case(key);
            is_wanted.then(|| unquoted(value.trim()))
        })
    }

    /// How a full-text table keeps its text, by its `content` argument.
    pub(super) fn full_text(&self) -> FullText {
        match self.option("content").as_deref() {
            None => FullText::Own,
            Some("") => FullText::Contentless,
            Some(_) => FullText::External,
        }
    }
}

/// Whether a `CREATE TABLE` text has an AUTOINCREMENT key. No name can be that word without quotes.
pub(super) fn counts_up(sql: &str) -> bool {
    Tokens(sql).any(|token| token.eq_ignore_ascii_case("autoincrement"))
}

fn split_arguments(inner: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let (mut start, mut depth, mut quote) = (0, 0u32, None);
    for (at, c) in inner.char_indices() {
        match (quote, c) {
            (Some(end), c) if c == end => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"' | '`') => quote = Some(c),
            (None, '[') => quote = Some(']'),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                arguments.push(inner[start..at].trim().to_owned());
                start = at + 1;
            }
            (None, _) => {}
        }
    }
    arguments.push(inner[start..].trim().to_owned());
    arguments
}

/// A name or value without its quotes.
fn unquoted(text: &str) -> String {
    for (open, close) in [('\'', '\''), ('"', '"'), ('`', '`'), ('[', ']')] {
        if let Some(inner) = text.strip_prefix(open).and_then(|t| t.strip_suffix(close)) {
            return inner.replace(&format!("{close}{close}"), &close.to_string());
        }
    }
    text.to_owned()
}

/// Words and quoted names, comments left out.
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            self.0 = self.0.trim_start();
            if let Some(comment) = self.0.strip_prefix("--") {
                self.0 = comment.split_once('\n').map_or("", |(_, rest)| rest);
            } else if let Some(comment) = self.0.strip_prefix("/*") {
                self.0 = comment.split_once("*/").map_or("", |(_, rest)| rest);
            } else {
                break;
            }
        }
        let first = self.0.chars().next()?;
        let length = match first {
            '"' | '\'' | '`' => quoted_length(self.0, first),
            '[' => self.0.find(']').map_or(self.0.len(), |end| end + 1),
            c if is_word(c) => self.0.find(|c| !is_word(c)).unwrap_or(self.0.len()),
            c => c.len_utf8(),
        };
        let (token, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(token)
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

fn quoted_length(text: &str, quote: char) -> usize {
    let mut from = 1;
    while let Some(end) = text[from..].find(quote) {
        let after = from + end + 1;
        if !text[after..].starts_with(quote) {
            return after;
        }
        from = after + 1;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sql: &str, name: &str, full_text: FullText) {
        let module = Module::of(sql).unwrap();
        assert_eq!(module.name, name);
        assert_eq!(module.full_text(), full_text);
    }

    #[test]
    fn the_module_and_its_content_option_are_found() {
        check(
            "CREATE VIRTUAL TABLE f USING fts5(a, b)",
            "fts5",
            FullText::Own,
        );
        check(
            "CREATE VIRTUAL TABLE \"using \"\"x\" /* using z */ USING FTS5(a, content = '')",
            "fts5",
            FullText::Contentless,
        );
        check(
            "CREATE VIRTUAL TABLE [a b] USING fts4(content=\"posts, all\", tokenize=porter)",
            "fts4",
            FullText::External,
        );
        check(
            "CREATE VIRTUAL TABLE v USING dbstat",
            "dbstat",
            FullText::Own,
        );
        check(
            "CREATE VIRTUAL TABLE f USING fts5(contents, x, tokenize = \"unicode61 separators ','\")",
            "fts5",
            FullText::Own,
        );
    }

    #[test]
    fn the_word_autoincrement_in_a_comment_or_string_is_no_key() {
        assert!(counts_up(
            "CREATE TABLE t(a INTEGER PRIMARY KEY AutoIncrement)"
        ));
        let other =
            "CREATE TABLE t(a -- autoincrement\n, \"autoincrement\" DEFAULT 'autoincrement')";
        assert!(!counts_up(other));
    }
}
