-- migrations/013_audit_base.sql

-- The last row of the audit that was let go for its number of rows: the chain of hashes goes on from here
CREATE TABLE audit_base (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  id INTEGER NOT NULL,                   -- Its number
  hash TEXT NOT NULL                     -- Its hash
);
