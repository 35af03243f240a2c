//! FTS3 and FTS4 tables of every kind.

use super::{Build, names};

const TOKENIZERS: &[&str] = &[
    "",
    "",
    "tokenize=simple",
    "tokenize=porter",
    "tokenize=unicode61",
    "tokenize=unicode61 \"remove_diacritics=0\"",
    "tokenize=unicode61 \"tokenchars=-.\" \"separators=x\"",
    "tokenize=unicode61 \"remove_diacritics=2\"",
];
const OPTIONS: &[&str] = &[
    "matchinfo=fts3",
    "order=desc",
    "order=asc",
    "prefix=\"2,4\"",
    "notindexed={}",
    "languageid=\"lid\"",
    "languageid=\"other\", languageid=\"lid\"",
    "compress=hex, uncompress=unhex",
    "compress=upper, uncompress=lower",
    "compress=trim, uncompress=trim",
];

/// A table that keeps its text.
pub(super) fn own(build: &mut Build) {
    let module = build.dice.pick(&["fts3", "fts4", "fts4", "FTS4"]);
    let (table, columns) = create(build, module, None);
    insert(build, &table, &columns);
    settle(build, &table);
    if build.dice.chance(20) {
        let name = build.name();
        build.attempt(&format!("ALTER TABLE {table} RENAME TO {name}"));
    }
    if build.dice.chance(8) {
        let name = build.name();
        build.attempt(&format!(
            "CREATE VIRTUAL TABLE {name} USING fts4aux({table})"
        ));
    }
}

/// A table whose text lies in another one, or nowhere.
pub(super) fn elsewhere(build: &mut Build) {
    if build.dice.chance(40) {
        let (table, columns) = create(build, "fts4", Some("content=\"\""));
        insert(build, &table, &columns);
        return settle(build, &table);
    }
    let content = build.bare_name();
    let quoted_content = super::quoted(&content);
    build.run(&format!(
        "CREATE TABLE {quoted_content}(id INTEGER PRIMARY KEY, c0, c1, lid)"
    ));
    for row in 1..3 + build.dice.below(6) {
        let (a, b) = (build.prose(), build.prose());
        build.run(&format!(
            "INSERT INTO {quoted_content} VALUES ({row} * 3, {a}, {b}, 0)"
        ));
    }
    let named = format!("content=\"{}\"", content.replace('"', "\"\""));
    let (table, _) = create(build, "fts4", Some(&named));
    match build.dice.below(5) {
        0 | 1 => {
            build.attempt(&format!("INSERT INTO {table}({table}) VALUES ('rebuild')"));
        }
        // Fewer rows and other text than the content has.
        2 => {
            build.attempt(&format!(
                "INSERT INTO {table}(docid, c0) VALUES (3, 'other words'), (6, 'backup')"
            ));
        }
        // Rows that the content lost since.
        3 => {
            build.attempt(&format!("INSERT INTO {table}({table}) VALUES ('rebuild')"));
            build.run(&format!("DELETE FROM {quoted_content} WHERE id = 3"));
            build.run(&format!("UPDATE {quoted_content} SET c0 = 'changed later'"));
        }
        _ => {}
    }
    settle(build, &table);
}

fn create(build: &mut Build, module: &str, content: Option<&str>) -> (String, Vec<String>) {
    let columns = match content {
        Some(_) => vec!["c0".to_owned(), "c1".to_owned()],
        None => {
            let count = 1 + build.dice.below(3);
            names::columns(&mut build.dice, count)
        }
    };
    let mut parts = columns.clone();
    // The last one counts in FTS4, and FTS3 takes it for a column.
    match (module, content) {
        (_, Some(_)) if build.dice.chance(10) => parts.push("content=\"\"".to_owned()),
        ("fts3", None) if build.dice.chance(10) => parts.push("content=''".to_owned()),
        _ => {}
    }
    parts.extend(content.map(str::to_owned));
    let least = parts.len();
    let tokenizer = build.dice.pick(TOKENIZERS);
    if !tokenizer.is_empty() {
        parts.push(tokenizer.to_owned());
    }
    if module != "fts3" {
        for option in OPTIONS {
            if build.dice.chance(12) {
                parts.push(option.replace("{}", &columns[0]));
            }
        }
    }
    let table = build.name();
    for parts in [&parts[..], &parts[..least]] {
        let list = parts.join(", ");
        if build.attempt(&format!(
            "CREATE VIRTUAL TABLE {table} USING {module}({list})"
        )) {
            return (table, columns);
        }
    }
    let table = build.name();
    let plain = match content {
        Some(content) => format!("c0, c1, {content}"),
        None => "c0".to_owned(),
    };
    build.attempt(&format!(
        "CREATE VIRTUAL TABLE {table} USING {module}({plain})"
    ));
    (table, vec!["c0".to_owned()])
}

fn insert(build: &mut Build, table: &str, columns: &[String]) {
    let list = columns.join(", ");
    for row in 1..1 + build.dice.below(9) {
        let values: Vec<String> = columns
            .iter()
            .map(|_| match build.dice.chance(85) {
                true => build.prose(),
                false => build.value(),
            })
            .collect();
        let values = values.join(", ");
        let docid = match build.dice.chance(15) {
            true => build.dice.pick(&["-5", "0", "9007199254740993"]).to_owned(),
            false => (row * 2).to_string(),
        };
        let language = build.dice.below(3);
        let in_language = format!(
            "INSERT INTO {table}(docid, lid, {list}) VALUES ({docid}, {language}, {values})"
        );
        if !build.dice.chance(60) || !build.attempt(&in_language) {
            build.attempt(&format!(
                "INSERT INTO {table}(docid, {list}) VALUES ({docid}, {values})"
            ));
        }
    }
    if build.dice.chance(25) {
        build.attempt(&format!("DELETE FROM {table} WHERE docid = 4"));
        build.attempt(&format!(
            "UPDATE {table} SET {} = 'updated' WHERE docid = 2",
            columns[0]
        ));
    }
}

/// Orders to the index that change its layout, and one setting.
fn settle(build: &mut Build, table: &str) {
    let order = build
        .dice
        .pick(&["", "", "", "optimize", "automerge=4", "merge=2,2"]);
    if !order.is_empty() {
        build.attempt(&format!("INSERT INTO {table}({table}) VALUES ('{order}')"));
    }
}
