-- Dead letters: jobs that failed from a cause that may pass, and keep their files for a replay.

ALTER TABLE jobs ADD COLUMN dead_letter INTEGER NOT NULL DEFAULT 0;

CREATE INDEX jobs_dead_letters ON jobs (created_at, job_id) WHERE dead_letter = 1;
