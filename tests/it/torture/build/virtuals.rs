//! Virtual tables: full text and R-trees.

use rusqlite::{Connection, Result};

use super::{Feature, anywhere, only_sqlite};

pub(super) const FEATURES: &[Feature] = &[
    anywhere("FTS5", fts5),
    anywhere(
        "FTS5 with a porter tokenizer, prefixes and unindexed columns",
        fts5_options,
    ),
    anywhere("FTS5 with values of every class", fts5_classes),
    anywhere("FTS5 without positions or sizes", fts5_detail),
    anywhere("FTS5 over the content of a table", fts5_external),
    anywhere("FTS5 over the content of a view", fts5_view),
    anywhere("FTS5 without content", fts5_contentless),
    anywhere("FTS5 with an odd name", fts5_odd),
    anywhere("FTS5 without rows", |db| {
        db.execute_batch("CREATE VIRTUAL TABLE fts_empty USING fts5(t)")
    }),
    only_sqlite("FTS4", fts4),
    anywhere("R-tree", rtree),
    anywhere("R-tree with auxiliary columns", rtree_auxiliary),
    anywhere("R-tree of integers", rtree_integers),
];

fn fts5(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE VIRTUAL TABLE fts_plain USING fts5(title, body);
         INSERT INTO fts_plain(rowid, title, body) VALUES
            (3, 'backup', 'a backup of bats; restore it'), (-7, 'grün', 'it''s running'), (900, '', NULL),
            (901, 'deleted', 'backup'), (9007199254740993, 'restore', char(10, 13));
         DELETE FROM fts_plain WHERE title = 'deleted';
         UPDATE fts_plain SET body = 'restoring runs' WHERE rowid = 900;",
    )
}

fn fts5_options(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE VIRTUAL TABLE fts_options USING fts5(t, note UNINDEXED, prefix = '2 3', tokenize = \"porter unicode61 remove_diacritics 2\");
         INSERT INTO fts_options(rowid, t, note) VALUES (1, 'restoring backups', 'backup'), (5, 'runner running', X'0001'),
            (6, 'Grun', 7), (7, 'nothing', NULL);",
    )
}

fn fts5_classes(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE VIRTUAL TABLE fts_classes USING fts5(a, b);
         INSERT INTO fts_classes VALUES (1, 1.5), (NULL, X'6261636b7570'), ('a'||char(0)||'backup', -0.0), ('', 9e999),
            (CAST(X'ff6261' AS TEXT), 9223372036854775807);",
    )
}

fn fts5_detail(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE VIRTUAL TABLE fts_detail_none USING fts5(t, detail = none, columnsize = 0);
         INSERT INTO fts_detail_none VALUES ('backup restore'), ('run bats');
         CREATE VIRTUAL TABLE fts_detail_column USING fts5(t, u, detail = column);
         INSERT INTO fts_detail_column VALUES ('backup', 'restore'), ('x', 'backup');
         CREATE VIRTUAL TABLE fts_trigram USING fts5(t, tokenize = 'trigram');
         INSERT INTO fts_trigram VALUES ('backup'), ('bat');",
    )
}

fn fts5_external(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE VIRTUAL TABLE fts_external USING fts5(t, content = 'posts of \"fts\"', content_rowid = 'post id');
         CREATE TABLE \"posts of \"\"fts\"\"\"(\"post id\" INTEGER PRIMARY KEY, other, t TEXT);
         INSERT INTO \"posts of \"\"fts\"\"\" VALUES (7, 'x', 'a backup runs'), (2, 'backup', 'restore'), (9, 'y', NULL);
         INSERT INTO fts_external(fts_external) VALUES ('rebuild');
         CREATE TRIGGER fts_external_insert AFTER INSERT ON \"posts of \"\"fts\"\"\" BEGIN
            INSERT INTO fts_external(rowid, t) VALUES (new.\"post id\", new.t);
         END;
         CREATE TRIGGER fts_external_delete AFTER DELETE ON \"posts of \"\"fts\"\"\" BEGIN
            INSERT INTO fts_external(fts_external, rowid, t) VALUES ('delete', old.\"post id\", old.t);
         END;
         INSERT INTO \"posts of \"\"fts\"\"\" VALUES (11, 'z', 'grün restore');
         DELETE FROM \"posts of \"\"fts\"\"\" WHERE \"post id\" = 2;",
    )
}

fn fts5_view(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE fts_view_base(id INTEGER PRIMARY KEY, first TEXT, last TEXT);
         INSERT INTO fts_view_base VALUES (1, 'backup', 'runner'), (4, 'restore', 'bat');
         CREATE VIEW fts_view AS SELECT id, first || ' ' || last AS name FROM fts_view_base;
         CREATE VIRTUAL TABLE fts_over_view USING fts5(name, content = fts_view, content_rowid = id);
         INSERT INTO fts_over_view(fts_over_view) VALUES ('rebuild');",
    )
}

fn fts5_contentless(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE VIRTUAL TABLE fts_contentless USING fts5(t, content = '');
         INSERT INTO fts_contentless(rowid, t) VALUES (1, 'backup'), (2, 'restore');",
    )
}

fn fts5_odd(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE VIRTUAL TABLE \"fts 'odd' \"\"name\"\"\" USING fts5(\"a column\", [select]);
         INSERT INTO \"fts 'odd' \"\"name\"\"\"(rowid, \"a column\", [select]) VALUES (2, 'backup', 'run');
         CREATE TABLE fts_like_shadow_data(v); INSERT INTO fts_like_shadow_data VALUES ('mine, no shadow');",
    )
}

fn fts4(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE VIRTUAL TABLE fts4_plain USING fts4(title, body, tokenize=porter);
         INSERT INTO fts4_plain(docid, title, body) VALUES (3, 'backup', 'restore'), (9, 'bat', 'running');",
    )
}

fn rtree(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE VIRTUAL TABLE boxes USING rtree(id, min_x, max_x, min_y, max_y);
         INSERT INTO boxes VALUES (1, 0.1, 0.2, -0.3, 1e10), (-5, 1, 2, 3, 4), (9007199254740993, -1e30, 1e30, 0, 0);
         WITH RECURSIVE n(i) AS (VALUES (10) UNION ALL SELECT i + 1 FROM n WHERE i < 300)
         INSERT INTO boxes SELECT i, i / 7.0, i / 7.0 + 1, i % 13, i % 13 + 0.7 FROM n;",
    )
}

fn rtree_auxiliary(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE VIRTUAL TABLE labelled_boxes USING rtree(id, x0, x1, +label TEXT, +bytes BLOB, +\"any\");
         INSERT INTO labelled_boxes VALUES (1, 0, 1, 'it''s', X'00FF', 007), (2, 5, 6, NULL, NULL, 9007199254740993),
            (3, 7, 8, 'a'||char(0)||'b', 'text', 0.1);",
    )
}

fn rtree_integers(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE VIRTUAL TABLE integer_boxes USING rtree_i32(id, x0, x1);
         INSERT INTO integer_boxes VALUES (1, -2147483648, 2147483647), (2, 16777217, 16777219);",
    )
}
