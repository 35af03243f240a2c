-- migrations/004_slots.sql

-- The due moments of each task that were taken: each is worked on once, and again only where its process died over
-- it. More than the last one is kept, as a clock that ran ahead and was set right must not stop the days in between.
CREATE TABLE taken_slots (
  task TEXT NOT NULL,
  slot INTEGER NOT NULL,                 -- Unix timestamp
  attempts INTEGER NOT NULL,             -- How many processes began it
  ended_at INTEGER,                      -- Unix timestamp, ended well or not; null: its process works on it or died
  PRIMARY KEY (task, slot)
);

INSERT INTO taken_slots SELECT task, slot, 1, slot FROM slots;
DROP TABLE slots;
ALTER TABLE taken_slots RENAME TO slots;
