-- A request_id is still answered after its job was deleted: `deleted_job` is the job's last record with `deleted_at`.

ALTER TABLE requests ADD COLUMN deleted_job TEXT;

CREATE INDEX requests_of_job ON requests (job_id);

-- Artifacts get a size and a checksum; for existing results both are unknown.

UPDATE jobs SET record = json_set(record, '$.artifacts', json((
    SELECT json_group_array(json_object('name', value, 'total_bytes', 0, 'sha256', ''))
    FROM json_each(record, '$.artifacts')
)))
WHERE json_type(record, '$.artifacts') = 'array';
