-- migrations/005_outbox.sql

-- Tells an event from every other: a receiver that gets it twice knows it by this
ALTER TABLE events ADD COLUMN uid TEXT;
-- The job it tells of; null where it tells of none
ALTER TABLE events ADD COLUMN job_id TEXT;
-- What is over and how grave it was; null unless the kind is 'resolved'
ALTER TABLE events ADD COLUMN resolves TEXT;
ALTER TABLE events ADD COLUMN resolves_severity TEXT;
-- 1: there is a delivery for each sink that is to hear of it
ALTER TABLE events ADD COLUMN routed INTEGER NOT NULL DEFAULT 0;
UPDATE events SET uid = lower(hex(randomblob(16))), routed = 1;

CREATE INDEX idx_events_unrouted ON events(id) WHERE routed = 0;

-- The outbox: each event on its way to each sink
CREATE TABLE deliveries (
  event_id INTEGER NOT NULL,
  sink TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  next_at INTEGER NOT NULL,              -- Unix timestamp of the next try
  delivered_at INTEGER,                  -- Unix timestamp; null: not yet
  given_up_at INTEGER,                   -- Unix timestamp; null: it is still tried
  message_id TEXT,                       -- The message that carried it; a digest carries several
  last_error TEXT,                       -- What the sink said last
  PRIMARY KEY (event_id, sink),
  FOREIGN KEY (event_id) REFERENCES events(id)
);

CREATE INDEX idx_deliveries_due ON deliveries(sink, next_at)
  WHERE delivered_at IS NULL AND given_up_at IS NULL;
CREATE INDEX idx_deliveries_sent ON deliveries(sink, delivered_at) WHERE delivered_at IS NOT NULL;

-- What is wrong now and was told; a row goes when it is over
CREATE TABLE conditions (
  kind TEXT NOT NULL,                    -- The event's kind
  scope TEXT NOT NULL,                   -- A database, a storage, a copy
  detail TEXT NOT NULL,                  -- What about it: a table, a key; often empty
  severity TEXT NOT NULL,
  since INTEGER NOT NULL,                -- Unix timestamp
  told_at INTEGER NOT NULL,              -- Unix timestamp
  PRIMARY KEY (kind, scope, detail)
);

-- When each database was first looked at: a new one without any copy becomes stale, too
CREATE TABLE watched (
  database_name TEXT PRIMARY KEY,
  since INTEGER NOT NULL                 -- Unix timestamp
);

-- What copies are compared with; the copies themselves expire sooner
CREATE TABLE samples (
  r2_key TEXT PRIMARY KEY,
  database_name TEXT NOT NULL,
  backup_date TEXT NOT NULL,             -- YYYY-MM-DD
  created_at INTEGER NOT NULL,           -- Unix timestamp
  plain_bytes INTEGER NOT NULL,
  schema_sha256 TEXT NOT NULL,
  tables TEXT NOT NULL                   -- JSON: rows by table
);

CREATE INDEX idx_samples_db ON samples(database_name, backup_date DESC);

INSERT INTO samples
SELECT r2_key, database_name, backup_date, max(created_at), plain_bytes,
    json_extract(manifest, '$.evidence.schema'),
    (SELECT json_group_object(json_extract(value, '$.name'), json_extract(value, '$.rows'))
        FROM json_each(manifest, '$.evidence.tables'))
FROM copies WHERE class IN ('A', 'B') AND NOT incomplete GROUP BY r2_key;
