//! Programs whose text is searched.

use super::{Program, rewrite};

pub(super) const FEED_READER: Program = Program {
    name: "feed reader",
    settings: "PRAGMA auto_vacuum=1",
    build: |db| {
        db.execute_batch(
            "CREATE TABLE feeds(id INTEGER PRIMARY KEY AUTOINCREMENT, url TEXT NOT NULL UNIQUE, title TEXT, etag TEXT, error_count INTEGER NOT NULL DEFAULT 0);
             CREATE TABLE articles(
               id TEXT NOT NULL PRIMARY KEY, feed_id INTEGER NOT NULL REFERENCES feeds(id) ON DELETE CASCADE, guid TEXT NOT NULL,
               title TEXT, body TEXT, published DATE, search_id INTEGER, UNIQUE (feed_id, guid)
             );
             CREATE TABLE statuses(article_id TEXT NOT NULL PRIMARY KEY, read BOOL NOT NULL DEFAULT 0, starred BOOL NOT NULL DEFAULT 0, arrived DATE NOT NULL DEFAULT 0);
             CREATE VIRTUAL TABLE search USING fts4(title, body);
             CREATE TRIGGER articles_deleted BEFORE DELETE ON articles BEGIN DELETE FROM search WHERE docid = old.search_id; END;
             CREATE VIRTUAL TABLE entries_fts USING fts5(title, body, content='articles', tokenize='porter unicode61');
             CREATE TRIGGER entries_ai AFTER INSERT ON articles BEGIN INSERT INTO entries_fts(rowid, title, body) VALUES (new.rowid, new.title, new.body); END;
             CREATE TRIGGER entries_ad AFTER DELETE ON articles BEGIN INSERT INTO entries_fts(entries_fts, rowid, title, body) VALUES ('delete', old.rowid, old.title, old.body); END;
             CREATE INDEX articles_feed ON articles(feed_id, published DESC);
             CREATE INDEX statuses_starred ON statuses(starred) WHERE starred = 1;
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 10)
             INSERT INTO feeds(url, title) SELECT 'https://feed' || i || '.example/rss', 'Feed ' || i FROM n;
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 300)
             INSERT INTO articles SELECT printf('%016x', i * 2654435761), i % 10 + 1, 'guid-' || i, 'Backing up ' || i,
               '<p>Restored runs of word' || (i % 13) || '; it''s “fine” &amp; grün</p>', 1700000000.5 + i * 60, NULL FROM n;
             INSERT INTO search(docid, title, body) SELECT rowid * 2, title, body FROM articles;
             UPDATE articles SET search_id = rowid * 2;
             INSERT INTO statuses SELECT id, rowid % 2, rowid % 30 = 0, published FROM articles;
             DELETE FROM articles WHERE rowid % 17 = 3;",
        )
    },
    needs_program: false,
    question: "SELECT count(*) FROM entries_fts WHERE entries_fts MATCH 'restoring AND word5'",
    answer: 22,
};

pub(super) const PHOTO_LIBRARY: Program = Program {
    name: "photo library",
    settings: "PRAGMA application_id=1246382671",
    build: |db| {
        db.execute_batch(
            "CREATE TABLE albums(id INTEGER PRIMARY KEY, name TEXT NOT NULL COLLATE program_order, parent INTEGER REFERENCES albums(id), UNIQUE (name, parent));
             CREATE TABLE photos(id INTEGER PRIMARY KEY, album INTEGER REFERENCES albums(id), file TEXT NOT NULL COLLATE unicase, caption TEXT, taken REAL, rating INTEGER DEFAULT -1, thumbnail BLOB);
             CREATE UNIQUE INDEX photos_by_file ON photos(album, file);
             CREATE INDEX photos_by_caption ON photos(caption COLLATE program_order);
             CREATE INDEX photos_by_fold ON photos(program_fold(caption)) WHERE rating > 0;
             CREATE TABLE properties(photo INTEGER, key TEXT, value, PRIMARY KEY (photo, key)) WITHOUT ROWID;
             CREATE VIRTUAL TABLE captions USING fts5(caption, file UNINDEXED, content='photos', content_rowid='id', tokenize='unicode61');
             CREATE VIRTUAL TABLE places USING rtree(photo, min_lat, max_lat, min_lon, max_lon);
             CREATE TRIGGER photo_deleted AFTER DELETE ON photos BEGIN DELETE FROM places WHERE photo = old.id; DELETE FROM properties WHERE photo = old.id; END;
             CREATE VIEW best AS SELECT * FROM photos WHERE rating >= 4 ORDER BY file COLLATE unicase;
             INSERT INTO albums VALUES (1, 'Fotos', NULL), (2, 'Été 2023', 1), (3, 'été 2024', 1), (7, 'Ferien', 2);
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 250)
             INSERT INTO photos SELECT i * 2, i % 3 + 1, 'IMG_' || i || CASE WHEN i % 2 THEN '.JPG' ELSE '.ÄÖ' END, 'Strand und Möwen ' || (i % 21), 2460000.5 + i / 24.0, i % 6, randomblob(0) || zeroblob(i % 40) FROM n;
             INSERT INTO properties SELECT id, 'camera', 'X-' || id FROM photos WHERE id % 3 = 0;
             INSERT INTO captions(rowid, caption) SELECT id, program_fold(caption) || ' ' || caption FROM photos WHERE id % 4 = 0;
             INSERT INTO places SELECT id, 47.1 + id / 1000.0, 47.1 + id / 1000.0, 8.5, 8.5 FROM photos;
             DELETE FROM photos WHERE id > 480;",
        )?;
        rewrite(
            db,
            "captions",
            "tokenize='unicode61'",
            "tokenize='photo_words stem=de'",
        )
    },
    needs_program: true,
    question: "SELECT count(*) FROM photos WHERE file LIKE 'img_%' AND rating > 0",
    answer: 200,
};

