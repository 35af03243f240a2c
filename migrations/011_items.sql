-- migrations/011_items.sql

-- What retention, reconciliation and lists by key ask of every copy: the rows themselves end with manifests, which are
-- many times longer
CREATE INDEX idx_copies_items ON copies(r2_key, storage, state, damage, damaged_at, verified_at, instance,
  stored_bytes, created_at, class, incomplete, database_name, backup_date);
