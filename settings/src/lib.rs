//! The settings that Seekway's programs share, and how any of theirs are read and checked.
//!
//! Every setting is a flag with an environment variable; the flag wins, and an empty variable counts as unset. One that
//! is wrong is one line on stderr, which names the setting and says what is allowed, and exit code 64.

pub mod command_line;
pub mod database;
pub mod documentation;
pub mod logs;
pub mod queue;
pub mod storage;
pub mod store;
pub mod values;

pub use command_line::{Configuration, Settings, Stop};
pub use database::DatabaseSettings;
pub use logs::LogSettings;
pub use queue::QueueSettings;
pub use storage::{StorageBackend, StorageSettings};
