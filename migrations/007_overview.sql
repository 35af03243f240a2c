-- migrations/007_overview.sql

-- What an overview asks for, so that it never reads the manifests that lie in the same rows
CREATE INDEX idx_copies_day ON copies(backup_date, database_name, state, class, incomplete,
  created_at, stored_bytes, row_count, r2_key);
CREATE INDEX idx_copies_stock ON copies(storage, state, stored_bytes, verified_at, backup_date);
CREATE INDEX idx_copies_damaged ON copies(damaged_at DESC) WHERE state <> 'live';
CREATE INDEX idx_archive_members_db ON archive_members(database_name, backup_date DESC, archive_key);
CREATE INDEX idx_inventory_stock ON backup_inventory(database_name, backup_date, size_bytes)
  WHERE deleted_at IS NULL;
CREATE INDEX idx_inventory_marked ON backup_inventory(r2_key) WHERE deleted_at IS NOT NULL;
CREATE INDEX idx_results_stored ON backup_results(started_at, database_name, r2_key, completed_at,
  size_bytes, row_count) WHERE status = 'success';
CREATE INDEX idx_results_failed ON backup_results(database_name, started_at DESC)
  WHERE status = 'failed';
