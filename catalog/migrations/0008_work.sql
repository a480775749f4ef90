-- How much work jobs are, so that a fleet can be as large as what there is to do.

-- Null: it has not been looked at what it is made of. How long what it makes plays, in milliseconds.
ALTER TABLE jobs ADD COLUMN media_ms BIGINT;
-- When the newest attempt began.
ALTER TABLE jobs ADD COLUMN started_ms BIGINT;
-- How long the attempt took that succeeded; null where none has.
ALTER TABLE jobs ADD COLUMN worked_ms BIGINT;
CREATE INDEX jobs_worked ON jobs (updated_ms) WHERE worked_ms IS NOT NULL;
