-- migrations/014_access.sql

-- Who was refused what. A table of its own: however many are refused, no row of what was given has to go for one
CREATE TABLE refusals (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms INTEGER NOT NULL,                -- Unix time in milliseconds, of the first one
  request_id TEXT NOT NULL,              -- UUID of the first one
  status INTEGER NOT NULL,               -- The HTTP status that was answered
  why TEXT NOT NULL,                     -- A word: 'unauthorized', 'wrong_host', …
  method TEXT NOT NULL,                  -- Of the first one
  path TEXT NOT NULL,                    -- Of the first one, cut and without control characters
  client TEXT,                           -- 'key:<id>' …, where it proved who it is; null: nobody we know
  address TEXT NOT NULL,                 -- Of the first one
  times INTEGER NOT NULL                 -- How many of this kind the row stands for
);

-- Where the audit begins, once its oldest rows were let go: the last of them, whose hash the next row is bound to
CREATE TABLE audit_begins (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  after_row INTEGER NOT NULL,
  hash TEXT NOT NULL,
  at INTEGER NOT NULL                    -- Unix timestamp of the last time that rows were let go
);

-- From where each key and each user of Cloudflare Access was used
CREATE TABLE clients (
  client TEXT NOT NULL,                  -- As in audit
  address TEXT NOT NULL,                 -- An IPv4 address, or the /64 of an IPv6 one
  first_at INTEGER NOT NULL,             -- Unix timestamp
  last_at INTEGER NOT NULL,              -- Unix timestamp
  PRIMARY KEY (client, address)
) WITHOUT ROWID;

-- When each key was first seen in the configuration: its age, where the configuration does not say
CREATE TABLE key_ages (
  key_id TEXT NOT NULL,
  sha256 TEXT NOT NULL,                  -- Another secret is another key
  first_at INTEGER NOT NULL,             -- Unix timestamp
  PRIMARY KEY (key_id, sha256)
) WITHOUT ROWID;

-- What was told of unusual access, so that the same is not told again at once
CREATE TABLE access_told (
  what TEXT PRIMARY KEY,
  at INTEGER NOT NULL                    -- Unix timestamp
) WITHOUT ROWID;

-- alert_config holds what is in force, a row per sink; it is written at each start and reload, and nothing reads a
-- setting from it: patina.toml is where they are set. `webhook_url` says where the address comes from (`env:NAME`) and
-- never the address, which is a secret. Without a sink there is one row, whose `enabled` is 0. This table says which
-- sink a row is about
CREATE TABLE alert_sinks (
  config_id INTEGER PRIMARY KEY REFERENCES alert_config(id) ON DELETE CASCADE,
  sink TEXT UNIQUE NOT NULL,             -- Its name; empty in the row that stands for none
  kind TEXT NOT NULL                     -- 'discord', 'slack', …
);
