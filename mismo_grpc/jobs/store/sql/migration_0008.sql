-- A request_id goes on to answer after its job was deleted: `deleted_job` is the record of then, with the time.

ALTER TABLE requests ADD COLUMN deleted_job TEXT;

CREATE INDEX requests_of_job ON requests (job_id);

-- Artifacts have a size and a checksum beside their name; of results of before neither is known.

UPDATE jobs SET record = json_set(record, '$.artifacts', json((
    SELECT json_group_array(json_object('name', value, 'total_bytes', 0, 'sha256', ''))
    FROM json_each(record, '$.artifacts')
)))
WHERE json_type(record, '$.artifacts') = 'array';
