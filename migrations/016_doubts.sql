-- migrations/016_doubts.sql

-- Why a copy is the newest or a fresh one for nobody: 0 no reason; 1 a clock, or a manifest, dates it later than it can
-- have been made; 2 it was found in a storage, and nothing here ever committed it
ALTER TABLE made RENAME COLUMN is_ahead TO doubt;

-- Copies of other installations are found without reading all
CREATE INDEX idx_copies_instance ON copies(instance, r2_key);

-- The claim on each storage's place that this catalog made last
CREATE TABLE claims (
  storage TEXT PRIMARY KEY,
  number INTEGER NOT NULL,               -- Of the claim that is held; 0: none yet
  pending TEXT                           -- The token of the next one, noted before it is made; null: none is about to be
) WITHOUT ROWID;
