-- What is nobody's is asked for like what is somebody's: COALESCE(owner, '') = COALESCE($1, ''). The indexes on the columns
-- themselves do not answer that. And who may see an object asks whether its key has changed of late.

CREATE INDEX videos_of_owner_or_nobody ON videos (COALESCE(owner, ''), id DESC);
CREATE INDEX assets_of_owner_or_nobody ON assets (COALESCE(owner, ''), id DESC);
CREATE INDEX uploads_of_account_or_nobody ON uploads (COALESCE(account, ''), created_ms DESC, id DESC);
CREATE INDEX changes_of_key ON changes (object_key, created_ms);
