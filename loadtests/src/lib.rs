//! What Seekway is measured and tested against, over nothing but HTTP.
//!
//! - [`origin`] is an S3-compatible server with a chosen latency, bandwidth and set of faults.
//! - [`pattern`] makes and checks the bytes of its objects.
//! - [`seaweed`] starts a real S3 server for tests.
//! - [`gateway`] starts the gateway as a child, [`cold_seek`] measures it, and a [`report`] says what came of it.
//! - [`soak`] runs scenarios that promise something under load; [`footprint`] is what they weigh.
//! - [`hedging`] measures what asking twice does for late answers.
//! - [`client`] is one keep-alive HTTP/1.1 connection that times what it reads.

pub mod client;
pub mod cold_seek;
mod error;
pub mod footprint;
pub mod gateway;
pub mod hedging;
pub mod origin;
pub mod pattern;
pub mod report;
pub mod seaweed;
pub mod soak;

pub use error::Error;
