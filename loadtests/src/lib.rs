//! What Seekway is measured and tested against, over nothing but HTTP.
//!
//! - [`origin`] is an S3-compatible server with a chosen latency, bandwidth and set of faults.
//! - [`pattern`] makes and checks the bytes of its objects.
//! - [`seaweed`] starts a real S3 server for tests.
//! - [`redis`] starts a real Redis: alone, watched by Sentinels, or as a Cluster.
//! - [`postgres`] starts a real PostgreSQL, [`pgbouncer`] a pooler in front of it.
//! - [`gateway`] starts the gateway as a child, [`cold_seek`] measures it, and a [`report`] says what came of it.
//! - [`soak`] runs scenarios that promise something under load; [`footprint`] is what they weigh.
//! - [`hedging`] measures what asking twice does for late answers.
//! - [`load`] puts a workload on any server that speaks HTTP, and measures what comes of it.
//! - [`compare`] puts the same workloads on Seekway and on other servers, in turns.
//! - [`peers`] are those servers; [`processes`] is what they cost.
//! - [`nginx`] starts a real nginx, [`h2load`] loads a server over HTTP/2.
//! - [`rabbitmq`] and [`moto`] start brokers; a [`way`] to any server can be cut, held up and slowed down.
//! - [`client`] is one keep-alive HTTP/1.1 connection that times what it reads.

mod child;
pub mod client;
pub mod cold_seek;
pub mod compare;
mod error;
pub mod footprint;
pub mod gateway;
pub mod h2load;
pub mod hedging;
pub mod load;
pub mod moto;
pub mod nginx;
pub mod origin;
pub mod pattern;
pub mod peers;
pub mod pgbouncer;
pub mod postgres;
pub mod processes;
pub mod rabbitmq;
pub mod redis;
pub mod report;
pub mod seaweed;
pub mod soak;
pub mod way;

pub use error::Error;
