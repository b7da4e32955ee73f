-- The order in which jobs changed, for watchers of all jobs: each change that they receive gets the next number.

CREATE TABLE change_feed (
    only_row         INTEGER PRIMARY KEY CHECK (only_row = 1),
    last_change      INTEGER NOT NULL,
    -- The highest change number of a removal that was deleted.
    forgotten_change INTEGER NOT NULL
) STRICT;

-- A row for each start of a server that changed or watched a job. A cursor names the start that it was made in, so the
-- server recognizes a cursor of another store, or of changes that this copy of the store never had.
CREATE TABLE store_starts (
    number       INTEGER PRIMARY KEY,
    start_id     TEXT NOT NULL UNIQUE,
    -- The lowest change number that this start can have assigned.
    first_change INTEGER NOT NULL
) STRICT;

ALTER TABLE jobs ADD COLUMN change INTEGER NOT NULL DEFAULT 0;

UPDATE jobs SET change = ranked.place FROM (
    SELECT job_id AS of, row_number() OVER (ORDER BY coalesce(ended_at, created_at), job_id) AS place FROM jobs
) AS ranked WHERE job_id = of;

INSERT INTO change_feed (only_row, last_change, forgotten_change) SELECT 1, count(*), 0 FROM jobs;

CREATE UNIQUE INDEX jobs_changed ON jobs (change);

-- Jobs that were deleted or have expired, and runs that were replaced by one with other labels. `labels` is a JSON
-- array of labels as in job_labels.
CREATE TABLE removed_jobs (
    change     INTEGER PRIMARY KEY,
    job_id     TEXT NOT NULL,
    run_id     TEXT NOT NULL,
    labels     TEXT NOT NULL,
    removed_at REAL NOT NULL
) STRICT;

CREATE INDEX removed_jobs_oldest ON removed_jobs (removed_at);
