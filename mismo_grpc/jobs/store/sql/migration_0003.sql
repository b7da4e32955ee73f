-- Events are kept in memory only: a watcher that reconnects after a restart gets a snapshot.
DROP TABLE events;
ALTER TABLE jobs DROP COLUMN next_event;
ALTER TABLE jobs DROP COLUMN pruned_revision;

-- The size of an ended run's files in bytes, for the disk budget.
ALTER TABLE jobs ADD COLUMN result_bytes INTEGER NOT NULL DEFAULT 0;

DROP INDEX jobs_expiring;
