//! Values of every storage class, above all those that text formats lose.

use rusqlite::types::Value;
use rusqlite::{Connection, Result, params};

use super::super::dice::Dice;
use super::{Feature, anywhere, heavy, only_sqlite};

const RANDOM_DOUBLES: usize = 5_000;
const MEGABYTE: usize = 1_000_000;

pub(super) const FEATURES: &[Feature] = &[
    anywhere("integers at the edge of 64 and of 53 bits", integers),
    anywhere("reals that text formats round", reals),
    anywhere("random doubles", random_doubles),
    anywhere("infinities", infinities),
    anywhere("minus zero", minus_zero),
    anywhere("reals with integral values", integral_reals),
    anywhere("null, empty text and empty blob", empties),
    anywhere("text with newlines and their escapes", newlines),
    anywhere("text with NUL", nuls),
    anywhere("text that is not UTF-8", invalid_utf8),
    anywhere("text beyond ASCII", unicode),
    anywhere("text with quotes", quotes),
    anywhere("text that looks like SQL or shell commands", commands),
    anywhere("text that looks like numbers", numeric_text),
    anywhere("text of every control character", control_characters),
    anywhere("blobs of every byte", blobs),
    anywhere("blobs and text in columns of other types", crossed_types),
    anywhere("values around the limit of one statement", statement_limit),
    heavy("text of 1 MB", long_text),
    heavy("text of 1 MB with NULs", long_text_with_nuls),
    heavy("blob of 1 MB", long_blob),
    only_sqlite("blob of 3 MB", longer_blob),
    heavy("row of 40 columns of 10 kB", wide_row),
    heavy("large values under CHECK and UNIQUE", large_checked),
    heavy(
        "rows that together pass a statement's limit",
        many_middle_rows,
    ),
];

/// Puts values into an untyped column of a table of their own.
fn untyped(db: &Connection, table: &str, values: impl IntoIterator<Item = Value>) -> Result<()> {
    db.execute_batch(&format!("CREATE TABLE {table}(id INTEGER PRIMARY KEY, v)"))?;
    let mut insert = db.prepare(&format!("INSERT INTO {table}(v) VALUES (?1)"))?;
    for value in values {
        insert.execute([value])?;
    }
    Ok(())
}

fn texts(db: &Connection, table: &str, values: &[&str]) -> Result<()> {
    untyped(
        db,
        table,
        values.iter().map(|text| Value::from((*text).to_owned())),
    )
}

fn integers(db: &Connection) -> Result<()> {
    let two_53 = 1_i64 << 53;
    let values = [
        i64::MIN,
        i64::MIN + 1,
        -two_53 - 1,
        -two_53,
        i64::from(i32::MIN) - 1,
        -1,
        0,
        1,
        i64::from(u32::MAX) + 1,
        two_53 - 1,
        two_53,
        9_007_199_254_740_993,
        i64::MAX - 1,
        i64::MAX,
    ];
    untyped(db, "integers", values.map(Value::Integer))
}

fn reals(db: &Connection) -> Result<()> {
    let values = [
        f64::from_bits(1),
        -f64::from_bits(1),
        f64::MIN_POSITIVE,
        f64::from_bits(f64::MIN_POSITIVE.to_bits() - 1),
        f64::MAX,
        f64::MIN,
        0.1,
        0.1 + 0.2,
        1.0 / 3.0,
        1e-300,
        1e-290,
        1e300,
        123_456_789_012_345_678.0,
        9_007_199_254_740_993.0,
        9_223_372_036_854_775_807.0,
        -9_223_372_036_854_775_808.0,
        1.797_693_134_862_315_7e308,
        5e-324,
        2.225_073_858_507_201_4e-308,
        2.225_073_858_507_201e-308,
        f64::EPSILON,
        1.0 + f64::EPSILON,
        1e15,
        1e16,
        1e21,
        1e22,
        1e23,
        8.5e-5,
        std::f64::consts::PI,
    ];
    untyped(db, "reals", values.map(Value::Real))?;
    db.execute_batch("CREATE TABLE typed_reals(r REAL, n NUMERIC); INSERT INTO typed_reals SELECT v, v FROM reals")
}

fn random_doubles(db: &Connection) -> Result<()> {
    let mut dice = Dice::new(20_261_123);
    untyped(
        db,
        "random_doubles",
        (0..RANDOM_DOUBLES).map(|_| Value::Real(dice.double())),
    )?;
    // Magnitudes as people store them, with all 53 bits used.
    db.execute_batch("CREATE TABLE usual_doubles(r REAL)")?;
    let mut insert = db.prepare("INSERT INTO usual_doubles VALUES (?1)")?;
    for _ in 0..RANDOM_DOUBLES {
        let exponent = 1023 - 40 + dice.bits() % 80;
        let bits = (dice.bits() & 0x800f_ffff_ffff_ffff) | (exponent << 52);
        insert.execute([f64::from_bits(bits)])?;
    }
    Ok(())
}

fn infinities(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE infinities(r REAL, n NUMERIC, v);
         INSERT INTO infinities VALUES (9e999, 9e999, 9e999), (-9e999, -9e999, -9e999);",
    )
}

