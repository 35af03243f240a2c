//! What ANALYZE finds, and statistics that somebody wrote by hand.

use super::{Build, tables};

/// Has everything analyzed at the end, sometimes with changes by hand.
pub(super) fn analyzed(build: &mut Build) {
    tables::plain(build);
    build.late.push("ANALYZE".to_owned());
    if build.is_plain {
        // Few builds of SQLite make it, and SQL for the stock shell cannot fill it.
        build.late.push("DROP TABLE sqlite_stat4".to_owned());
    }
    let change = build.dice.pick(&[
        "",
        "",
        "UPDATE sqlite_stat1 SET stat = '1000000 1 unordered'",
        "UPDATE sqlite_stat1 SET stat = NULL",
        "UPDATE sqlite_stat1 SET stat = 5, idx = NULL",
        "INSERT INTO sqlite_stat1 VALUES ('gone', 'gone_index', '5 1')",
        "INSERT INTO sqlite_stat1 VALUES (NULL, NULL, NULL), ('x', 3, 2.5), (X'00', 'y', X'0102')",
        "INSERT INTO sqlite_stat1 SELECT * FROM sqlite_stat1",
        "DELETE FROM sqlite_stat1",
        "DELETE FROM sqlite_stat4",
        "UPDATE sqlite_stat4 SET sample = X'0301'",
        "INSERT INTO sqlite_stat4 VALUES ('gone', 'gone_index', '1', '0', '0', X'0209')",
        "DROP TABLE sqlite_stat4",
        "DROP TABLE sqlite_stat1",
    ]);
    if !change.is_empty() {
        build.late.push(change.to_owned());
    }
}
