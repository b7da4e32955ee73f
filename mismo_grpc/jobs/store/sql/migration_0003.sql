-- Events live in memory only: a watcher that comes back after a restart gets a snapshot.
DROP TABLE events;
ALTER TABLE jobs DROP COLUMN next_event;
ALTER TABLE jobs DROP COLUMN pruned_revision;

-- Bytes of an ended run's files, for the disk budget.
ALTER TABLE jobs ADD COLUMN result_bytes INTEGER NOT NULL DEFAULT 0;

DROP INDEX jobs_expiring;
