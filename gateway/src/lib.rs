//! The HTTP edge of Seekway: range delivery of media objects, the console page, health and metrics.
//!
//! In the order in which a request meets them: `server` (listeners, threads, connections), [`framing`] (what is
//! a request at all), `app` (route, method, what every answer has in common), `admission` and [`clients`] (who
//! asks, and may it), [`routes`], [`delivery`] (ranges, conditions, bodies),
//! [`respond`] (problems), `access_log`. [`config`] is what an operator can set.

mod access;
mod access_log;
mod accounts;
mod admission;
mod app;
mod assets;
#[doc(hidden)]
pub mod bench;
mod caller;
pub mod clients;
mod commands;
pub mod config;
mod console;
pub mod delivery;
mod event_stream;
mod feed;
pub mod framing;
mod host;
mod jobs;
mod json;
mod memory_limit;
mod metrics;
mod objects;
mod openapi;
mod request_ids;
pub mod respond;
pub mod routes;
mod server;
mod tracked;
mod upload;
mod videos;
mod webhooks;
mod worker;

pub use commands::run as run_command;
pub use config::Config;
pub use seekway_settings::Configuration;
pub use server::{Gateway, StartError, TlsError};
