-- migrations/010_rehearsals.sql

-- When the worst day was rehearsed: the newest copy of every database fetched, restored and proven
CREATE TABLE rehearsals (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  started_at INTEGER NOT NULL,           -- Unix timestamp
  duration_ms INTEGER NOT NULL,
  trigger_type TEXT NOT NULL,            -- 'scheduled' or 'manual'
  cold INTEGER NOT NULL,                 -- 1: from the manifests in the storages alone
  storage TEXT                           -- The one storage that was asked; null: any
);

-- What became of each database in it
CREATE TABLE rehearsal_results (
  rehearsal_id INTEGER NOT NULL,
  database_name TEXT NOT NULL,
  outcome TEXT NOT NULL CHECK (outcome IN ('proven', 'damaged', 'failed', 'absent')),
  r2_key TEXT,                           -- The copy; null: there is none
  storage TEXT,                          -- Where it was read; null: nowhere
  read_bytes INTEGER NOT NULL,           -- Stored bytes that were fetched
  plain_bytes INTEGER NOT NULL,          -- The length of its SQL text
  row_count INTEGER NOT NULL,            -- Rows that were restored
  duration_ms INTEGER NOT NULL,
  message TEXT,                          -- What was wrong; null: nothing
  PRIMARY KEY (rehearsal_id, database_name),
  FOREIGN KEY (rehearsal_id) REFERENCES rehearsals(id) ON DELETE CASCADE
);

CREATE INDEX idx_rehearsal_results_proven ON rehearsal_results(database_name, rehearsal_id)
  WHERE outcome = 'proven';
