-- migrations/006_audit.sql

-- Who was given what: rows are only ever added, each bound to the one before by its hash
CREATE TABLE audit (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms INTEGER NOT NULL,                -- Unix time in milliseconds
  request_id TEXT NOT NULL,              -- UUID; the rows of one request share it
  action TEXT NOT NULL CHECK (action IN ('download', 'head', 'restore_guide')),
  outcome TEXT NOT NULL CHECK (outcome IN ('granted', 'complete', 'aborted', 'damaged')),
  client TEXT NOT NULL,                  -- 'key:<id>', 'access:<user>' or 'address:<ip>'
  address TEXT NOT NULL,                 -- The client's address
  subject TEXT NOT NULL,                 -- The copy's key, or the database's name
  size_bytes INTEGER NOT NULL,           -- What was handed out
  hash TEXT NOT NULL                     -- SHA-256 over the previous row's hash and this row
);

CREATE INDEX idx_audit_granted ON audit(at_ms) WHERE outcome = 'granted' AND action = 'download';

-- Backups that were asked for, so that a restart forgets none
CREATE TABLE requests (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  job_id TEXT UNIQUE NOT NULL,           -- The job it becomes
  requested_at INTEGER NOT NULL,         -- Unix timestamp
  client TEXT NOT NULL,                  -- Who asked, as in audit
  reason TEXT,                           -- Why, in a person's words; null where nobody said
  databases TEXT NOT NULL,               -- JSON array of names; empty: all
  attempts INTEGER NOT NULL DEFAULT 0,   -- How many jobs it became
  ended_at INTEGER                       -- Unix timestamp; null: it waits, or its job runs
);

CREATE INDEX idx_requests_open ON requests(id) WHERE ended_at IS NULL;

-- A page of the inventory of one database, without a look at the others
CREATE INDEX idx_inventory_page ON backup_inventory(database_name, r2_key) WHERE deleted_at IS NULL;
CREATE INDEX idx_archive_members_page ON archive_members(database_name, r2_key);