fn minus_zero(db: &Connection) -> Result<()> {
    untyped(db, "zeros", [-0.0, 0.0].map(Value::Real))?;
    db.execute_batch("CREATE TABLE typed_zeros(r REAL, n NUMERIC, i INTEGER); INSERT INTO typed_zeros SELECT v, v, v FROM zeros")
}

fn integral_reals(db: &Connection) -> Result<()> {
    untyped(
        db,
        "integral_reals",
        [3.0, -3.0, 1e3, 4_294_967_296.0].map(Value::Real),
    )?;
    db.execute_batch(
        "CREATE TABLE typed_integral(i INTEGER, n NUMERIC, r REAL, t TEXT, b BLOB);
         INSERT INTO typed_integral VALUES (3.0, 3.0, 3, 3.0, 3.0), (3.5, 3.5, 3.5, 3.5, 3.5);",
    )
}

fn empties(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE empties(v, t TEXT, i INTEGER, b BLOB);
         INSERT INTO empties VALUES (NULL, NULL, NULL, NULL), ('', '', '', ''), (X'', X'', X'', X''), (0, 0, 0, 0);",
    )
}

fn newlines(db: &Connection) -> Result<()> {
    let values = [
        "\n",
        "\r",
        "\r\n",
        "\n\r",
        "\\n",
        "\\n and\na real one",
        "\\r\\n\r\n",
        "char(10)",
        "a\n",
        "\nb",
        "line;\nline;\n",
        "\n\n\n",
        "a\u{2028}b\u{85}c",
    ];
    texts(db, "newlines", &values)
}

fn nuls(db: &Connection) -> Result<()> {
    texts(
        db,
        "nuls",
        &[
            "\0",
            "a\0",
            "\0b",
            "a\0b",
            "a\0\0b\0",
            "a'\0'b",
            "a\0\nb",
            "grün\0🦀",
        ],
    )?;
    db.execute_batch(
        "CREATE TABLE nul_keys(k TEXT PRIMARY KEY, v) WITHOUT ROWID;
         INSERT INTO nul_keys VALUES ('a', 1), ('a'||char(0), 2), ('a'||char(0)||'b', 3);",
    )
}

fn invalid_utf8(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE invalid_utf8(t TEXT);
         INSERT INTO invalid_utf8 VALUES (CAST(X'ff80' AS TEXT)), (CAST(X'61ff62' AS TEXT)), (CAST(X'c3' AS TEXT)),
            (CAST(X'eda080' AS TEXT)), (CAST(X'f8888080' AS TEXT)), (CAST(X'c080' AS TEXT)), (char(65533)),
            (CAST(X'efbfbd00ff' AS TEXT)), (CAST(X'27ff27' AS TEXT));",
    )
}

fn unicode(db: &Connection) -> Result<()> {
    let values = [
        "🦀",
        "👩‍👩‍👧‍👦",
        "e\u{301}",
        "é",
        "שלום",
        "مرحبا",
        "\u{202e}abc",
        "日本語",
        "\u{feff}bom",
        "\u{fffd}",
        "\u{10ffff}",
        "\u{fffe}\u{ffff}",
        "ß",
        "İ",
        "𝕊",
        "\u{200b}",
        "\u{ad}",
    ];
    texts(db, "unicode", &values)
}

fn quotes(db: &Connection) -> Result<()> {
    let values = [
        "'",
        "''",
        "'''",
        "\"",
        "`",
        "it's",
        "\\",
        "\\'",
        "'\\",
        "');--",
        "','",
        "'),('",
        "';",
        "$1",
        "?1",
        ":a",
        "@a",
        "%s",
        "{}",
        "a''b\"c`d[e]",
    ];
    texts(db, "quotes", &values)
}

fn commands(db: &Connection) -> Result<()> {
    let values = [
        "BEGIN TRANSACTION",
        "BEGIN TRANSACTION;",
        "COMMIT;",
        "\nCOMMIT;\n",
        "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nROLLBACK;\nCOMMIT;",
        "begin transaction;",
        ".quit",
        "a\n.quit\nb",
        "a\n.exit 3",
        "a\n#comment\n/\nGO\n",
        "-- comment",
        "a\n-- comment\nb",
        "a\n/* open\nb",
        "*/",
        "a;\nb;\n",
        ";\n;",
        "\n;",
        "SELECT 1;",
        "END;",
        "-- Backup Complete",
        "a\n-- ================================================\n-- Backup Complete\n-- Total Rows: 0\n",
        "a\n-- Table: commands\n-- Rows: 0\nINSERT INTO x VALUES\n('a'),\n",
        "NULL",
        "X'00'",
        "CAST(X'00' AS TEXT)",
        "_patina_stage",
    ];
    texts(db, "commands", &values)
}

