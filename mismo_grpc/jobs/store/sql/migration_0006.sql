-- A job's options become those of its stages, what was asked before being stems alone; its run is named as clients see it.

UPDATE jobs SET record = json_remove(
    json_set(
        record,
        '$.options', json_object('stages', json_array('STEMS'), 'stems', json(json_extract(record, '$.options'))),
        '$.run_id', json_extract(record, '$.run')
    ),
    '$.run'
);
