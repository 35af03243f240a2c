//! Throws random text at the statement splitter, and every cut and flip of a dump at the reader.

use std::fs;
use std::io::{self, Read};

use patina::dump::{Check, SplitError, Splitter};
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::{Batch, Connection};

use crate::dumping::Workshop;
use crate::torture::Dice;

const TEXTS: usize = 3_000;
const MAX_STATEMENT_BYTES: usize = 1 << 20;

/// Gives out its text in pieces of random length.
struct Cut<'a>(&'a [u8], Dice);

impl Read for Cut<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = (1 + self.1.below(9)).min(self.0.len()).min(out.len());
        out[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

/// The statements of a text and whether it ended well.
fn split(text: &[u8], seed: u64) -> (Vec<Vec<u8>>, bool) {
    let mut splitter = Splitter::new(Cut(text, Dice::new(seed)), MAX_STATEMENT_BYTES);
    let mut pieces = Vec::new();
    let mut end = 0;
    loop {
        match splitter.next_statement() {
            Ok(Some((at, piece))) => {
                assert_eq!(usize::try_from(at).unwrap(), end, "a gap");
                end += piece.len();
                assert_eq!(piece, &text[end - piece.len()..end]);
                pieces.push(piece.to_vec());
            }
            Ok(None) => return (pieces, true),
            Err(SplitError::Incomplete { at_bytes }) => {
                assert_eq!(usize::try_from(at_bytes).unwrap(), end, "another place");
                return (pieces, false);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// What a statement yields, or that it is none or no query.
fn answer(db: &Connection, sql: &str) -> Vec<String> {
    let mut answers = Vec::new();
    let mut batch = Batch::new(db, sql);
    while let Some(mut statement) = batch
        .next()
        .unwrap_or_else(|error| panic!("{error}: {sql}"))
    {
        if statement.column_count() == 0 {
            answers.push("made".to_owned());
            continue;
        }
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            answers.push(format!("{:?}", row.get_ref(0).unwrap()));
        }
    }
    answers
}

fn random_statement(dice: &mut Dice) -> String {
    const TERMS: &[&str] = &[
        "';'",
        "'it''s; --'",
        "'/*'",
        "'*/'",
        "'\n;\n'",
        "1",
        "4 / 2",
        "3 - -1",
        "3-\n-1",
        "x'3b'",
        "\"a;b\"",
        "[c;d]",
        "`e;``f`",
        "CASE WHEN 1 THEN ';' ELSE 'END;' END",
        "'create trigger'",
        "1.5e3",
        "\"end\"",
        "''",
    ];
    const BLANKS: &[&str] = &[
        " ",
        "\n",
        "\t",
        "\r\n",
        " /* ; */ ",
        " -- ;\n",
        "/**/ ",
        "/* ' */ ",
        " --'\n",
        " /* \" */\n",
        "/*/ ; */ ",
        "--\n",
        "\x0c",
    ];
    const TRIGGERS: &[&str] = &[
        "CREATE TRIGGER a AFTER INSERT ON t BEGIN SELECT 1; SELECT CASE WHEN 1 THEN 2 END; END",
        "CREATE TEMP TRIGGER \"end\" BEFORE DELETE ON t BEGIN DELETE FROM t; END",
        "create temporary trigger b after update on t begin select 'END;'; /* END; */ select 2; -- END;\nend",
        "CREATE TRIGGER IF NOT EXISTS c INSERT ON t BEGIN SELECT \"end\" FROM t; END",
        "EXPLAIN CREATE TRIGGER d AFTER INSERT ON t BEGIN SELECT 1; END",
        "CREATE TRIGGER e AFTER INSERT ON t WHEN CASE WHEN 1 THEN 1 END BEGIN SELECT 1; END",
        "CREATE TABLE end_(trigger_)",
        "CREATE TABLE \"trigger\"(x DEFAULT ';')",
        "CREATE VIEW v AS SELECT ';' AS \"BEGIN\"",
        "EXPLAIN QUERY PLAN SELECT ';'",
    ];
    let mut text = String::new();
    (0..dice.below(3)).for_each(|_| text.push_str(dice.pick(BLANKS)));
    if dice.chance(25) {
        text.push_str(dice.pick(TRIGGERS));
    } else {
        text.push_str("SELECT");
        for at in 0..1 + dice.below(5) {
            text.push_str(if at == 0 { " " } else { " || " });
            text.push_str(dice.pick(BLANKS));
            text.push_str(dice.pick(TERMS));
        }
        text.push_str(" FROM (SELECT 8 AS \"a;b\", 9 AS [c;d], 10 AS \"e;`f\", 11 AS \"end\")");
    }
    (0..dice.below(3)).for_each(|_| text.push_str(dice.pick(BLANKS)));
    text.push(';');
    text
}

#[test]
fn pieces_are_the_statements_that_sqlite_finds() {
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch("CREATE TABLE t(\"end\")").unwrap();
    let mut dice = Dice::new(3);
    let mut compared = 0;
    for seed in 0..TEXTS as u64 {
        let statements: Vec<String> = (0..1 + dice.below(5))
            .map(|_| random_statement(&mut dice))
            .collect();
        let text = statements.concat();
        let (pieces, ended) = split(text.as_bytes(), seed);
        let pieces: Vec<String> = pieces
            .into_iter()
            .map(|piece| String::from_utf8(piece).unwrap())
            .collect();
        assert!(ended, "{text}");
        assert_eq!(pieces, statements);
        let by_pieces: Vec<String> = pieces.iter().flat_map(|piece| answer(&db, piece)).collect();
        assert_eq!(by_pieces, answer(&db, &text), "{text}");
        compared += by_pieces.len();
    }
    assert!(compared > TEXTS, "only {compared} answers");
}

#[test]
fn random_bytes_are_split_the_same_way_wherever_they_are_cut() {
    const PIECES: &[&str] = &[
        "'",
        "\"",
        "`",
        "[",
        "]",
        ";",
        "-",
        "--",
        "/",
        "*",
        "/*",
        "*/",
        "\n",
        " ",
        "create",
        "temp",
        "trigger",
        "end",
        "END",
        "begin",
        "explain",
        "query plan",
        "x",
        "\0",
        "\u{fffd}",
        "ü",
        "$",
        "1",
    ];
    let mut dice = Dice::new(4);
    let mut statements = 0;
    for seed in 0..4 * TEXTS as u64 {
        let mut text = Vec::new();
        for _ in 0..dice.below(40) {
            match dice.below(10) {
                0 => text.push(dice.bits().to_le_bytes()[0]),
                _ => text.extend_from_slice(dice.pick(PIECES).as_bytes()),
            }
            if dice.chance(40) {
                text.push(b' ');
            }
        }
        let (first, second) = (split(&text, seed), split(&text, seed + 1));
        assert_eq!(first, second, "{}", text.escape_ascii());
        statements += first.0.len();
    }
    assert!(statements > TEXTS / 2, "only {statements} statements");
}

fn check(text: &[u8]) -> bool {
    let mut check = Check::default();
    text.chunks(977).for_each(|part| check.update(part));
    check.finish().is_ok()
}

#[test]
fn the_reader_refuses_every_cut_and_every_flip_of_a_dump() {
    let workshop = Workshop::new();
    let database = workshop.path("a.db");
    Connection::open(&database)
        .unwrap()
        .execute_batch(
            "CREATE TABLE t(a, b); INSERT INTO t VALUES (1, 'one'), (2, X'02'), (3, 0.3);",
        )
        .unwrap();
    let dump = fs::read(workshop.dump(&database, "a.sql").unwrap()).unwrap();
    assert!(check(&dump));
    assert!(dump.len() > 500);
    for length in 0..dump.len() {
        assert!(
            !check(&dump[..length]),
            "cut to {length} of {} bytes",
            dump.len()
        );
    }
    // How long it took is the one thing that nothing else in the dump says.
    let duration = memchr::memmem::rfind(&dump, b"-- Duration: ").unwrap() + "-- Duration: ".len();
    let told = duration..duration + memchr::memchr(b's', &dump[duration..]).unwrap();
    for at in (0..dump.len()).filter(|at| !told.contains(at)) {
        for bit in 0..8 {
            let mut flipped = dump.clone();
            flipped[at] ^= 1 << bit;
            let text = String::from_utf8_lossy(&flipped[at.saturating_sub(20)..]).into_owned();
            assert!(
                !check(&flipped),
                "bit {bit} of byte {at}: {}",
                text.escape_debug()
            );
        }
    }
    assert!(!check(&[&dump[..], b"\n"].concat()));
    assert!(!check(&[&dump[..], &dump[..]].concat()));
}
