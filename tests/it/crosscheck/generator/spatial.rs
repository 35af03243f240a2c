//! R-trees of every kind.

use super::Build;

/// An R-tree of one to five dimensions, with additional columns or without.
pub(super) fn rtree(build: &mut Build) {
    let table = build.name();
    let module = build.dice.pick(&["rtree", "rtree", "rtree_i32", "RTREE"]);
    let dimensions = 1 + build.dice.below(3);
    let mut columns = vec![build.dice.pick(&["id", "\"the id\"", "rowid"]).to_owned()];
    for at in 0..dimensions {
        columns.push(format!("min{at}"));
        columns.push(format!("\"max {at}\""));
    }
    let additional = match build.dice.chance(40) {
        true => build.dice.pick(&[
            &["+label TEXT"][..],
            &["+\"any\"", "+bytes BLOB"],
            &["+a0", "+b INTEGER", "+c REAL"],
        ]),
        false => &[],
    };
    columns.extend(additional.iter().map(|column| (*column).to_owned()));
    let sql = format!(
        "CREATE VIRTUAL TABLE {table} USING {module}({})",
        columns.join(", ")
    );
    if !build.attempt(&sql) {
        columns[0] = "id".to_owned();
        build.attempt(&format!(
            "CREATE VIRTUAL TABLE {table} USING {module}({})",
            columns.join(", ")
        ));
    }
    let count = match build.dice.below(8) {
        0 => 0,
        1 => 120,
        _ => build.dice.below(10),
    };
    for row in 0..count {
        let id = match row {
            0 => build
                .dice
                .pick(&["NULL", "-5", "9007199254740993", "0"])
                .to_owned(),
            _ => (row * 3).to_string(),
        };
        let mut values = vec![id];
        for _ in 0..dimensions {
            let low = build.dice.pick(&[
                "0.1",
                "-0.3",
                "-1e30",
                "16777217",
                "-2147483648",
                "0",
                "7.0",
            ]);
            values.push(low.to_owned());
            values.push(format!("({low}) + {}", build.dice.below(1000)));
        }
        values.extend(additional.iter().map(|_| build.value()));
        build.attempt(&format!(
            "INSERT INTO {table} VALUES ({})",
            values.join(", ")
        ));
    }
    if build.dice.chance(30) {
        build.attempt(&format!("DELETE FROM {table} WHERE {} > 9", columns[0]));
    }
    if build.dice.chance(15) {
        let name = build.name();
        build.attempt(&format!("ALTER TABLE {table} RENAME TO {name}"));
    }
}
