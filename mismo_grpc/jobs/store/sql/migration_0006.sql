-- Names as clients see them, and the options of a job by stage: what was asked before were stems alone.

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
