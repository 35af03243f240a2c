//! Holds the SQLite that is built in against the stock shell and the D1 engine: what those have and ours has not is named
//! here, with the reason, or the test fails.

use std::collections::BTreeSet;
use std::process::Command;

use rusqlite::Connection;
use rusqlite::limits::Limit;

use crate::d1::engine::Engine;

/// Functions of the shell that ours has not, and why that loses nothing: a schema that calls one cannot be restored by the
/// library, so its database is kept as an image.
const SHELL_ONLY: &[(&str, &str)] = &[
    ("decimal", "an extension of the shell"),
    ("edit", "starts a program"),
    ("fsdir", "reads folders"),
    ("ieee754", "an extension of the shell"),
    ("lsmode", "words for modes of files"),
    ("readfile", "reads files"),
    (
        "regexp",
        "an extension of the shell; other programs bring a `regexp` of another meaning",
    ),
    ("sha", "an extension of the shell"),
    ("shell_", "serves the shell's own commands"),
    ("sqlar_", "serves the shell's archives"),
    ("usleep", "waits"),
    ("writefile", "writes files"),
    ("zipfile", "an extension of the shell"),
    ("base64", "an extension of newer shells"),
    ("base85", "an extension of newer shells"),
    ("is_base85", "an extension of newer shells"),
    ("percentile", "an extension of newer shells"),
    ("median", "an extension of newer shells"),
    ("strtod", "serves the shell's own tests"),
    ("dtostr", "serves the shell's own tests"),
    ("stmtrand", "serves the shell's own tests"),
    ("unhex", "ours has it with other counts of arguments"),
];

const SHELL_COLLATIONS: &[(&str, &str)] = &[
    ("decimal", "an extension of the shell"),
    ("uint", "an extension of the shell"),
];

const SHELL_MODULES: &[(&str, &str)] = &[
    ("completion", "serves the shell's prompt"),
    ("fsdir", "reads folders"),
    (
        "generate_series",
        "an extension of the shell; it keeps no rows",
    ),
    ("sqlite_dbdata", "serves the shell's .recover"),
    ("sqlite_dbptr", "serves the shell's .recover"),
    ("sqlite_stmt", "tells of the connection's own statements"),
    ("zipfile", "an extension of the shell"),
    ("pragma_", "a pragma, asked as a table"),
    ("vt02", "serves tests"),
    ("tables_used", "tells of the connection's own statements"),
    ("bytecode", "tells of the connection's own statements"),
];

fn ours(sql: &str) -> BTreeSet<String> {
    let connection = Connection::open_in_memory().unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let names = statement.query_map([], |row| row.get(0)).unwrap();
    names.collect::<Result<_, _>>().unwrap()
}

fn shells(sql: &str) -> BTreeSet<String> {
    let output = Command::new("sqlite3")
        .args([":memory:", sql])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(!text.is_empty(), "{output:?}");
    text.lines().map(str::to_owned).collect()
}

/// What the shell has, ours has not, and nobody named.
fn unnamed(sql: &str, named: &[(&str, &str)]) -> Vec<String> {
    let (ours, shells) = (ours(sql), shells(sql));
    let is_named = |name: &&String| named.iter().any(|(start, _)| name.starts_with(start));
    let missing: Vec<&String> = shells.difference(&ours).collect();
    for name in missing.iter().filter(|name| is_named(name)) {
        let why = named
            .iter()
            .find(|(start, _)| name.starts_with(start))
            .unwrap()
            .1;
        println!("only in the shell: {name}: {why}");
    }
    let left = missing.into_iter().filter(|name| !is_named(name));
    left.cloned().collect()
}

#[test]
fn ours_has_what_the_stock_shell_has_but_for_what_is_named() {
    let functions = "SELECT DISTINCT name FROM pragma_function_list";
    assert_eq!(unnamed(functions, SHELL_ONLY), [""; 0]);
    let collations = "SELECT name FROM pragma_collation_list";
    assert_eq!(unnamed(collations, SHELL_COLLATIONS), [""; 0]);
    let modules = "SELECT name FROM pragma_module_list";
    assert_eq!(unnamed(modules, SHELL_MODULES), [""; 0]);
    let pragmas = "SELECT name FROM pragma_pragma_list";
    assert_eq!(unnamed(pragmas, &[]), [""; 0]);
}

#[test]
fn limits_and_rules_that_decide_what_a_schema_may_say_are_the_shells() {
    let connection = Connection::open_in_memory().unwrap();
    let limit = |limit| connection.limit(limit).unwrap();
    let at_least = [
        (Limit::SQLITE_LIMIT_LENGTH, 1_000_000_000),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 1_000_000_000),
        (Limit::SQLITE_LIMIT_COLUMN, 2_000),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 1_000),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 500),
        (Limit::SQLITE_LIMIT_FUNCTION_ARG, 127),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 50_000),
        (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 1_000),
    ];
    for (which, least) in at_least {
        assert!(limit(which) >= least, "{which:?}: {}", limit(which));
    }
    // Double quotes around what is no column are a text, in queries and in schemas.
    let sql = "CREATE TABLE t(a DEFAULT \"x\", CHECK(a <> \"y\")); CREATE INDEX i ON t(a) WHERE a > \"z\"; SELECT \"no column\"";
    connection.execute_batch(sql).unwrap();
    let shell = Command::new("sqlite3")
        .args([":memory:", sql])
        .output()
        .unwrap();
    assert!(shell.status.success(), "{shell:?}");
}

/// Functions of D1 that ours has not.
const D1_ONLY: &[(&str, &str)] = &[];

#[test]
fn ours_has_what_d1_has_but_for_what_is_named() {
    let engine = Engine::start();
    let id = engine.create("flavour");
    let functions = "SELECT DISTINCT name FROM pragma_function_list";
    let ours = ours(functions);
    let known = ours
        .union(&shells(functions))
        .cloned()
        .collect::<BTreeSet<_>>();
    let is_there = |name: &String| {
        let why = engine.refusal(&id, &format!("SELECT \"{name}\"()"));
        !why.is_some_and(|why| why.contains("no such function") || why.contains("not authorized"))
    };
    let theirs: BTreeSet<String> = known
        .iter()
        .filter(|name| is_there(name))
        .cloned()
        .collect();
    assert!(theirs.len() > 50, "{theirs:?}");
    let missing: Vec<&String> = theirs
        .difference(&ours)
        .filter(|name| !D1_ONLY.iter().any(|(start, _)| name.starts_with(start)))
        .collect();
    assert_eq!(missing, [""; 0]);
    let only_ours: Vec<&String> = ours.difference(&theirs).collect();
    println!("only ours, not in D1: {only_ours:?}");
}
