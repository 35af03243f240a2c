//! FTS5 tables of every kind.

use super::{Build, names};

const TOKENIZERS: &[&str] = &[
    "",
    "",
    "",
    "tokenize = 'porter'",
    "tokenize = \"porter unicode61 remove_diacritics 2\"",
    "tokenize = 'ascii'",
    "tokenize = \"ascii tokenchars '-.' separators 'x'\"",
    "tokenize = \"unicode61 remove_diacritics 0 tokenchars '-='\"",
    "tokenize = \"unicode61 categories 'L* N* Co'\"",
    "tokenize = trigram",
    "tokenize = 'trigram case_sensitive 1'",
    "tokenize = 'trigram remove_diacritics 1'",
];
const OPTIONS: &[&str] = &[
    "detail = none",
    "detail = column",
    "detail = full",
    "columnsize = 0",
    "prefix = '2 3'",
    "prefix = 1",
    "locale = 1",
    "tokendata = 1",
];
/// Beginnings that FTS5 takes for its options.
const BEGINNINGS: &[(&str, &[&str])] = &[
    ("content ", &["c", "CON", "conten"]),
    ("content_rowid ", &["content_r", "Content_Row"]),
    ("contentless_delete ", &["contentl", "contentless_d"]),
    ("contentless_unindexed ", &["contentless_u"]),
    ("columnsize ", &["col", "COLUMNS"]),
    ("tokenize ", &["t", "toke"]),
    ("tokendata ", &["tokend"]),
    ("prefix ", &["p", "PRE"]),
    ("detail ", &["d"]),
    ("locale ", &["l", "LOC"]),
];
const SETTINGS: &[&str] = &[
    "('rank', 'bm25(10.0, 5.0)')",
    "('pgsz', 64)",
    "('pgsz', 1000)",
    "('automerge', 2)",
    "('crisismerge', 3)",
    "('usermerge', 3)",
    "('deletemerge', 50)",
    "('hashsize', 4096)",
    "('secure-delete', 1)",
];

/// A table that keeps its text.
pub(super) fn own(build: &mut Build) {
    let (table, columns) = create(build, &[]);
    insert(build, &table, &columns);
    settle(build, &table);
    if build.dice.chance(20) {
        rename(build, &table);
    }
    vocabulary(build, &table);
}

/// An index over another table or a view, which holds what its content holds or something else.
pub(super) fn external(build: &mut Build) {
    let content = build.bare_name();
    let quoted_content = super::quoted(&content);
    let id = build.dice.pick(&["id", "rowid", "post id"]);
    let fields = names::columns(&mut build.dice, 2);
    let fields_sql = fields.join(", ");
    let key = match id {
        "rowid" => String::new(),
        id => format!("\"{id}\" INTEGER PRIMARY KEY, "),
    };
    build.run(&format!(
        "CREATE TABLE {quoted_content}({key}other, {fields_sql})"
    ));
    for row in 0..2 + build.dice.below(8) {
        let (a, b) = (build.prose(), build.prose());
        let rowid = row * 2 + 1;
        build.run(&format!(
            "INSERT INTO {quoted_content}(\"{id}\", {fields_sql}) VALUES ({rowid}, {a}, {b})"
        ));
    }
    let named = format!("content = '{}'", content.replace('\'', "''"));
    let mut options = vec![named];
    if id != "rowid" || build.dice.chance(30) {
        options.push(format!("content_rowid = '{id}'"));
    }
    let Some(table) = create_over(build, &fields, &options) else {
        return;
    };
    match build.dice.below(6) {
        0 | 1 => {
            build.attempt(&format!("INSERT INTO {table}({table}) VALUES ('rebuild')"));
        }
        // Fewer rows than the content has.
        2 => {
            build.attempt(&format!(
            "INSERT INTO {table}(rowid, {fields_sql}) SELECT \"{id}\", {fields_sql} FROM {quoted_content} WHERE \"{id}\" % 4 = 1"));
        }
        // Other text than the content has.
        3 => {
            build.attempt(&format!(
            "INSERT INTO {table}(rowid, {fields_sql}) SELECT \"{id}\", lower({first}), 'folded word' FROM {quoted_content}",
            first = fields[0]));
        }
        // Rows that the content lost since.
        4 => {
            build.attempt(&format!("INSERT INTO {table}({table}) VALUES ('rebuild')"));
            build.attempt(&format!("DELETE FROM {quoted_content} WHERE \"{id}\" > 2"));
            build.attempt(&format!(
                "UPDATE {quoted_content} SET {} = 'changed later'",
                fields[0]
            ));
        }
        _ => {}
    }
    if build.dice.chance(30) {
        let trigger = build.name();
        build.attempt(&format!(
            "CREATE TRIGGER {trigger} AFTER INSERT ON {quoted_content} BEGIN INSERT INTO {table}(rowid, {fields_sql}) \
             VALUES (new.\"{id}\", new.{}, new.{}); END",
            fields[0], fields[1]
        ));
        let text = build.prose();
        build.attempt(&format!(
            "INSERT INTO {quoted_content}(\"{id}\", {fields_sql}) VALUES (99, {text}, {text})"
        ));
    }
    settle(build, &table);
    vocabulary(build, &table);
}

/// A table that keeps no text.
pub(super) fn contentless(build: &mut Build) {
    let more = build.dice.pick(&[
        "",
        "",
        "contentless_delete = 1",
        "contentless_unindexed = 1",
        "contentless_delete = 1, contentless_unindexed = 1",
    ]);
    let mut options = vec!["content = ''".to_owned()];
    if !more.is_empty() {
        options.push(more.to_owned());
    }
    let (table, columns) = create(build, &options);
    insert(build, &table, &columns);
    settle(build, &table);
    vocabulary(build, &table);
}

