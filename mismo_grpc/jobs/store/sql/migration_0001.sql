-- Jobs, their events, the request ids of their submits, and uploads.
-- Times are seconds since the epoch. `record` and `body` are JSON of the values in job.py and events.py; the other
-- columns repeat the fields that queries search.

CREATE TABLE jobs (
    job_id          TEXT PRIMARY KEY,
    run             TEXT NOT NULL,
    state           INTEGER NOT NULL,
    priority        INTEGER NOT NULL,
    created_at      REAL NOT NULL,
    ended_at        REAL,
    expires_at      REAL,
    source_sha256   TEXT NOT NULL,
    source_bytes    INTEGER NOT NULL,
    cache_key       TEXT NOT NULL,
    -- The number of the run's next event, counted from 0.
    next_event      INTEGER NOT NULL DEFAULT 0,
    -- The highest revision of an event that was removed.
    pruned_revision INTEGER NOT NULL DEFAULT 0,
    record          TEXT NOT NULL
) STRICT;

CREATE INDEX jobs_newest ON jobs (created_at, job_id);
CREATE INDEX jobs_active ON jobs (created_at, job_id) WHERE state < 3;
CREATE INDEX jobs_ended ON jobs (ended_at, job_id) WHERE state >= 3;
CREATE INDEX jobs_expiring ON jobs (expires_at) WHERE state >= 3;
CREATE INDEX jobs_results ON jobs (source_sha256, cache_key) WHERE state = 3;

-- `label` is the JSON array [key, value].
CREATE TABLE job_labels (
    label  TEXT NOT NULL,
    job_id TEXT NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
    PRIMARY KEY (label, job_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX job_labels_of_job ON job_labels (job_id);

CREATE TABLE events (
    job_id   TEXT NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
    number   INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    time     REAL NOT NULL,
    kind     INTEGER NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (job_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE requests (
    request_id  TEXT PRIMARY KEY,
    job_id      TEXT NOT NULL,
    run         TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    accepted_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX requests_oldest ON requests (accepted_at);

CREATE TABLE uploads (
    upload_id   TEXT PRIMARY KEY,
    filename    TEXT NOT NULL,
    total_bytes INTEGER NOT NULL,
    -- The hash of a complete upload's content; before, the hash that the client announced, or ''.
    sha256      TEXT NOT NULL,
    complete    INTEGER NOT NULL,
    touched_at  REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX uploads_content ON uploads (sha256, touched_at) WHERE complete = 1;
CREATE INDEX uploads_oldest ON uploads (touched_at);
CREATE INDEX uploads_unfinished ON uploads (upload_id) WHERE complete = 0;
