//! Foreign keys, in every order that makes a restore stumble.

use super::{Feature, anywhere, only_sqlite};

pub(super) const FEATURES: &[Feature] = &[
    anywhere("a child created and sorted before its parent", |db| {
        db.execute_batch(
            "CREATE TABLE aaa_child(id INTEGER PRIMARY KEY, parent REFERENCES zzz_parent ON DELETE CASCADE);
             CREATE TABLE zzz_parent(id INTEGER PRIMARY KEY, name TEXT);
             INSERT INTO zzz_parent VALUES (1, 'a'), (2, 'b');
             INSERT INTO aaa_child VALUES (10, 2), (11, 1), (12, NULL);",
        )
    }),
    anywhere("three generations created youngest first", |db| {
        db.execute_batch(
            "CREATE TABLE g_a_grandchild(c REFERENCES g_b_child(id) ON DELETE RESTRICT);
             CREATE TABLE g_b_child(id INTEGER PRIMARY KEY, p REFERENCES \"G_C_Parent\"(id) ON DELETE SET NULL);
             CREATE TABLE g_c_parent(id INTEGER PRIMARY KEY);
             INSERT INTO g_c_parent VALUES (1);
             INSERT INTO g_b_child VALUES (2, 1);
             INSERT INTO g_a_grandchild VALUES (2), (NULL);",
        )
    }),
    anywhere("a table that refers to itself, forwards too", |db| {
        db.execute_batch(
            "CREATE TABLE self_reference(id INTEGER PRIMARY KEY, up INTEGER REFERENCES self_reference(id));
             INSERT INTO self_reference VALUES (1, 3), (2, NULL), (3, 2), (4, 4);",
        )
    }),
    anywhere("two tables that refer to each other", |db| {
        db.execute_batch(
            "CREATE TABLE cycle_left(id INTEGER PRIMARY KEY, other NOT NULL REFERENCES cycle_right(id));
             CREATE TABLE cycle_right(id INTEGER PRIMARY KEY, other NOT NULL REFERENCES cycle_left(id));
             INSERT INTO cycle_left VALUES (1, 10), (2, 20);
             INSERT INTO cycle_right VALUES (10, 2), (20, 1);",
        )
    }),
    anywhere("a composite key", |db| {
        db.execute_batch(
            "CREATE TABLE composite_child(x TEXT, y, FOREIGN KEY (x, y) REFERENCES composite_parent(b, a) ON UPDATE CASCADE);
             CREATE TABLE composite_parent(a, b TEXT COLLATE NOCASE, UNIQUE (b, a));
             INSERT INTO composite_parent VALUES (1, 'one'), (2, 'two');
             INSERT INTO composite_child VALUES ('one', 1), ('TWO', 2), (NULL, 5), ('x', NULL);",
        )
    }),
    anywhere("deferred keys", |db| {
        db.execute_batch(
            "CREATE TABLE deferred_child(p REFERENCES deferred_parent(id) DEFERRABLE INITIALLY DEFERRED);
             CREATE TABLE deferred_parent(id TEXT PRIMARY KEY) WITHOUT ROWID;
             INSERT INTO deferred_parent VALUES ('a');
             INSERT INTO deferred_child VALUES ('a'), (NULL);",
        )
    }),
    anywhere("a parent key made unique by an index alone", |db| {
        db.execute_batch(
            "CREATE TABLE by_index_parent(code TEXT, name TEXT);
             CREATE UNIQUE INDEX by_index_code ON by_index_parent(code);
             CREATE TABLE by_index_child(code TEXT REFERENCES by_index_parent(code));
             INSERT INTO by_index_parent VALUES ('de', 'Germany'), ('fr', 'France');
             INSERT INTO by_index_child VALUES ('fr'), ('de'), (NULL);",
        )
    }),
    anywhere(
        "children that SET DEFAULT or CASCADE when a parent goes",
        |db| {
            db.execute_batch(
                "CREATE TABLE actions_parent(id INTEGER PRIMARY KEY);
             CREATE TABLE actions_child(a DEFAULT 1 REFERENCES actions_parent ON DELETE SET DEFAULT,
                b REFERENCES actions_parent ON DELETE CASCADE ON UPDATE NO ACTION MATCH FULL);
             INSERT INTO actions_parent VALUES (1), (2);
             INSERT INTO actions_child VALUES (1, 2), (2, 1), (2, NULL);",
            )
        },
    ),
    only_sqlite("rows that violate a key", |db| {
        db.execute_batch(
            "CREATE TABLE violator(id INTEGER PRIMARY KEY, p REFERENCES violated(id));
             CREATE TABLE violated(id INTEGER PRIMARY KEY);
             INSERT INTO violated VALUES (1);
             INSERT INTO violator VALUES (1, 1), (2, 99), (3, 'x'), (4, NULL);",
        )
    }),
    only_sqlite("a key to a table that does not exist", |db| {
        db.execute_batch(
            "CREATE TABLE orphan(p REFERENCES no_such_table(id)); INSERT INTO orphan VALUES (1), (NULL);",
        )
    }),
];
