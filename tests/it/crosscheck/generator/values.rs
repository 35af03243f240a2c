//! Writes values as SQL, so that a printed statement makes the same value again.

use crate::torture::Dice;

const INTEGERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "127",
    "128",
    "-129",
    "32768",
    "8388608",
    "2147483648",
    "-2147483649",
    "140737488355328",
    "9007199254740993",
    "9223372036854775807",
    "(-9223372036854775807 - 1)",
];

const REALS: &[&str] = &[
    "0.0",
    "-0.0",
    "1.0",
    "1.5",
    "0.1",
    "-0.3",
    "1e15",
    "1e16",
    "9e999",
    "-9e999",
    "5e-324",
    "2.2250738585072014e-308",
    "1.7976931348623157e308",
    "9007199254740993.0",
    "9223372036854775807.0",
    "0.30000000000000004",
];

const TEXTS: &[&str] = &[
    "",
    " ",
    "a",
    "it's",
    "''",
    "\"",
    "\n",
    "\r",
    "a\r\nb",
    "line\n/\ngo\n",
    "\\n",
    ";",
    "--",
    "/*",
    "*/",
    "🦀",
    "grün",
    "GRÜN",
    "\u{fffd}",
    "\u{feff}bom",
    "e\u{301}",
    "007",
    "1e5",
    " 1",
    "1 ",
    "+1",
    "0x10",
    "1.0",
    "9223372036854775808",
    "inf",
    "NULL",
    "X'00'",
    "BEGIN TRANSACTION",
    "COMMIT;",
    "a\n.quit\nb",
    "?1",
    "\u{202e}abc",
    "true",
    "2024-01-31T10:00:00Z",
    "{\"a\": [1, 2.0, null]}",
];

const WORDS: &[&str] = &[
    "backup",
    "backups",
    "restore",
    "restoring",
    "running",
    "runs",
    "grün",
    "GRÜN",
    "grun",
    "naïve",
    "日本語",
    "日本",
    "Straße",
    "x-ray",
    "a.b.c",
    "42",
    "it's",
    "🦀",
    "the",
    "of",
    "и",
    "Ω",
    "e\u{301}tude",
    "key=value",
    "AND",
    "near",
];

/// A value of any storage class, often an awkward one.
pub(super) fn any(dice: &mut Dice, encoding: &str) -> String {
    match dice.below(20) {
        0..3 => "NULL".to_owned(),
        3..6 => dice.pick(INTEGERS).to_owned(),
        6 => (dice.bits().cast_signed() >> dice.below(63)).to_string(),
        7..9 => dice.pick(REALS).to_owned(),
        9 => format!("{:e}", dice.double()).replace("inf", "9e999"),
        10..15 => text(dice.pick(TEXTS)),
        15 => odd_text(dice, encoding),
        16 => text(&prose_text(dice)),
        17 if dice.chance(6) => long(dice),
        _ => blob(dice),
    }
}

/// A value that a column of this type of a STRICT table takes.
pub(super) fn strict(dice: &mut Dice, encoding: &str, kind: &str) -> String {
    match kind {
        "INT" | "INTEGER" => dice.pick(INTEGERS).to_owned(),
        "REAL" => dice.pick(REALS).to_owned(),
        "TEXT" => match dice.chance(20) {
            true => odd_text(dice, encoding),
            false => text(dice.pick(TEXTS)),
        },
        "BLOB" => blob(dice),
        _ => any(dice, encoding),
    }
}

/// A string literal. A NUL cannot stand in one.
pub(super) fn text(text: &str) -> String {
    let literal = |part: &str| format!("'{}'", part.replace('\'', "''"));
    let parts: Vec<String> = text.split('\0').map(literal).collect();
    match parts.as_slice() {
        [one] => one.clone(),
        parts => format!("({})", parts.join("||char(0)||")),
    }
}

/// Words as a string literal.
pub(super) fn prose(dice: &mut Dice) -> String {
    text(&prose_text(dice))
}

fn prose_text(dice: &mut Dice) -> String {
    let words: Vec<&str> = (0..dice.below(9)).map(|_| dice.pick(WORDS)).collect();
    words.join(dice.pick(&[" ", " ", ", ", "\n"]))
}

/// Text with a NUL, or bytes that are no text in this encoding.
fn odd_text(dice: &mut Dice, encoding: &str) -> String {
    if dice.chance(40) {
        return dice
            .pick(&[
                "char(0)",
                "'a'||char(0)",
                "char(0)||'b'",
                "'a'||char(0, 0, 98)||'grün'",
                "'it''s'||char(0, 10)",
            ])
            .to_owned();
    }
    let bytes = match encoding {
        "UTF-16le" => dice.pick(&[
            "00D8", "6100FFDF", "00DC00D8", "FEFF", "FFFE6100", "61000000",
        ]),
        "UTF-16be" => dice.pick(&[
            "D800", "0061DFFF", "DC00D800", "FFFE", "FEFF0061", "00610000",
        ]),
        _ => dice.pick(&[
            "FF80",
            "61FF62",
            "C3",
            "EDA080",
            "F8888080",
            "C080",
            "EFBFBD00FF",
            "27FF27",
        ]),
    };
    format!("CAST(X'{bytes}' AS TEXT)")
}

fn blob(dice: &mut Dice) -> String {
    let bytes: String = (0..dice.below(30))
        .map(|_| format!("{:02X}", dice.bits().to_le_bytes()[0]))
        .collect();
    format!("X'{bytes}'")
}

/// Kilobytes, rarely a megabyte.
fn long(dice: &mut Dice) -> String {
    let size = if dice.chance(10) {
        1_000_000
    } else {
        1_000 + dice.below(9_000)
    };
    match dice.below(3) {
        0 => format!("zeroblob({size})"),
        1 => format!("replace(hex(zeroblob({})), '00', 'ü''')", size / 4),
        _ => format!(
            "CAST(replace(hex(zeroblob({})), '0', char(10)) AS BLOB)",
            size / 2
        ),
    }
}
