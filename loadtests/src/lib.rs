//! What Seekway is measured and tested against, over nothing but HTTP.
//!
//! - [`seaweed`] starts a real S3 server for tests.
//! - [`client`] is one keep-alive HTTP/1.1 connection that times and checks what it reads.

pub mod client;
mod error;
pub mod seaweed;

pub use error::Error;
