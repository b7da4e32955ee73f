-- Callbacks and the results of their attempts. A callback is stored in the transaction of the change that it reports.
-- `url` is JSON text. Times are seconds since the epoch.

CREATE TABLE callbacks (
    -- The order in which callbacks were stored; the callbacks of one run are sent in this order.
    number          INTEGER PRIMARY KEY,
    callback_id     TEXT NOT NULL UNIQUE,
    job_id          TEXT NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
    run             TEXT NOT NULL,
    stage           TEXT NOT NULL,
    url             TEXT NOT NULL,
    created_at      REAL NOT NULL,
    next_attempt_at REAL NOT NULL,
    state           TEXT NOT NULL,
    attempts        INTEGER NOT NULL,
    last_error      TEXT NOT NULL
) STRICT;

CREATE INDEX callbacks_of_job ON callbacks (job_id, number);
CREATE INDEX callbacks_pending ON callbacks (next_attempt_at, number) WHERE state = 'pending';
