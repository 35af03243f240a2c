-- migrations/003_week.sql

-- The installation that wrote a copy: only its own are ever expired
ALTER TABLE copies ADD COLUMN instance TEXT NOT NULL DEFAULT '';
UPDATE copies SET instance = json_extract(manifest, '$.instance');

-- When a damage was found; null while live
ALTER TABLE copies ADD COLUMN damaged_at INTEGER;
UPDATE copies SET damaged_at = created_at WHERE state <> 'live';

-- Every storage's copy of every weekly archive
CREATE TABLE archives (
  r2_key TEXT NOT NULL,
  storage TEXT NOT NULL,
  week TEXT NOT NULL,                    -- GGGG-Www
  job_id TEXT NOT NULL,
  instance TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('live', 'missing', 'corrupt')),
  damage TEXT,                           -- What was found; null while live
  damaged_at INTEGER,                    -- Unix timestamp; null while live
  stored_sha256 TEXT NOT NULL,
  stored_bytes INTEGER NOT NULL,
  created_at INTEGER NOT NULL,           -- Unix timestamp
  verified_at INTEGER,                   -- Unix timestamp of the last full read; null: never read
  manifest TEXT NOT NULL,                -- JSON
  PRIMARY KEY (r2_key, storage)
);

CREATE INDEX idx_archives_week ON archives(week DESC);

-- The daily copies an archive holds
CREATE TABLE archive_members (
  archive_key TEXT NOT NULL,
  r2_key TEXT NOT NULL,                  -- The daily's key
  database_name TEXT NOT NULL,
  backup_date TEXT NOT NULL,             -- YYYY-MM-DD
  PRIMARY KEY (archive_key, r2_key)
);

CREATE INDEX idx_archive_members_copy ON archive_members(r2_key);

-- A packed archive on its way to the storages; a row that outlives its process is settled at the next start
CREATE TABLE packed (
  r2_key TEXT PRIMARY KEY,
  path TEXT NOT NULL,                    -- The proven file
  manifest TEXT NOT NULL                 -- JSON
);

-- Copies that a person wants to keep
CREATE TABLE pins (
  r2_key TEXT PRIMARY KEY,
  reason TEXT,
  created_at INTEGER NOT NULL            -- Unix timestamp
);

-- Databases whose expiry waits for a person
CREATE TABLE freezes (
  database_name TEXT PRIMARY KEY,
  reason TEXT NOT NULL,
  created_at INTEGER NOT NULL            -- Unix timestamp
);

-- Databases whose troubles up to then a person has seen: expiry goes on in spite of them
CREATE TABLE acknowledged (
  database_name TEXT PRIMARY KEY,
  at INTEGER NOT NULL                    -- Unix timestamp
);

-- Databases that left the configuration and whose copies a person gave up
CREATE TABLE forgotten (
  database_name TEXT PRIMARY KEY,
  at INTEGER NOT NULL                    -- Unix timestamp
);

-- Copies in use: neither expired nor removed meanwhile
CREATE TABLE leases (
  id INTEGER PRIMARY KEY,
  r2_key TEXT NOT NULL,
  holder TEXT NOT NULL,                  -- What is done with it
  until INTEGER NOT NULL                 -- Unix timestamp; a dead process's lease ends by itself
);

-- Known keys that a storage did not have when it was asked
CREATE TABLE absences (
  r2_key TEXT NOT NULL,
  storage TEXT NOT NULL,
  first_at INTEGER NOT NULL,             -- Unix timestamp
  PRIMARY KEY (r2_key, storage)
);

-- Deletions of marked objects that have begun: the manifest may be gone
CREATE TABLE removals (
  r2_key TEXT NOT NULL,
  storage TEXT NOT NULL,
  PRIMARY KEY (r2_key, storage)
);

-- What people should hear of
CREATE TABLE events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,                   -- Unix timestamp
  kind TEXT NOT NULL,                    -- As in the list of alerts: 'weekly_skipped', 'missing_object', …
  severity TEXT NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
  database_name TEXT,                    -- Null: not about one database
  message TEXT NOT NULL
);

-- The last due moment of each task that was taken, so that no slot runs twice
CREATE TABLE slots (
  task TEXT PRIMARY KEY,
  slot INTEGER NOT NULL                  -- Unix timestamp
);

-- Before this moment nothing is deleted: the catalog was made anew from the storages
CREATE TABLE quiet (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  until INTEGER NOT NULL                 -- Unix timestamp
);
