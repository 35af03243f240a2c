//! Programs that keep records in ordinary tables: keys, indexes, triggers, settings.

use super::Program;

pub(super) const PASSWORD_MANAGER: Program = Program {
    name: "password manager",
    settings: "PRAGMA journal_mode=WAL",
    build: |db| {
        db.execute_batch(
            "CREATE TABLE schema_migrations(version VARCHAR(50) PRIMARY KEY NOT NULL, run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);
             CREATE TABLE accounts(
               uuid       TEXT NOT NULL PRIMARY KEY,
               created_at DATETIME NOT NULL,
               email      TEXT NOT NULL UNIQUE,
               name       TEXT NOT NULL,
               kdf_rounds INTEGER NOT NULL DEFAULT 600000,
               salt       BLOB NOT NULL,
               password   BLOB NOT NULL,
               enabled    BOOLEAN NOT NULL DEFAULT 1,
               stamp      TEXT
             );
             CREATE TABLE folders(uuid TEXT NOT NULL PRIMARY KEY, account TEXT NOT NULL REFERENCES accounts(uuid), name TEXT NOT NULL);
             CREATE TABLE vault_items(
               uuid     TEXT NOT NULL PRIMARY KEY,
               account  TEXT REFERENCES accounts (uuid),
               kind     INTEGER NOT NULL CHECK (kind BETWEEN 1 AND 5),
               name     TEXT NOT NULL,
               fields   TEXT CHECK (fields IS NULL OR json_valid(fields)),
               data     BLOB NOT NULL,
               deleted_at DATETIME
             );
             CREATE TABLE folders_items(
               item   TEXT NOT NULL REFERENCES vault_items(uuid) ON DELETE CASCADE,
               folder TEXT NOT NULL REFERENCES folders(uuid),
               PRIMARY KEY (item, folder)
             );
             CREATE TABLE attachments(id TEXT NOT NULL PRIMARY KEY, item TEXT NOT NULL REFERENCES vault_items(uuid), size INTEGER NOT NULL, key TEXT);
             CREATE TABLE two_factor_incomplete(account TEXT NOT NULL, device TEXT NOT NULL, at DATETIME, PRIMARY KEY (account, device)) WITHOUT ROWID;
             CREATE INDEX items_by_account ON vault_items(account, deleted_at) WHERE deleted_at IS NULL;
             INSERT INTO schema_migrations VALUES ('20180114171611', '2024-01-01 10:00:00'), ('20240112210182', '2024-05-05 05:05:05');
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 12)
             INSERT INTO accounts SELECT printf('%08x-0000-4000-8000-%012x', i, i * 7), '2024-02-0' || (i % 9 + 1) || ' 08:00:00.123456',
               'user' || i || '@example.org', 'Jürgen ''' || i || '''', 600000, zeroblob(64), X'00FF10', i % 3 > 0, NULL FROM n;
             INSERT INTO folders SELECT 'f' || rowid, uuid, '2.' || hex(uuid) || '==' FROM accounts;
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 400)
             INSERT INTO vault_items SELECT printf('%032x', i * 104729), (SELECT uuid FROM accounts WHERE rowid = i % 12 + 1), i % 5 + 1,
               'item ' || i, CASE WHEN i % 4 THEN json_object('n', i, 'v', 'a' || char(10) || 'b') END, CAST('data ' || i AS BLOB),
               CASE WHEN i % 10 = 0 THEN '2024-03-01T00:00:00Z' END FROM n;
             INSERT INTO folders_items SELECT uuid, 'f' || (rowid % 12 + 1) FROM vault_items WHERE rowid % 2;
             INSERT INTO attachments SELECT 'a' || rowid, uuid, rowid * 1000000007, NULL FROM vault_items WHERE rowid % 50 = 0;
             INSERT INTO two_factor_incomplete VALUES ('x', 'y', NULL), ('x', 'Y', '2024-01-01');
             DELETE FROM vault_items WHERE rowid % 97 = 5;",
        )
    },
    needs_program: false,
    question: "SELECT count(*) FROM vault_items JOIN folders_items ON item = uuid WHERE deleted_at IS NULL",
    answer: 197,
};

pub(super) const RECORDER: Program = Program {
    name: "home automation recorder",
    settings: "PRAGMA journal_mode=WAL",
    build: |db| {
        db.execute_batch(
            "CREATE TABLE event_types(event_type_id INTEGER NOT NULL, event_type VARCHAR(64), PRIMARY KEY (event_type_id));
             CREATE TABLE states_meta(metadata_id INTEGER NOT NULL, entity_id VARCHAR(255), PRIMARY KEY (metadata_id));
             CREATE TABLE state_attributes(attributes_id INTEGER NOT NULL, hash BIGINT, shared_attrs TEXT, PRIMARY KEY (attributes_id));
             CREATE TABLE states(
               state_id INTEGER NOT NULL, entity_id CHAR(0), state VARCHAR(255), attributes CHAR(0), last_updated_ts FLOAT,
               old_state_id INTEGER, attributes_id INTEGER, context_id_bin BLOB, metadata_id INTEGER,
               PRIMARY KEY (state_id),
               FOREIGN KEY(old_state_id) REFERENCES states (state_id),
               FOREIGN KEY(attributes_id) REFERENCES state_attributes (attributes_id),
               FOREIGN KEY(metadata_id) REFERENCES states_meta (metadata_id)
             );
             CREATE TABLE statistics(id INTEGER NOT NULL, created_ts FLOAT, metadata_id INTEGER, start_ts FLOAT, mean FLOAT, min FLOAT, max FLOAT, sum FLOAT, PRIMARY KEY (id));
             CREATE TABLE recorder_runs(run_id INTEGER NOT NULL, start DATETIME NOT NULL, \"end\" DATETIME, closed_incorrect BOOLEAN NOT NULL, PRIMARY KEY (run_id));
             CREATE UNIQUE INDEX ix_states_meta_entity_id ON states_meta (entity_id);
             CREATE INDEX ix_states_metadata_id_last_updated_ts ON states (metadata_id, last_updated_ts);
             CREATE INDEX ix_states_context_id_bin ON states (context_id_bin);
             CREATE UNIQUE INDEX ix_statistics_statistic_id_start_ts ON statistics (metadata_id, start_ts);
             CREATE INDEX ix_recorder_runs_start_end ON recorder_runs (start, \"end\");
             INSERT INTO event_types VALUES (1, 'state_changed'), (2, 'call_service');
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 20)
             INSERT INTO states_meta SELECT i, 'sensor.room_' || i FROM n;
             INSERT INTO state_attributes VALUES (1, -3141592653589793238, '{\"unit_of_measurement\":\"°C\"}'), (2, 4000000000, '{}');
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
             INSERT INTO states SELECT i + 5000000, NULL, CASE WHEN i % 50 THEN (i % 300) / 10.0 ELSE 'unavailable' END, NULL,
               1700000000.123456 + i * 0.25, nullif(i + 4999999, 5000000), i % 2 + 1, CAST(printf('%016d', i) AS BLOB), i % 20 + 1 FROM n;
             INSERT INTO statistics SELECT state_id - 5000000, last_updated_ts, metadata_id, last_updated_ts, state, state - 0.1, state + 1e-9, state * 3
               FROM states WHERE state <> 'unavailable';
             INSERT INTO recorder_runs VALUES (1, '2024-01-01 00:00:00.000000', NULL, 1), (2, '2024-02-01 00:00:00.5', '2024-02-02', 0);
             DELETE FROM states WHERE state_id % 7 = 0;
             ANALYZE;
             DROP TABLE sqlite_stat4;",
        )
    },
    needs_program: false,
    question: "SELECT count(*) FROM states JOIN states_meta USING (metadata_id) WHERE typeof(state) = 'text'",
    answer: 2571,
};

pub(super) const GIT_FORGE: Program = Program {
    name: "git forge",
    settings: "PRAGMA user_version=305",
    build: |db| {
        db.execute_batch(
            "CREATE TABLE IF NOT EXISTS `user` (`id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, `lower_name` TEXT NOT NULL, `name` TEXT NOT NULL, `is_admin` INTEGER NULL, `created_unix` INTEGER NULL);
             CREATE UNIQUE INDEX `UQE_user_lower_name` ON `user` (`lower_name`);
             CREATE TABLE IF NOT EXISTS `repository` (`id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, `owner_id` INTEGER NULL, `lower_name` TEXT NOT NULL, `default_branch` TEXT NULL, `size` INTEGER DEFAULT 0 NOT NULL, `topics` TEXT NULL, `num_open` INTEGER AS (`size` % 10) VIRTUAL);
             CREATE UNIQUE INDEX `UQE_repository_s` ON `repository` (`owner_id`, `lower_name`);
             CREATE TABLE IF NOT EXISTS `issue` (`id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, `repo_id` INTEGER NULL, `index` INTEGER NULL, `name` TEXT NULL, `content` TEXT NULL, `is_closed` INTEGER NULL);
             CREATE UNIQUE INDEX `UQE_issue_repo_index` ON `issue` (`repo_id`,`index`);
             CREATE TABLE IF NOT EXISTS `comment` (`id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, `issue_id` INTEGER NULL, `content` TEXT NULL, `patch` TEXT NULL);
             CREATE INDEX `IDX_comment_issue_id` ON `comment` (`issue_id`);
             CREATE TABLE IF NOT EXISTS `lfs_meta_object` (`oid` TEXT NOT NULL, `repository_id` INTEGER NOT NULL, `size` INTEGER, UNIQUE (`oid`, `repository_id`));
             CREATE TABLE IF NOT EXISTS `session` (`key` TEXT PRIMARY KEY NOT NULL, `data` BLOB NULL, `expiry` INTEGER NULL);
             CREATE TABLE IF NOT EXISTS `two_tables` (`order` TEXT, `group` TEXT, PRIMARY KEY (`order`, `group`));
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 30)
             INSERT INTO `user`(`lower_name`, `name`, `is_admin`, `created_unix`) SELECT 'user' || i, 'User' || i, i = 1, 1600000000 + i FROM n;
             INSERT INTO `repository`(`owner_id`, `lower_name`, `default_branch`, `size`, `topics`) SELECT `id`, 'repo-' || `id`, 'main', `id` * 1024, 'null' FROM `user`;
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 600)
             INSERT INTO `issue`(`repo_id`, `index`, `name`, `content`, `is_closed`) SELECT i % 30 + 1, i, 'Issue; ' || i, 'It''s -- a `bug`' || char(13, 10) || '```sql' || char(10) || 'COMMIT;' || char(10) || '```', i % 2 FROM n;
             INSERT INTO `comment`(`issue_id`, `content`, `patch`) SELECT `id`, '🎉 ' || `name`, '@@ -1 +1 @@' || char(10) || '-a' || char(10) || '+b' FROM `issue` WHERE `id` % 3 = 0;
             INSERT INTO `lfs_meta_object` SELECT hex(`name`), `repo_id`, `id` * 4294967296 FROM `issue` WHERE `id` < 20;
             INSERT INTO `session` VALUES ('abc', X'0F7F04', 1700000000);
             INSERT INTO `two_tables` VALUES ('a', 'b'), ('a', 'c'), (NULL, 'd'), (NULL, 'd');
             DELETE FROM `issue` WHERE `id` > 590;",
        )
    },
    needs_program: false,
    question: "SELECT seq FROM sqlite_sequence WHERE name = 'issue'",
    answer: 600,
};

pub(super) const BROWSER_HISTORY: Program = Program {
    name: "browser history",
    settings: "PRAGMA page_size=32768; PRAGMA auto_vacuum=2; PRAGMA user_version=77; PRAGMA journal_mode=WAL",
    build: |db| {
        db.execute_batch(
            "CREATE TABLE origins(id INTEGER PRIMARY KEY, prefix TEXT NOT NULL, host TEXT NOT NULL, frecency INTEGER NOT NULL, recalc INTEGER NOT NULL DEFAULT 0, UNIQUE (prefix, host));
             CREATE TABLE places(
               id INTEGER PRIMARY KEY, url LONGVARCHAR, title LONGVARCHAR, rev_host LONGVARCHAR, visit_count INTEGER DEFAULT 0,
               hidden INTEGER DEFAULT 0 NOT NULL, frecency INTEGER DEFAULT -1 NOT NULL, last_visit_date INTEGER, guid TEXT,
               url_hash INTEGER DEFAULT 0 NOT NULL, description TEXT, origin_id INTEGER REFERENCES origins(id)
             );
             CREATE TABLE visits(id INTEGER PRIMARY KEY, from_visit INTEGER, place_id INTEGER, visit_date INTEGER, visit_type INTEGER, session INTEGER);
             CREATE TABLE input_history(place_id INTEGER NOT NULL, input LONGVARCHAR NOT NULL, use_count INTEGER, PRIMARY KEY (place_id, input));
             CREATE TABLE bookmarks(id INTEGER PRIMARY KEY, type INTEGER, fk INTEGER DEFAULT NULL, parent INTEGER, position INTEGER, title LONGVARCHAR, date_added INTEGER, guid TEXT);
             CREATE TABLE meta(key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
             CREATE TABLE icons_to_pages(page_id INTEGER NOT NULL, icon_id INTEGER NOT NULL, PRIMARY KEY (page_id, icon_id)) WITHOUT ROWID;
             CREATE INDEX url_hash_index ON places(url_hash);
             CREATE INDEX host_index ON places(rev_host);
             CREATE UNIQUE INDEX guid_unique ON places(guid);
             CREATE INDEX visits_place_date ON visits(place_id, visit_date);
             CREATE TRIGGER visit_added AFTER INSERT ON visits BEGIN UPDATE places SET visit_count = visit_count + 1, last_visit_date = max(ifnull(last_visit_date, 0), new.visit_date) WHERE id = new.place_id; END;
             CREATE TRIGGER visit_removed AFTER DELETE ON visits BEGIN UPDATE places SET visit_count = visit_count - 1 WHERE id = old.place_id; END;
             CREATE VIEW recent AS SELECT p.url, p.title, v.visit_date / 1000000 AS at FROM visits v JOIN places p ON p.id = v.place_id ORDER BY v.visit_date DESC LIMIT 50;
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 40)
             INSERT INTO origins SELECT i, 'https://', 'host' || i || '.example', i * 100, 0 FROM n;
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 500)
             INSERT INTO places SELECT i, 'https://host' || (i % 40 + 1) || '.example/path?q=' || i || '%20&x=''', 'Títle ' || i, 'elpmaxe.' || (i % 40 + 1) || 'tsoh.',
               0, i % 9 = 0, i * 3 - 1, NULL, printf('%012x', i * 65537), 47358000000000 + i * 7919, NULL, i % 40 + 1 FROM n;
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
             INSERT INTO visits SELECT i, i - 1, i % 500 + 1, 1700000000000000 + i * 1000003, i % 8 + 1, 0 FROM n;
             INSERT INTO input_history SELECT id, 'q' || id, 0.975 * id FROM places WHERE id % 20 = 0;
             INSERT INTO bookmarks SELECT id, 1, id, 3, id % 10, NULL, last_visit_date, 'b' || guid FROM places WHERE id % 25 = 0;
             INSERT INTO meta VALUES ('origin_frecency_count', 40), ('origin_frecency_sum', 4200.5), ('sync/id', 'abc');
             INSERT INTO icons_to_pages SELECT id, id / 10 FROM places;
             DELETE FROM visits WHERE id % 11 = 0;
             ANALYZE;
             DROP TABLE sqlite_stat4;",
        )
    },
    needs_program: false,
    question: "SELECT sum(visit_count) FROM places",
    answer: 1364,
};
