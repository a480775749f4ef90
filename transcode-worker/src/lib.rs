//! A worker: claims jobs, runs ffmpeg, packages what it made, and publishes it.

pub mod ffmpeg;
pub mod packaging;
pub mod plan;
pub mod probe;
pub mod problem;
pub mod profile;
pub mod scratch;
