//! The gateway as its clients see it: the real server on a real socket, in front of a local folder, of an S3
//! server that fails on demand, and of a real one.

mod abuse;
mod access_log;
mod accounts;
mod browser;
mod commands;
mod compare;
mod conditions;
mod drain;
mod forwarded;
mod http2;
mod http2_writes;
mod keys;
mod limits;
mod load;
mod metrics;
mod origin_down;
mod origin_faults;
mod players;
mod proxy_protocol;
mod ranges;
mod redbot;
mod redis;
mod replacement;
mod schema;
mod server;
mod sharing;
mod smuggling;
mod soak;
mod startup;
mod support;
mod texts;
mod tls;
mod uploads;
mod vanished;
mod videos;
