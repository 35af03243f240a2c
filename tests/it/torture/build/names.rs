//! Names that want quoting, look like something else, or take what a tool thought was free.

use rusqlite::{Connection, Result};

use super::super::random::ODD_NAMES;
use super::{Feature, anywhere, only_sqlite};

pub(super) const FEATURES: &[Feature] = &[
    anywhere("tables with odd names", odd_tables),
    anywhere("a table with odd column names", odd_columns),
    anywhere("a column with an empty name", empty_column),
    only_sqlite("a table with an empty name", empty_table),
    anywhere("a table called _patina_stage", stage),
    anywhere("tables named like an INSERT", statement_names),
    anywhere(
        "tables that differ from SQLite's in one letter",
        near_sqlite,
    ),
    anywhere("names quoted in every way", quoted_every_way),
    anywhere("a name as long as a line", long_name),
    anywhere("indexes, views and triggers with odd names", odd_others),
];

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn odd_tables(db: &Connection) -> Result<()> {
    for (at, name) in ODD_NAMES.iter().enumerate() {
        let name = quoted(&format!("t {name}"));
        db.execute_batch(&format!(
            "CREATE TABLE {name}(a, b TEXT); INSERT INTO {name} VALUES ({at}, 'x')"
        ))?;
    }
    Ok(())
}

fn odd_columns(db: &Connection) -> Result<()> {
    let columns: Vec<_> = ODD_NAMES.iter().map(|name| quoted(name)).collect();
    let values: Vec<_> = (0..columns.len()).map(|at| at.to_string()).collect();
    db.execute_batch(&format!(
        "CREATE TABLE odd_columns({}); INSERT INTO odd_columns VALUES ({})",
        columns.join(", "),
        values.join(", ")
    ))
}

fn empty_column(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE empty_column(\"\" TEXT, b); INSERT INTO empty_column VALUES ('a', 1)",
    )
}

fn empty_table(db: &Connection) -> Result<()> {
    db.execute_batch("CREATE TABLE \"\"(a); INSERT INTO \"\" VALUES (1)")
}

fn stage(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE _patina_stage(i INTEGER PRIMARY KEY, v, mine TEXT);
         INSERT INTO _patina_stage VALUES (1, X'00', 'user data'), (7, 'x', 'more');
         CREATE TABLE _PATINA_stage_2(v); INSERT INTO _PATINA_stage_2 VALUES (1);",
    )
}

fn statement_names(db: &Connection) -> Result<()> {
    for name in [
        "x'y\"z",
        "a\" VALUES('b');--",
        "INSERT INTO",
        "t; DROP TABLE integers;",
        "x','y",
    ] {
        let name = quoted(name);
        db.execute_batch(&format!(
            "CREATE TABLE {name}(a); INSERT INTO {name} VALUES ('v')"
        ))?;
    }
    Ok(())
}

fn near_sqlite(db: &Connection) -> Result<()> {
    for name in [
        "sqlitex",
        "sqlite",
        "\"sqlite-stat1\"",
        "xsqlite_stat1",
        "_cfx",
        "x_cf_y",
        "fts_x_content",
    ] {
        db.execute_batch(&format!(
            "CREATE TABLE {name}(a); INSERT INTO {name} VALUES (1)"
        ))?;
    }
    Ok(())
}

fn quoted_every_way(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE [in brackets]([a b], `c d`, 'e f', \"g h\", plain);
         INSERT INTO [in brackets] VALUES (1, 2, 3, 4, 5);
         CREATE TABLE `in backticks`(`a``b`); INSERT INTO `in backticks` VALUES (1);
         CREATE TABLE 'in quotes'('it''s'); INSERT INTO 'in quotes' VALUES (1);
         create   table\tMixedCase\n(\tA,\n\nb );
         INSERT INTO mixedcase VALUES (1, 2);",
    )
}

fn long_name(db: &Connection) -> Result<()> {
    let name = quoted(&"long name ".repeat(30));
    db.execute_batch(&format!(
        "CREATE TABLE {name}({name}); INSERT INTO {name} VALUES (1)"
    ))
}

fn odd_others(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE odd_base(a, b);
         INSERT INTO odd_base VALUES (1, 2);
         CREATE INDEX \"an \"\"index\"\"; --\" ON odd_base(a);
         CREATE VIEW \"a\nview\" AS SELECT a FROM odd_base;
         CREATE TRIGGER \"a 'trigger' /*\" AFTER INSERT ON odd_base BEGIN DELETE FROM odd_base; END;
         CREATE INDEX [select] ON odd_base(b);
         CREATE VIEW \"table\" AS SELECT 1 AS \"from\";",
    )
}
