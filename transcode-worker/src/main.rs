//! The transcode worker.

fn main() {}
