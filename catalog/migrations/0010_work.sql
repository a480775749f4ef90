-- How much work jobs are, so that a fleet can be as large as what there is to do.

-- When the newest attempt began.
ALTER TABLE jobs ADD COLUMN started_ms BIGINT;
-- How long the attempt took that succeeded; null where none has.
ALTER TABLE jobs ADD COLUMN worked_ms BIGINT;
CREATE INDEX jobs_worked ON jobs (updated_ms) WHERE worked_ms IS NOT NULL;

-- Jobs by how much work they are. To put parts together takes as good as nothing, and what parts made of a source take is no
-- measure for all of it.
CREATE VIEW work AS SELECT jobs.id, jobs.state, due_ms, started_ms, worked_ms, jobs.updated_ms, jobs.profile, size_bytes,
    CASE WHEN parent IS NOT NULL THEN 'part' ELSE COALESCE(rendition, '') END AS kind,
    CASE WHEN parent IS NULL AND brief IS NOT NULL THEN 0 ELSE media_ms END AS media_ms
    FROM jobs JOIN videos ON videos.id = jobs.video;
