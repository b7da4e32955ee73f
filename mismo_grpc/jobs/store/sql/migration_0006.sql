-- A job's options become those of its stages; what was asked before were stems alone.

UPDATE jobs SET record = json_set(
    record,
    '$.options', json_object('stages', json_array('STEMS'), 'stems', json(json_extract(record, '$.options')))
);
