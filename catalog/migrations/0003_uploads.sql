-- What is being uploaded: how far it is, and whose turn it is to write.

CREATE TABLE uploads (
    id TEXT PRIMARY KEY,
    account TEXT REFERENCES accounts (id),
    via TEXT NOT NULL,
    purpose TEXT NOT NULL,
    state TEXT NOT NULL,
    object_key TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    -- As the client sent it.
    metadata TEXT NOT NULL,
    content_type TEXT,
    length_bytes BIGINT,
    -- What is committed: parts, and the remainder after the last one.
    offset_bytes BIGINT NOT NULL,
    -- The newest writer's number; nobody else may commit.
    epoch BIGINT NOT NULL,
    next_part BIGINT NOT NULL,
    store_upload TEXT,
    remainder_key TEXT,
    remainder_bytes BIGINT NOT NULL,
    hash_state BYTEA,
    sha256 TEXT,
    container TEXT,
    concat TEXT,
    problem TEXT,
    idempotency_key TEXT,
    fingerprint TEXT,
    -- Bytes that its account may have altogether.
    quota_bytes BIGINT,
    -- How far each commit pushes the end ahead.
    lifetime_ms BIGINT NOT NULL,
    video TEXT,
    asset TEXT,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);
CREATE UNIQUE INDEX uploads_once ON uploads (COALESCE(account, ''), idempotency_key);
CREATE INDEX uploads_of_account ON uploads (account, created_ms DESC, id DESC);
CREATE INDEX uploads_by_state ON uploads (state, updated_ms);

CREATE TABLE upload_parts (
    upload TEXT NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    start_bytes BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    etag TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    PRIMARY KEY (upload, number)
);
