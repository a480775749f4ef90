//! Uploads, over real sockets: by every protocol, with SQLite and a local folder, and with PostgreSQL and SeaweedFS.

mod clients;
mod concat;
mod direct;
pub(crate) mod form;
mod kills;
mod left;
mod memory;
mod metrics;
mod names;
pub(crate) mod ownership;
mod quotas;
mod resumable;
pub(crate) mod stand;
mod tus;
mod types;
mod windows;
