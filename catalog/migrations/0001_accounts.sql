-- People, and what proves who they are. Times are milliseconds since 1970.

CREATE TABLE accounts (
    id TEXT PRIMARY KEY,
    -- An e-mail address, folded to lower case.
    address TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    -- In the PHC string format, which tells its own algorithm and cost.
    password_hash TEXT NOT NULL,
    role TEXT NOT NULL,
    -- Null: what the operator allows everybody.
    quota_bytes BIGINT,
    quota_uploads BIGINT,
    created_ms BIGINT NOT NULL
);

CREATE TABLE sessions (
    token_hash BYTEA PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    client TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);
CREATE INDEX sessions_of_account ON sessions (account);
CREATE INDEX sessions_by_end ON sessions (expires_ms);

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    key_hash BYTEA NOT NULL UNIQUE,
    created_ms BIGINT NOT NULL,
    last_used_ms BIGINT,
    revoked_ms BIGINT
);
CREATE INDEX api_keys_of_account ON api_keys (account);

-- One signs at a time; those before it are still believed until they expire.
CREATE TABLE signing_keys (
    id TEXT PRIMARY KEY,
    private_key TEXT NOT NULL,
    public_key TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    retires_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);

CREATE TABLE login_attempts (
    subject TEXT PRIMARY KEY,
    attempts BIGINT NOT NULL,
    since_ms BIGINT NOT NULL
);
