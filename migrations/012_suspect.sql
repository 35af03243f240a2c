-- migrations/012_suspect.sql

-- Copies of damaged sources: expiry asks for them each time, and there are hardly ever any
CREATE INDEX idx_copies_suspect ON copies(database_name, backup_date, created_at, r2_key) WHERE class = 'S';
