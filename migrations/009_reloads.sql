-- migrations/009_reloads.sql

-- How the last looks at a changed configuration ended, for whoever asks a daemon that runs
CREATE TABLE reloads (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,                   -- Unix timestamp
  cause TEXT NOT NULL CHECK (cause IN ('asked', 'noticed')),
  outcome TEXT NOT NULL CHECK (outcome IN ('applied', 'rejected', 'restored')),
  told TEXT NOT NULL                     -- JSON array of texts: what changed, or every mistake
);
