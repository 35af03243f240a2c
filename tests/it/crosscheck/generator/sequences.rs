//! Tables that count with AUTOINCREMENT, and a `sqlite_sequence` that somebody changed.

use super::{Build, values};

/// One or two counting tables whose numbers are of any kind.
pub(super) fn odd(build: &mut Build) {
    for _ in 0..1 + build.dice.below(2) {
        let name = build.bare_name();
        let (name, table) = (values::text(&name), super::quoted(&name));
        build.run(&format!(
            "CREATE TABLE {table}(id INTEGER PRIMARY KEY AUTOINCREMENT, v)"
        ));
        for at in 0..build.dice.below(4) {
            build.run(&format!("INSERT INTO {table}(v) VALUES ({at})"));
        }
        let change = build.dice.pick(&[
            "",
            "UPDATE sqlite_sequence SET seq = 'text' WHERE name = {}",
            "UPDATE sqlite_sequence SET seq = 2.5 WHERE name = {}",
            "UPDATE sqlite_sequence SET seq = 7.0 WHERE name = {}",
            "UPDATE sqlite_sequence SET seq = NULL WHERE name = {}",
            "UPDATE sqlite_sequence SET seq = X'05' WHERE name = {}",
            "UPDATE sqlite_sequence SET seq = 9223372036854775807 WHERE name = {}",
            "UPDATE sqlite_sequence SET seq = -3 WHERE name = {}",
            "UPDATE sqlite_sequence SET seq = 1000 WHERE name = {}",
            "DELETE FROM sqlite_sequence WHERE name = {}",
            "INSERT INTO sqlite_sequence VALUES ({}, 77)",
            "INSERT INTO sqlite_sequence VALUES ({}, 5), ({}, 3)",
            "INSERT INTO sqlite_sequence VALUES ('a table that is gone', 12)",
            "INSERT INTO sqlite_sequence VALUES (NULL, 1), (3, 4), (X'00', 'x')",
            "UPDATE sqlite_sequence SET name = upper(name) WHERE name = {}",
        ]);
        if !change.is_empty() {
            build.late.push(change.replace("{}", &name));
        }
    }
    if build.dice.chance(10) {
        // The table of numbers stays when no table counts any more.
        build.attempt("CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT)");
        build.attempt("DROP TABLE counted");
    }
}
