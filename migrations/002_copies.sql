-- migrations/002_copies.sql

-- The installation that owns this catalog
CREATE TABLE instance (
  one INTEGER PRIMARY KEY CHECK (one = 1), -- There is only one row
  id TEXT NOT NULL                         -- Random UUID
);

-- What people should know about a job
CREATE TABLE job_notes (
  id INTEGER PRIMARY KEY,
  job_id TEXT NOT NULL,
  database_name TEXT,                    -- Null: the whole job
  kind TEXT NOT NULL CHECK (kind IN ('reason', 'degraded')),
  message TEXT NOT NULL,
  FOREIGN KEY (job_id) REFERENCES backup_jobs(job_id)
);

CREATE INDEX idx_job_notes_job ON job_notes(job_id);

-- Proven dumps on their way to the storages; a row that outlives its process is settled at the next start
CREATE TABLE spooled (
  job_id TEXT NOT NULL,
  database_name TEXT NOT NULL,
  path TEXT NOT NULL,                    -- The proven file
  manifest TEXT NOT NULL,                -- JSON
  created_at INTEGER NOT NULL,           -- Unix timestamp
  PRIMARY KEY (job_id, database_name),
  FOREIGN KEY (job_id) REFERENCES backup_jobs(job_id)
);

-- Every storage's copy of every backup
CREATE TABLE copies (
  r2_key TEXT NOT NULL,
  storage TEXT NOT NULL,
  database_name TEXT NOT NULL,
  backup_date TEXT NOT NULL,             -- YYYY-MM-DD
  job_id TEXT NOT NULL,                  -- Absent from backup_jobs where the copy was adopted
  state TEXT NOT NULL CHECK (state IN ('live', 'missing', 'corrupt')),
  damage TEXT,                           -- What was found; null while live
  stored_sha256 TEXT NOT NULL,
  stored_bytes INTEGER NOT NULL,
  plain_sha256 TEXT NOT NULL,
  plain_bytes INTEGER NOT NULL,
  compression TEXT NOT NULL,             -- 'none', 'gzip', 'zstd'
  class TEXT NOT NULL,                   -- 'A', 'B', 'C'
  row_count INTEGER NOT NULL,
  table_count INTEGER NOT NULL,
  incomplete INTEGER NOT NULL,           -- 1: a table is missing
  created_at INTEGER NOT NULL,           -- Unix timestamp
  verified_at INTEGER,                   -- Unix timestamp of the last full read; null: never read
  manifest TEXT NOT NULL,                -- JSON
  PRIMARY KEY (r2_key, storage)
);

CREATE INDEX idx_copies_db ON copies(database_name, backup_date DESC);
CREATE INDEX idx_copies_date ON copies(backup_date DESC);
