//! A worker: claims jobs, runs ffmpeg, packages what it made, and publishes it.

pub mod packaging;