/// Creates a table with columns of its own; where an option is refused, without the optional ones.
fn create(build: &mut Build, options: &[String]) -> (String, Vec<String>) {
    let count = 1 + build.dice.below(3);
    let mut columns = names::columns(&mut build.dice, count);
    // FTS5 keeps these names for itself.
    columns.iter_mut().for_each(|column| {
        if ["\"rowid\"", "\"rank\""].contains(&column.as_str()) {
            "c".clone_into(column);
        }
    });
    let unindexed = build.dice.chance(25).then(|| build.dice.below(count));
    let declared: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| match unindexed == Some(at) {
            true => format!("{column} UNINDEXED"),
            false => column.clone(),
        })
        .collect();
    if let Some(table) = create_over(build, &declared, options) {
        return (table, columns);
    }
    let table = build.name();
    let plain = ["c0".to_owned()];
    let all = [&plain[..], &options[..options.len().min(1)]].concat();
    build.attempt(&format!(
        "CREATE VIRTUAL TABLE {table} USING fts5({})",
        all.join(", ")
    ));
    (table, plain.to_vec())
}

/// The option with a name that only begins as its own.
fn begun(build: &mut Build, option: &str) -> String {
    let known = BEGINNINGS
        .iter()
        .find_map(|(name, begun)| option.strip_prefix(name).map(|rest| (rest, *begun)));
    match known {
        Some((rest, begun)) => format!("{} {rest}", build.dice.pick(begun)),
        None => option.to_owned(),
    }
}

/// Creates a table with random options besides `fixed`; `None` where FTS5 refuses it.
fn create_over(build: &mut Build, columns: &[String], fixed: &[String]) -> Option<String> {
    let table = build.name();
    let mut parts = columns.to_vec();
    parts.extend_from_slice(fixed);
    let least = parts.len();
    let tokenizer = build.dice.pick(TOKENIZERS);
    if !tokenizer.is_empty() {
        parts.push(tokenizer.to_owned());
    }
    for option in OPTIONS {
        if build.dice.chance(10) {
            parts.push((*option).to_owned());
        }
    }
    let using = build.dice.pick(&[
        "USING fts5",
        "using FTS5 ",
        "USING \"fts5\"",
        "USING fts5\n",
    ]);
    for part in &mut parts[columns.len()..] {
        if build.dice.chance(10) {
            *part = begun(build, part);
        }
    }
    for parts in [&parts[..], &parts[..least]] {
        let list = parts.join(build.dice.pick(&[", ", ",\n", " , "]));
        if build.attempt(&format!("CREATE VIRTUAL TABLE {table} {using}({list})")) {
            return Some(table);
        }
    }
    None
}

fn insert(build: &mut Build, table: &str, columns: &[String]) {
    let list = columns.join(", ");
    for row in 0..build.dice.below(9) {
        let values: Vec<String> = columns
            .iter()
            .map(|_| match build.dice.chance(80) {
                true => build.prose(),
                false => build.value(),
            })
            .collect();
        let values = values.join(", ");
        let rowid = build
            .dice
            .pick(&["-7", "0", "3", "900", "9007199254740993"]);
        let sql = match build.dice.chance(20) {
            true => format!("INSERT INTO {table}(rowid, {list}) VALUES ({rowid}, {values})"),
            false => format!("INSERT INTO {table}({list}) VALUES ({values})"),
        };
        build.attempt(&sql);
        if row == 3 && build.dice.chance(40) {
            build.attempt(&format!("DELETE FROM {table} WHERE rowid = 2"));
            build.attempt(&format!(
                "UPDATE {table} SET {} = 'updated' WHERE rowid = 1",
                columns[0]
            ));
        }
    }
    if build.dice.chance(5) {
        build.attempt(&format!("DELETE FROM {table}"));
    }
    if build.dice.chance(10) {
        let text = build.prose();
        build.attempt(&format!(
            "INSERT INTO {table}({}) VALUES (fts5_locale('de_DE', {text}))",
            columns[0]
        ));
    }
}

/// Settings, and orders to the index that change its layout.
fn settle(build: &mut Build, table: &str) {
    for _ in 0..build.dice.below(3) {
        let setting = build.dice.pick(SETTINGS);
        build.attempt(&format!(
            "INSERT INTO {table}({table}, rank) VALUES {setting}"
        ));
    }
    if build.dice.chance(15) {
        build.attempt(&format!("INSERT INTO {table}({table}) VALUES ('optimize')"));
    }
    if build.dice.chance(5) {
        build.attempt(&format!(
            "INSERT INTO {table}({table}) VALUES ('delete-all')"
        ));
    }
    if build.dice.chance(15) {
        build.attempt(&format!("DELETE FROM {table} WHERE rowid = 1"));
    }
}

fn rename(build: &mut Build, table: &str) {
    let name = build.name();
    build.attempt(&format!("ALTER TABLE {table} RENAME TO {name}"));
}

/// Sometimes a table that shows the words of the index.
fn vocabulary(build: &mut Build, table: &str) {
    if build.dice.chance(8) {
        let name = build.name();
        let kind = build.dice.pick(&["row", "col", "instance"]);
        build.attempt(&format!(
            "CREATE VIRTUAL TABLE {name} USING fts5vocab({table}, {kind})"
        ));
    }
}
