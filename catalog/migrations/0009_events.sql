-- What programs are told of: the feed of events, and webhooks. Times are milliseconds since 1970.

-- What has happened and has no place in the feed yet: written by what causes it, in the same transaction.
CREATE TABLE feed_inbox (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    -- Who is told of it, besides admins. What it names may be gone by then.
    owner TEXT,
    video TEXT,
    job TEXT,
    webhook TEXT,
    title TEXT,
    problem TEXT,
    created_ms BIGINT NOT NULL
);

-- The same with its place. Rows become visible in the order of their numbers, and go in that order, the newest never.
CREATE TABLE feed (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    owner TEXT,
    video TEXT,
    job TEXT,
    webhook TEXT,
    title TEXT,
    problem TEXT,
    created_ms BIGINT NOT NULL
);
CREATE INDEX feed_of_owner_or_nobody ON feed (COALESCE(owner, ''), number);

CREATE TABLE webhooks (
    id TEXT PRIMARY KEY,
    -- Null: of whoever works at the machine of a gateway without accounts.
    account TEXT REFERENCES accounts (id) ON DELETE CASCADE,
    url TEXT NOT NULL,
    description TEXT NOT NULL,
    -- The kinds of events that it is told of, each between two spaces; empty: all.
    kinds TEXT NOT NULL,
    -- 1: of everybody's, for as long as the account is an admin's.
    hears_all BIGINT NOT NULL,
    state TEXT NOT NULL,
    -- Why it was disabled, where its owner did not do it.
    problem TEXT,
    secret BYTEA NOT NULL,
    -- Signs beside the other until then.
    previous_secret BYTEA,
    previous_until_ms BIGINT,
    -- Since when every attempt has failed; null: the last one succeeded.
    failing_since_ms BIGINT,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL
);
CREATE INDEX webhooks_of_account_or_nobody ON webhooks (COALESCE(account, ''), id);
-- Few, however many webhooks there are.
CREATE INDEX webhooks_of_everybody ON webhooks (hears_all) WHERE hears_all = 1;

-- One event for one webhook.
CREATE TABLE webhook_deliveries (
    webhook TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    event BIGINT NOT NULL REFERENCES feed (number) ON DELETE CASCADE,
    state TEXT NOT NULL,
    -- Counted by each claim and never again lower: who holds another number is too late.
    claims BIGINT NOT NULL,
    -- Claims since it was last asked for.
    attempts BIGINT NOT NULL,
    -- Nobody may claim it before.
    due_ms BIGINT NOT NULL,
    -- Since when it is to be delivered.
    asked_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (webhook, event)
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook, due_ms, event) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_of_event ON webhook_deliveries (event);

CREATE TABLE webhook_attempts (
    webhook TEXT NOT NULL,
    event BIGINT NOT NULL,
    -- The claim's.
    number BIGINT NOT NULL,
    started_ms BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL,
    -- Null: there was no answer.
    status BIGINT,
    -- Why it does not count; null where it does.
    problem TEXT,
    -- How the answer's body begins.
    answer TEXT NOT NULL,
    PRIMARY KEY (webhook, event, number),
    FOREIGN KEY (webhook, event) REFERENCES webhook_deliveries (webhook, event) ON DELETE CASCADE
);
