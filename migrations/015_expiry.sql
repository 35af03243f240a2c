-- migrations/015_expiry.sql

-- What the last run of expiry did
CREATE TABLE expiry (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  at INTEGER NOT NULL,                   -- Unix timestamp
  deleted INTEGER NOT NULL,              -- Objects that are gone from every storage
  failed INTEGER NOT NULL                -- Objects that could not be deleted
);

-- What it kept although it was old enough to go, by rule
CREATE TABLE expiry_kept (
  rule TEXT PRIMARY KEY,                 -- 'last', 'newer', 'week', 'lease', 'pin', 'own', 'clock', 'breaker', 'quiet'
  objects INTEGER NOT NULL,
  why TEXT NOT NULL                      -- Of the first of them
);
