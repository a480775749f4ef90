//! Uploads, over real sockets: by every protocol, with SQLite and a local folder, and with PostgreSQL and SeaweedFS.

pub(crate) mod stand;
mod tus;
