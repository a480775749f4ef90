-- Jobs that are split into parts, which any workers do at once.

-- Null: a job by itself. Else it is a part of that one.
ALTER TABLE jobs ADD COLUMN parent TEXT REFERENCES jobs (id) ON DELETE CASCADE;
-- What exactly is to be made, as the workers' JSON; null: all that the profile makes of the video.
ALTER TABLE jobs ADD COLUMN brief TEXT;
-- What a part has made, as JSON, for as long as that lies in the store; null: nothing yet, or no longer.
ALTER TABLE jobs ADD COLUMN made TEXT;
-- How long what it makes plays; null: not known.
ALTER TABLE jobs ADD COLUMN media_ms BIGINT;
-- How much a worker has to fetch for it; null: all of the video.
ALTER TABLE jobs ADD COLUMN source_bytes BIGINT;
-- Among those that may be claimed, whose turn it is; null: since when it may.
ALTER TABLE jobs ADD COLUMN turn_ms BIGINT;
-- How far a part is.
ALTER TABLE jobs ADD COLUMN percent BIGINT;

CREATE INDEX jobs_of_parent ON jobs (parent) WHERE parent IS NOT NULL;
CREATE INDEX jobs_by_turn ON jobs (priority DESC, (COALESCE(turn_ms, due_ms)), id) WHERE state IN ('queued', 'retry');
