-- Lists of jobs by where they stand, and which profile an upload asks for.

CREATE INDEX jobs_by_state ON jobs (state, id);

-- Null: whatever the gateway makes of videos.
ALTER TABLE uploads ADD COLUMN profile TEXT;
