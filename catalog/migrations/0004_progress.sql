-- How far workers are with a video; all null while none is at it.

ALTER TABLE videos ADD COLUMN progress_phase TEXT;
ALTER TABLE videos ADD COLUMN progress_percent BIGINT;
-- In thousandths of the speed at which it plays.
ALTER TABLE videos ADD COLUMN progress_speed_milli BIGINT;
ALTER TABLE videos ADD COLUMN progress_eta_seconds BIGINT;
