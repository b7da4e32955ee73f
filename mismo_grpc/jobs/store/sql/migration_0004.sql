-- The host and port of a callback's URL. Existing rows get the text between // and the path.

ALTER TABLE callbacks ADD COLUMN place TEXT NOT NULL DEFAULT '';

UPDATE callbacks SET place = rest FROM (
    SELECT number AS of, substr(after, 1, min(
        instr(after || '/', '/'), instr(after || '?', '?'), instr(after || '#', '#'), instr(after || '"', '"')
    ) - 1) AS rest
    FROM (SELECT number, lower(substr(url, instr(url, '//') + 2)) AS after FROM callbacks)
) WHERE number = of;

DROP INDEX callbacks_pending;

-- With the place, so that callbacks to a skipped place are found in the index alone.
CREATE INDEX callbacks_pending ON callbacks (next_attempt_at, number, place) WHERE state = 'pending';
