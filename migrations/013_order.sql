-- migrations/013_order.sql

-- The order in which copies were made, also of those that lie in an archive alone: by the sequence of commits, which no
-- clock changes
CREATE TABLE made (
  r2_key TEXT PRIMARY KEY,               -- The daily's key
  database_name TEXT NOT NULL,
  at INTEGER NOT NULL,                   -- Unix timestamp: when it was made, as far as known
  place INTEGER NOT NULL,                -- Grows by one with each commit here; an adopted one has that of the commit before it
  is_ahead INTEGER NOT NULL              -- 1: a clock, or a manifest, dates it later than it can have been made
) WITHOUT ROWID;

-- Committed here: in the order of the inventory
INSERT INTO made
  SELECT item.r2_key, item.database_name, item.created_at, row_number() OVER (ORDER BY item.id), 0
  FROM backup_inventory AS item
  WHERE EXISTS (SELECT 1 FROM copies AS copy JOIN backup_jobs AS job ON job.job_id = copy.job_id
    WHERE copy.r2_key = item.r2_key);

CREATE INDEX idx_made_at ON made(at, place);
CREATE INDEX idx_made_place ON made(place, at, r2_key);
CREATE INDEX idx_made_db ON made(database_name, place, at, r2_key);

-- Adopted, and those that archives alone hold: behind the last one that was committed before
INSERT OR IGNORE INTO made
  SELECT found.r2_key, found.database_name, found.at,
    coalesce((SELECT place FROM made WHERE at <= found.at ORDER BY at DESC, place DESC LIMIT 1), 0), 0
  FROM (SELECT r2_key, database_name, min(created_at) AS at FROM copies GROUP BY r2_key) AS found;
INSERT OR IGNORE INTO made
  SELECT found.key, found.name, found.at,
    coalesce((SELECT place FROM made WHERE at <= found.at ORDER BY at DESC, place DESC LIMIT 1), 0), 0
  FROM (SELECT json_extract(member.value, '$.manifest.key') AS key,
          json_extract(member.value, '$.manifest.database') AS name,
          min(coalesce(unixepoch(json_extract(member.value, '$.manifest.completed_at')), archives.created_at)) AS at
        FROM archives, json_each(archives.manifest, '$.members') AS member GROUP BY 1) AS found
  WHERE found.key IS NOT NULL AND found.name IS NOT NULL;

-- Objects of other installations, which are left alone; known, so that their manifests are read once
CREATE TABLE others (
  r2_key TEXT NOT NULL,
  storage TEXT NOT NULL,
  instance TEXT NOT NULL,
  PRIMARY KEY (r2_key, storage)
) WITHOUT ROWID;
