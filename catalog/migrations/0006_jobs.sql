-- Work on videos, and what it made. Times are milliseconds since 1970.

CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    video TEXT NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    profile TEXT NOT NULL,
    -- Null: all that the profile makes.
    rendition TEXT,
    -- Higher ones are claimed first.
    priority BIGINT NOT NULL,
    state TEXT NOT NULL,
    -- From when on it may be claimed.
    due_ms BIGINT NOT NULL,
    -- Counted by each claim and never again lower: who holds another number is too late.
    attempt BIGINT NOT NULL,
    -- How many of the attempts ended in which way.
    failures BIGINT NOT NULL,
    memory_failures BIGINT NOT NULL,
    interruptions BIGINT NOT NULL,
    worker TEXT,
    leased_until_ms BIGINT,
    -- 1: whoever runs it is to stop.
    is_cancelled BIGINT NOT NULL,
    failure TEXT,
    problem TEXT,
    log TEXT,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL
);
CREATE INDEX jobs_of_video ON jobs (video);
-- Small, whatever has been done before.
CREATE INDEX jobs_claimable ON jobs (priority DESC, due_ms, id) WHERE state IN ('queued', 'retry');
CREATE INDEX jobs_leased ON jobs (leased_until_ms) WHERE state IN ('leased', 'running');

-- Where what a video became lies in the store; null before. What else lies there is nobody's.
ALTER TABLE videos ADD COLUMN published_prefix TEXT;
-- What lies there, as JSON.
ALTER TABLE videos ADD COLUMN published TEXT;