pub(super) const MESSAGE_STORE: Program = Program {
    name: "message store",
    settings: "PRAGMA user_version=1290",
    build: |db| {
        db.execute_batch(
            "CREATE TABLE conversations(id STRING PRIMARY KEY ASC, json TEXT, active_at INTEGER, type STRING, members TEXT, name TEXT, profileName TEXT);
             CREATE TABLE messages(
               rowid INTEGER PRIMARY KEY ASC, id STRING UNIQUE, json TEXT, readStatus INTEGER, sent_at INTEGER, conversationId STRING, body TEXT, isErased INTEGER,
               storyId STRING, seenStatus NUMBER default 0,
               isStory INTEGER GENERATED ALWAYS AS (json_extract(json, '$.type') IS 'story') VIRTUAL,
               isViewOnce INTEGER AS (IFNULL(json_extract(json, '$.viewOnce'), 0)) STORED,
               hasExpiry INTEGER GENERATED ALWAYS AS (json_extract(json, '$.expires') IS NOT NULL)
             );
             CREATE INDEX messages_conversation ON messages(conversationId, isStory, sent_at) WHERE isStory IS NOT 1;
             CREATE INDEX messages_expiry ON messages(hasExpiry, json_extract(json, '$.expires'));
             CREATE TABLE reactions(conversationId STRING, emoji STRING, messageId STRING REFERENCES messages(id) ON DELETE CASCADE, at INTEGER);
             CREATE TABLE attachments_backup(mediaName TEXT NOT NULL PRIMARY KEY, attempts INTEGER, data BLOB) STRICT;
             CREATE TABLE jobs(id TEXT PRIMARY KEY, queueType TEXT STRING NOT NULL, timestamp INTEGER NOT NULL, data STRING TEXT);
             CREATE VIRTUAL TABLE messages_fts USING fts5(body, tokenize = 'unicode61');
             CREATE TRIGGER messages_on_insert AFTER INSERT ON messages WHEN new.isViewOnce IS NOT 1 BEGIN INSERT INTO messages_fts(rowid, body) VALUES (new.rowid, new.body); END;
             CREATE TRIGGER messages_on_delete AFTER DELETE ON messages BEGIN DELETE FROM messages_fts WHERE rowid = old.rowid; DELETE FROM reactions WHERE messageId = old.id; END;
             CREATE TRIGGER messages_on_update AFTER UPDATE ON messages WHEN new.body IS NULL OR old.body IS NOT new.body BEGIN DELETE FROM messages_fts WHERE rowid = old.rowid; INSERT INTO messages_fts(rowid, body) VALUES (new.rowid, new.body); END;
             CREATE VIRTUAL TABLE old_fts USING fts4(body, content=\"\", tokenize=porter);
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 15)
             INSERT INTO conversations SELECT printf('%08x-c', i), json_object('id', i), 1700000000000 + i, 'private', NULL, 'Ann''' || i, '👩‍👧 ' || i FROM n;
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 500)
             INSERT INTO messages(rowid, id, json, readStatus, sent_at, conversationId, body, seenStatus) SELECT i * 3, i || '.50',
               json_object('type', CASE WHEN i % 20 THEN 'incoming' ELSE 'story' END, 'viewOnce', i % 50 = 0, 'expires', CASE WHEN i % 9 = 0 THEN i * 60 END),
               i % 2, 1700000000000 + i * 1000, printf('%08x-c', i % 15 + 1), CASE WHEN i % 33 THEN 'Hello wörld ' || (i % 17) || ' 日本語 ' || char(10) || 'see you' END, 2 FROM n;
             INSERT INTO reactions SELECT conversationId, '👍🏽', id, sent_at FROM messages WHERE rowid % 30 = 0;
             INSERT INTO attachments_backup VALUES ('a', 1, X'00'), ('b', 2, NULL);
             INSERT INTO jobs VALUES ('1', 'view', 1, '{}');
             INSERT INTO old_fts(docid, body) SELECT rowid, body FROM messages WHERE rowid < 300;
             DELETE FROM messages WHERE rowid % 100 = 0;",
        )?;
        rewrite(
            db,
            "messages_fts",
            "tokenize = 'unicode61'",
            "tokenize = 'signal_tokenizer'",
        )
    },
    needs_program: true,
    question: "SELECT count(*) FROM messages JOIN reactions ON messageId = id WHERE isStory = 0",
    answer: 25,
};
