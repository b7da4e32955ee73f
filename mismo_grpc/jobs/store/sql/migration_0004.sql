-- Where a callback goes, as `CallbackRow.place`: host and port. Rows of before get what stands between // and the path.

ALTER TABLE callbacks ADD COLUMN place TEXT NOT NULL DEFAULT '';

UPDATE callbacks SET place = rest FROM (
    SELECT number AS of, substr(after, 1, min(
        instr(after || '/', '/'), instr(after || '?', '?'), instr(after || '#', '#'), instr(after || '"', '"')
    ) - 1) AS rest
    FROM (SELECT number, lower(substr(url, instr(url, '//') + 2)) AS after FROM callbacks)
) WHERE number = of;

DROP INDEX callbacks_pending;

-- With the place, so that those of a place that is passed over cost no look at the table.
CREATE INDEX callbacks_pending ON callbacks (next_attempt_at, number, place) WHERE state = 'pending';
