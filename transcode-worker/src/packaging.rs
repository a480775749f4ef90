//! From the fragmented MP4 files that ffmpeg wrote to what players play.
