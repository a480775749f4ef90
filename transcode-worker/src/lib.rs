//! A worker: claims jobs, runs ffmpeg, packages what it made, and publishes it.
//!
//! Read in the order in which things happen: [`worker`] claims, [`attempt`] holds the lease ([`lease`]) and says how it
//! ended, [`work`] goes through the phases: [`fetch`], [`probe`], [`plan`] (a pure function of the probe and the
//! [`profile`]), [`ffmpeg`], [`packaging`], [`publish`]. A long video is split into parts
//! ([`brief`]), which any workers make. Files are in a [`scratch`] folder meanwhile.

pub mod admin;
pub mod attempt;
pub mod brief;
mod commands;
pub mod config;
pub mod fetch;
pub mod ffmpeg;
pub mod lease;
pub mod metrics;
pub mod outputs;
pub mod packaging;
pub mod plan;
pub mod probe;
pub mod problem;
pub mod profile;
pub mod publish;
pub mod scratch;
pub mod start;
pub mod work;
pub mod worker;

pub use commands::run as run_command;
pub use config::Config;
