-- All statements of the job store, each with a name.

-- name: job_standing
SELECT run_id, state FROM jobs WHERE job_id = :job_id

-- name: accept_job
INSERT INTO jobs (
    job_id, run_id, state, priority, created_at, ended_at, expires_at,
    source_sha256, source_bytes, cache_key, result_bytes, dead_letter, record, change
) VALUES (
    :job_id, :run_id, :state, :priority, :created_at, :ended_at, :expires_at,
    :source_sha256, :source_bytes, :cache_key, :result_bytes, :dead_letter, :record, :change
)

-- name: save_job
UPDATE jobs SET
    state = :state, priority = :priority, created_at = :created_at, ended_at = :ended_at,
    expires_at = :expires_at, source_sha256 = :source_sha256, source_bytes = :source_bytes,
    cache_key = :cache_key, result_bytes = :result_bytes, dead_letter = :dead_letter, record = :record
WHERE job_id = :job_id AND run_id = :run_id

-- name: put_label
INSERT OR IGNORE INTO job_labels (label, job_id) VALUES (:label, :job_id)

-- name: delete_job
DELETE FROM jobs WHERE job_id = :job_id

-- name: get_job
SELECT record FROM jobs WHERE job_id = :job_id

-- name: list_jobs
SELECT record FROM jobs
WHERE (created_at, job_id) < (:before_time, :before_id)
    AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
    AND NOT EXISTS (
        SELECT 1 FROM json_each(:labels) AS asked
        WHERE NOT EXISTS (
            SELECT 1 FROM job_labels
            WHERE job_labels.label = asked.value AND job_labels.job_id = jobs.job_id
        )
    )
ORDER BY created_at DESC, job_id DESC
LIMIT :page_size

-- name: list_dead_letters
SELECT record FROM jobs
WHERE dead_letter = 1 AND (created_at, job_id) < (:before_time, :before_id)
    AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
    AND NOT EXISTS (
        SELECT 1 FROM json_each(:labels) AS asked
        WHERE NOT EXISTS (
            SELECT 1 FROM job_labels
            WHERE job_labels.label = asked.value AND job_labels.job_id = jobs.job_id
        )
    )
ORDER BY created_at DESC, job_id DESC
LIMIT :page_size

-- name: next_change
UPDATE change_feed SET last_change = last_change + 1 RETURNING last_change

-- name: number_job
UPDATE jobs SET change = :change WHERE job_id = :job_id

-- name: record_start
INSERT OR IGNORE INTO store_starts (start_id, first_change)
SELECT :start_id, last_change + 1 FROM change_feed

-- name: change_head
SELECT last_change, forgotten_change FROM change_feed

-- name: last_change_of
SELECT coalesce(
    (SELECT min(first_change) - 1 FROM store_starts AS later WHERE later.number > asked.number),
    (SELECT last_change FROM change_feed)
)
FROM store_starts AS asked
WHERE start_id = :start_id

-- name: labels_of
SELECT label FROM job_labels WHERE job_id = :job_id

-- name: put_removed
INSERT INTO removed_jobs (change, job_id, run_id, labels, removed_at)
SELECT
    :change, job_id, run_id,
    (SELECT json_group_array(label) FROM job_labels WHERE job_labels.job_id = jobs.job_id), :now
FROM jobs WHERE job_id = :job_id

