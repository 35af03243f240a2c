//! Parses the module and its arguments from a `CREATE VIRTUAL TABLE` text.

/// The module and arguments after `USING`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Module {
    /// Its name, lower case.
    pub(super) name: String,
    /// Its arguments, trimmed, as written.
    pub(super) arguments: Vec<String>,
}

/// Place of a full-text table's text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FullText {
    /// The table itself.
    Own,
    /// Another table, over which it is an index.
    External,
    /// None: the text cannot be read back.
    Contentless,
}

impl Module {
    /// Returns the module of a virtual table; `None` if the text has another form.
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

    /// True for SQLite's full-text modules.
    pub(super) fn is_full_text(&self) -> bool {
        ["fts3", "fts4", "fts5"].contains(&self.name.as_str())
    }

    /// Returns the value of the option `key` as the module reads it, without its quotes: FTS3 has no options, FTS4
    /// takes the last of several, and FTS5 accepts any beginning of a name.
    pub(super) fn option(&self, key: &str) -> Option<String> {
        let is_wanted = |name: &str| match self.name.as_str() {
            "fts3" => false,
            "fts5" => fts5_option(name) == Some(key),
            _ => name.eq_ignore_ascii_case(key),
        };
        self.arguments.iter().rev().find_map(|argument| {
            let (name, value) = argument.split_once('=')?;
            is_wanted(name.trim()).then(|| unquoted(value.trim()))
        })
    }

    /// Returns the place of a full-text table's text, by its `content` argument.
    pub(super) fn full_text(&self) -> FullText {
        match self.option("content").as_deref() {
            None => FullText::Own,
            Some("") => FullText::Contentless,
            Some(_) => FullText::External,
        }
    }
}

/// The options of FTS5, in the order in which it searches for one that begins with the given word.
const FTS5_OPTIONS: [&str; 10] = [
    "prefix",
    "tokenize",
    "content",
    "contentless_delete",
    "contentless_unindexed",
    "content_rowid",
    "columnsize",
    "locale",
    "detail",
    "tokendata",
];

/// Returns the option that FTS5 takes `name` for.
fn fts5_option(name: &str) -> Option<&'static str> {
    let is_begun = |option: &&str| {
        let start = option.get(..name.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(name))
    };
    FTS5_OPTIONS.into_iter().find(is_begun)
}

/// True if a `CREATE TABLE` text has an AUTOINCREMENT key. No name can be that word without quotes.
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

/// Removes the quotes of a name or value.
fn unquoted(text: &str) -> String {
    for (open, close) in [('\'', '\''), ('"', '"'), ('`', '`'), ('[', ']')] {
        if let Some(inner) = text.strip_prefix(open).and_then(|t| t.strip_suffix(close)) {
            return inner.replace(&format!("{close}{close}"), &close.to_string());
        }
    }
    text.to_owned()
}

/// Iterator over words, quoted names and other characters, without comments.
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
    fn options_are_read_as_each_module_reads_them() {
        let own = FullText::Own;
        check(
            "CREATE VIRTUAL TABLE f USING fts3(a, content='')",
            "fts3",
            own,
        );
        let last = "CREATE VIRTUAL TABLE f USING fts4(a, content='', content='t')";
        check(last, "fts4", FullText::External);
        let last = "CREATE VIRTUAL TABLE f USING fts4(a, content='t', content='')";
        check(last, "fts4", FullText::Contentless);
        let begun = "CREATE VIRTUAL TABLE f USING fts5(a, C='')";
        check(begun, "fts5", FullText::Contentless);
        let begun = "CREATE VIRTUAL TABLE f USING fts5(a, conten = t, col=0)";
        check(begun, "fts5", FullText::External);
        let other = "CREATE VIRTUAL TABLE f USING fts5(a, col=0, d=none, t='porter')";
        check(other, "fts5", FullText::Own);
        let module = Module::of("CREATE VIRTUAL TABLE f USING fts5(a, l=1, tokend=1)").unwrap();
        assert_eq!(module.option("locale").as_deref(), Some("1"));
        assert_eq!(module.option("tokendata").as_deref(), Some("1"));
        assert_eq!(module.option("tokenize"), None);
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
