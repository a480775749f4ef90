-- What was uploaded, and who has to hear of it.

CREATE TABLE videos (
    -- It sorts by the time it was made.
    id TEXT PRIMARY KEY,
    owner TEXT REFERENCES accounts (id),
    title TEXT NOT NULL,
    -- The title in lower case, because the engines do not agree on what that is.
    title_folded TEXT NOT NULL,
    visibility TEXT NOT NULL,
    state TEXT NOT NULL,
    source_key TEXT NOT NULL UNIQUE,
    source_etag TEXT NOT NULL,
    source_version TEXT,
    size_bytes BIGINT NOT NULL,
    sha256 TEXT,
    content_type TEXT,
    container TEXT,
    duration_ms BIGINT,
    -- What ffprobe said, as JSON.
    probe TEXT,
    problem TEXT,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL
);
CREATE INDEX videos_of_owner ON videos (owner, id DESC);

CREATE TABLE assets (
    id TEXT PRIMARY KEY,
    owner TEXT REFERENCES accounts (id),
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    title TEXT NOT NULL,
    source_key TEXT NOT NULL UNIQUE,
    source_etag TEXT NOT NULL,
    source_version TEXT,
    size_bytes BIGINT NOT NULL,
    sha256 TEXT,
    content_type TEXT,
    container TEXT,
    created_ms BIGINT NOT NULL
);
CREATE INDEX assets_of_owner ON assets (owner, id DESC);

-- What happened to a video, counted for each from 1.
CREATE TABLE video_events (
    video TEXT NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (video, number)
);

CREATE TABLE votes (
    video TEXT NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    account TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    vote TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (video, account)
);

-- What every replica must hear of. Rows become visible in the order of their numbers.
CREATE TABLE changes (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    object_key TEXT NOT NULL,
    created_ms BIGINT NOT NULL
);

CREATE INDEX changes_by_time ON changes (created_ms);

-- What is to be done outside of the database because of something in it. A row goes when that is done.
CREATE TABLE outbox (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic TEXT NOT NULL,
    payload TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    -- Nobody may claim it before.
    due_ms BIGINT NOT NULL,
    created_ms BIGINT NOT NULL
);
CREATE INDEX outbox_due ON outbox (topic, due_ms, number);