-- name: changes
SELECT
    change,
    CASE
        WHEN (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
            AND NOT EXISTS (
                SELECT 1 FROM json_each(:labels) AS asked
                WHERE NOT EXISTS (
                    SELECT 1 FROM job_labels
                    WHERE job_labels.label = asked.value AND job_labels.job_id = jobs.job_id
                )
            )
        THEN record
    END AS record,
    NULL AS job_id, NULL AS run_id, NULL AS labels, NULL AS removed_at
FROM jobs
WHERE change > :after AND change <= :until
UNION ALL
SELECT
    change, NULL, job_id, run_id,
    CASE
        WHEN NOT EXISTS (
            SELECT 1 FROM json_each(:labels) AS asked
            WHERE asked.value NOT IN (SELECT value FROM json_each(removed_jobs.labels))
        )
        THEN labels
    END,
    removed_at
FROM removed_jobs
WHERE change > :after AND change <= :until
ORDER BY change
LIMIT :limit

-- name: last_to_forget
SELECT max(
    coalesce((SELECT max(change) FROM removed_jobs WHERE removed_at < :before), 0),
    coalesce((SELECT change FROM removed_jobs ORDER BY change DESC LIMIT 1 OFFSET :keep), 0)
)

-- name: forget_removed
DELETE FROM removed_jobs WHERE change <= :last

-- name: raise_forgotten
UPDATE change_feed SET forgotten_change = max(forgotten_change, :last)

-- name: forget_starts
DELETE FROM store_starts WHERE number <= (SELECT max(number) FROM store_starts) - :keep

-- name: active_jobs
SELECT record FROM jobs WHERE state < 3 ORDER BY created_at, job_id

-- name: standing_runs
SELECT job_id, run_id, state, dead_letter FROM jobs ORDER BY job_id

-- name: ended_results
SELECT job_id, run_id, state, coalesce(ended_at, 0.0), expires_at, result_bytes, dead_letter FROM jobs
WHERE state >= 3
ORDER BY ended_at, job_id

-- name: find_result
SELECT record FROM jobs
WHERE state = 3 AND source_sha256 = :source_sha256 AND cache_key = :cache_key
    AND (expires_at IS NULL OR expires_at > :now)
ORDER BY ended_at DESC, job_id DESC
LIMIT 16

-- name: has_result_of
SELECT EXISTS (
    SELECT 1 FROM jobs
    WHERE state = 3 AND source_sha256 = :source_sha256 AND (expires_at IS NULL OR expires_at > :now)
)

-- name: put_request
INSERT OR REPLACE INTO requests (request_id, job_id, run_id, fingerprint, accepted_at)
VALUES (:request_id, :job_id, :run_id, :fingerprint, :now)

-- name: find_request
SELECT job_id, run_id, fingerprint, deleted_job FROM requests WHERE request_id = :request_id

-- name: keep_deleted_job
UPDATE requests SET deleted_job = (
    SELECT json_set(record, '$.deleted_at', :deleted_at) FROM jobs WHERE jobs.job_id = :job_id
)
WHERE job_id = :job_id AND deleted_job IS NULL

-- name: forget_requests
DELETE FROM requests WHERE accepted_at < :before

-- name: put_upload
INSERT OR REPLACE INTO uploads (upload_id, filename, total_bytes, sha256, complete, touched_at, boot)
VALUES (:upload_id, :filename, :total_bytes, :sha256, :complete, :touched_at, :boot)

-- name: get_upload
SELECT upload_id, filename, total_bytes, sha256, complete, touched_at, boot FROM uploads WHERE upload_id = :upload_id

-- name: find_upload_by_sha256
SELECT upload_id, filename, total_bytes, sha256, complete, touched_at, boot FROM uploads
WHERE complete = 1 AND sha256 = :sha256
ORDER BY touched_at DESC, upload_id DESC
LIMIT 1

-- name: delete_upload
DELETE FROM uploads WHERE upload_id = :upload_id

-- name: stale_uploads
SELECT upload_id, filename, total_bytes, sha256, complete, touched_at, boot FROM uploads
WHERE touched_at < :before
ORDER BY touched_at, upload_id

-- name: count_unfinished_uploads
SELECT count(*) FROM uploads WHERE complete = 0

-- name: unfinished_uploads
SELECT upload_id, filename, total_bytes, sha256, complete, touched_at, boot FROM uploads
WHERE complete = 0
ORDER BY touched_at, upload_id

-- name: put_callback
INSERT INTO callbacks (
    callback_id, job_id, run_id, stage, url, authority, created_at, next_attempt_at, state, attempts, last_error
) VALUES (
    :callback_id, :job_id, :run_id, :stage, :url, :authority, :created_at, :next_attempt_at, :state, :attempts, :last_error
)

-- name: save_callback
UPDATE callbacks SET
    next_attempt_at = :next_attempt_at, state = :state, attempts = :attempts, last_error = :last_error
WHERE callback_id = :callback_id

-- name: due_callbacks
SELECT callback_id, job_id, run_id, stage, url, created_at, next_attempt_at, state, attempts, last_error
FROM callbacks AS due
WHERE state = 'pending' AND next_attempt_at <= :now
    AND authority NOT IN (SELECT value FROM json_each(:passed_over))
    AND NOT EXISTS (
        SELECT 1 FROM callbacks AS earlier
        WHERE earlier.job_id = due.job_id AND earlier.number < due.number
            AND earlier.run_id = due.run_id AND earlier.state = 'pending'
    )
ORDER BY next_attempt_at, number
LIMIT :limit

-- name: next_callback_time
SELECT min(next_attempt_at) FROM callbacks WHERE state = 'pending' AND next_attempt_at > :after

-- name: callbacks_of
SELECT callback_id, job_id, run_id, stage, url, created_at, next_attempt_at, state, attempts, last_error
FROM callbacks WHERE job_id = :job_id ORDER BY number

-- name: jobs_with_pending_callbacks
SELECT DISTINCT job_id FROM callbacks WHERE state = 'pending'
