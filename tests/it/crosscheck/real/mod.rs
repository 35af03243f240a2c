//! Ten databases of programs that people back up, retold in SQL of our own and filled with rows.

mod catalogs;
mod records;
mod searches;

use rusqlite::Connection;

use super::patina::{Copied, Outcome, protect};
use super::{compare, folder, inventory, program, silent};
use crate::torture::shell_restore;

/// The database of one program.
struct Program {
    name: &'static str,
    /// Settings that come before anything else.
    settings: &'static str,
    build: fn(&Connection) -> rusqlite::Result<()>,
    /// Whether its schema names what only the program has, so that no SQL brings it back as it was.
    needs_program: bool,
    /// A query whose answer a restored copy must give, too.
    question: &'static str,
    answer: i64,
}

#[track_caller]
fn check(program: &Program) {
    let folder = folder();
    let source = folder.path().join("source.db");
    let db = Connection::open(&source).unwrap();
    program::register(&db).unwrap();
    db.execute_batch(program.settings).unwrap();
    db.execute_batch("PRAGMA synchronous=OFF; PRAGMA foreign_keys=OFF; BEGIN")
        .unwrap();
    (program.build)(&db).unwrap_or_else(|error| panic!("{}: {error}", program.name));
    db.execute_batch("COMMIT").unwrap();
    drop(db);
    assert_answer(program, &source);
    let copied = match protect(&source, folder.path()) {
        Outcome::Copied(copied) => copied,
        Outcome::Refused(message) => panic!("{}: refused: {message}", program.name),
    };
    check_copy(program, &source, &copied);
}

/// What a copy says of itself must be true, and whatever is true must be in it.
#[track_caller]
fn check_copy(program: &Program, source: &std::path::Path, copied: &Copied) {
    let held = inventory::take(source).unwrap();
    assert!(held.parts.len() > 20, "only {} parts", held.parts.len());
    let found = inventory::take(&copied.restored).unwrap();
    let differences = compare::differences(&held, &found);
    for exception in &copied.exceptions {
        let is_true = differences.iter().any(|difference| {
            let mut names = difference.objects.iter();
            names.any(|name| name.eq_ignore_ascii_case(&exception.object))
        });
        assert!(
            is_true,
            "{}: nothing is wrong with {exception:?}",
            program.name
        );
        assert!(!exception.kind.is_empty() && !exception.reason.is_empty());
    }
    let texts: Vec<String> = silent(copied, differences)
        .into_iter()
        .map(|difference| difference.text)
        .collect();
    assert!(texts.is_empty(), "{}: {texts:#?}", program.name);
    assert_answer(program, &copied.restored);
    if program.needs_program {
        return;
    }
    assert_eq!(copied.class, "A", "{}", program.name);
    assert!(
        copied.exceptions.is_empty(),
        "{}: {:?}",
        program.name,
        copied.exceptions
    );
    assert!(
        !copied.is_image,
        "{}: SQL can bring this back",
        program.name
    );
    let sql = copied.sql.as_ref().expect("a copy that is no image is SQL");
    let by_shell = copied.restored.with_extension("shell.db");
    shell_restore(sql, &by_shell, false)
        .unwrap_or_else(|error| panic!("{}: the stock shell: {error}", program.name));
    let found = inventory::take(&by_shell).unwrap();
    let differences = compare::differences(&held, &found);
    assert!(
        differences.is_empty(),
        "{}: the stock shell: {differences:#?}",
        program.name
    );
}

#[track_caller]
fn assert_answer(program: &Program, path: &std::path::Path) {
    let db = Connection::open(path).unwrap();
    program::register(&db).unwrap();
    let answer = db.query_row(program.question, [], |row| row.get::<_, i64>(0));
    assert_eq!(
        answer,
        Ok(program.answer),
        "{}: {}",
        program.name,
        program.question
    );
}

/// Changes a text of the schema, as the program that can read it would have written it.
fn rewrite(db: &Connection, name: &str, from: &str, to: &str) -> rusqlite::Result<()> {
    db.execute_batch("PRAGMA writable_schema=ON")?;
    let sql = "UPDATE sqlite_schema SET sql = replace(sql, ?2, ?3) WHERE name = ?1 AND instr(sql, ?2) > 0";
    assert_eq!(
        db.execute(sql, [name, from, to])?,
        1,
        "{name} has no {from}"
    );
    db.execute_batch("PRAGMA writable_schema=OFF")
}

#[test]
fn a_password_manager_comes_back_whole() {
    check(&records::PASSWORD_MANAGER);
}

#[test]
fn a_home_automation_recorder_comes_back_whole() {
    check(&records::RECORDER);
}

#[test]
fn a_git_forge_comes_back_whole() {
    check(&records::GIT_FORGE);
}

#[test]
fn a_browser_history_comes_back_whole() {
    check(&records::BROWSER_HISTORY);
}

#[test]
fn a_feed_reader_comes_back_whole() {
    check(&searches::FEED_READER);
}

#[test]
fn a_photo_library_with_its_own_collation_and_tokenizer_comes_back() {
    check(&searches::PHOTO_LIBRARY);
}

#[test]
fn a_message_store_with_its_own_tokenizer_comes_back() {
    check(&searches::MESSAGE_STORE);
}

#[test]
fn a_flashcard_program_with_a_collation_in_a_primary_key_comes_back() {
    check(&catalogs::FLASHCARDS);
}

#[test]
fn a_geopackage_comes_back_whole() {
    check(&catalogs::GEOPACKAGE);
}

#[test]
fn a_vector_table_of_an_unknown_module_comes_back() {
    check(&catalogs::VECTORS);
}
