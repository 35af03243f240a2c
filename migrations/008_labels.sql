-- migrations/008_labels.sql

-- What an `after_backup` hook wants kept with a result
CREATE TABLE result_labels (
  job_id TEXT NOT NULL,
  database_name TEXT NOT NULL,
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (job_id, database_name, name),
  FOREIGN KEY (job_id) REFERENCES backup_jobs(job_id)
);
