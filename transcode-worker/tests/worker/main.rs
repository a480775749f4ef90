//! The worker as a process, with a real database, a real store and real ffmpeg.

mod chunks;
mod hostile;
mod kills;
mod operations;
mod sources;
mod stand;
