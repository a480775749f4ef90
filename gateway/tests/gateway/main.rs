//! The gateway as its clients see it: the real server on a real socket, in front of a local folder, of an S3
//! server that fails on demand, and of a real one.

mod browser;
mod conditions;
mod drain;
mod keys;
mod origin_down;
mod origin_faults;
mod players;
mod ranges;
mod replacement;
mod server;
mod sharing;
mod soak;
mod startup;
mod support;