fn numeric_text(db: &Connection) -> Result<()> {
    let values = [
        "1e5",
        "007",
        " 1",
        "1 ",
        "+1",
        "-0",
        "0x10",
        "1.0",
        "1.",
        ".5",
        "9223372036854775808",
        "inf",
        "nan",
        "1_000",
        "9e999",
        "true",
    ];
    texts(db, "numeric_untyped", &values)?;
    db.execute_batch(
        "CREATE TABLE numeric_typed(t TEXT, v BLOB, n NUMERIC, i INTEGER, r REAL, a VARCHAR(10));
         INSERT INTO numeric_typed SELECT v, v, v, v, v, v FROM numeric_untyped;",
    )
}

fn control_characters(db: &Connection) -> Result<()> {
    let values = (1_u8..32)
        .chain([127])
        .map(|byte| Value::from(format!("a{}b", char::from(byte))));
    untyped(db, "controls", values)
}

fn blobs(db: &Connection) -> Result<()> {
    let values = [
        vec![0],
        vec![0; 16],
        (0..=255).collect(),
        b"text".to_vec(),
        b"'\n;".to_vec(),
    ];
    untyped(db, "blobs", values.map(Value::Blob))
}

fn crossed_types(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE crossed(i INTEGER, r REAL, t TEXT, n NUMERIC, b BLOB, d DATE, o BOOLEAN, x \"odd type\"(3, 4));
         INSERT INTO crossed VALUES (X'01', X'02', X'03', X'04', X'05', X'06', X'07', X'08'),
            ('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'), (1, 2, 3, 4, 5, 6, 7, 8),
            (1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5);",
    )
}

/// One value of `size` bytes that no run-length trick shortens.
fn long(size: usize, seed: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let chunks = std::iter::repeat_with(|| dice.bits().to_le_bytes());
    chunks.flatten().take(size).collect()
}

fn long_ascii(size: usize, seed: u64) -> String {
    long(size, seed)
        .into_iter()
        .map(|byte| char::from(b' ' + byte % 95))
        .collect()
}

fn statement_limit(db: &Connection) -> Result<()> {
    db.execute_batch("CREATE TABLE around_limit(id INTEGER PRIMARY KEY, t TEXT, b BLOB)")?;
    let mut insert = db.prepare("INSERT INTO around_limit(t, b) VALUES (?1, ?2)")?;
    for size in [
        20_000, 40_000, 44_000, 44_950, 45_000, 89_900, 90_000, 90_001, 99_990, 100_001,
    ] {
        insert.execute(params!["x".repeat(size), None::<Vec<u8>>])?;
        insert.execute(params![None::<String>, long(size / 2, 1)])?;
        insert.execute(params!["'".repeat(size / 2), None::<Vec<u8>>])?;
        insert.execute(params!["\r".repeat(size / 2), None::<Vec<u8>>])?;
        insert.execute(params!["ü".repeat(size / 2), None::<Vec<u8>>])?;
    }
    Ok(())
}

fn long_text(db: &Connection) -> Result<()> {
    texts(
        db,
        "long_text",
        &[
            "before",
            &long_ascii(MEGABYTE, 2),
            &"🦀\n".repeat(MEGABYTE / 5),
            "after",
        ],
    )
}

fn long_text_with_nuls(db: &Connection) -> Result<()> {
    texts(db, "long_nuls", &[&"ab\0".repeat(MEGABYTE / 3)])
}

fn long_blob(db: &Connection) -> Result<()> {
    untyped(db, "long_blob", [Value::Blob(long(MEGABYTE, 3))])
}

fn longer_blob(db: &Connection) -> Result<()> {
    untyped(db, "longer_blob", [Value::Blob(long(3 * MEGABYTE, 4))])
}

fn wide_row(db: &Connection) -> Result<()> {
    let columns: Vec<_> = (0..40).map(|at| format!("c{at}")).collect();
    let marks = vec!["?"; columns.len()].join(",");
    db.execute_batch(&format!("CREATE TABLE wide_row({})", columns.join(",")))?;
    let mut insert = db.prepare(&format!("INSERT INTO wide_row VALUES ({marks})"))?;
    for row in 0..3 {
        let values = (0..40).map(|at| match at % 3 {
            0 => Value::Blob(long(10_000, row * 40 + at)),
            1 => Value::Text(long_ascii(10_000, row * 40 + at)),
            _ => Value::Text("\r'\0".repeat(3_333)),
        });
        insert.execute(rusqlite::params_from_iter(values))?;
    }
    Ok(())
}

fn large_checked(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE large_checked(j TEXT NOT NULL UNIQUE CHECK (json_valid(j) AND length(j) > 10));
         CREATE TABLE large_key(k TEXT PRIMARY KEY, b BLOB NOT NULL CHECK (length(b) = 150000)) WITHOUT ROWID;",
    )?;
    for seed in [5, 6] {
        let json = format!("[\"{}\"]", hex::encode(long(100_000, seed)));
        db.execute("INSERT INTO large_checked VALUES (?1)", [json])?;
        let key = format!("{seed}{}", "k".repeat(120_000));
        db.execute(
            "INSERT INTO large_key VALUES (?1, ?2)",
            params![key, long(150_000, seed)],
        )?;
    }
    Ok(())
}

fn many_middle_rows(db: &Connection) -> Result<()> {
    let values = (0..200).map(|seed| Value::Text(long_ascii(2_999, seed)));
    untyped(db, "middle_rows", values)
}
