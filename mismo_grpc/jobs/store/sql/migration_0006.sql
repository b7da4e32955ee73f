-- Columns get the names of the contract, and options are stored by stage: existing jobs asked for stems only.

ALTER TABLE jobs RENAME COLUMN run TO run_id;
ALTER TABLE requests RENAME COLUMN run TO run_id;
ALTER TABLE callbacks RENAME COLUMN run TO run_id;
ALTER TABLE callbacks RENAME COLUMN place TO authority;

UPDATE jobs SET record = json_remove(
    json_set(
        record,
        '$.run_id', json_extract(record, '$.run'),
        '$.model_fingerprint', coalesce(json_extract(record, '$.recipe'), ''),
        '$.options', json_object('stages', json_array('STEMS'), 'stems', json(json_extract(record, '$.options')))
    ),
    '$.run', '$.recipe'
);
