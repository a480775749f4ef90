//! The crate's one error: what a scenario or a test that starts a server can run into.

use std::path::PathBuf;

/// Why a server could not be started, or a request could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A binary that the test needs is not installed.
    #[error("{name} was not found (looked at {looked_at}); run `scripts/setup test`")]
    MissingBinary {
        /// The binary's name.
        name: &'static str,
        /// The places that were tried, for the reader of the message.
        looked_at: String,
    },
    /// A child process ended while it was still wanted.
    #[error("{name} ended with {status}; the end of its log:\n{log}")]
    ChildEnded {
        /// The binary's name.
        name: &'static str,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// The last lines that it wrote.
        log: String,
    },
    /// A server did not answer properly within its time.
    #[error("{name} was not ready after {waited:?}; last answer: {last}; the end of its log:\n{log}")]
    NotReady {
        /// The server's name.
        name: &'static str,
        /// How long it was waited for.
        waited: std::time::Duration,
        /// What the last attempt saw.
        last: String,
        /// The last lines that it wrote.
        log: String,
    },
    /// A server answered something that the caller cannot use.
    #[error("unexpected answer to {request}: {answer}")]
    UnexpectedAnswer {
        /// Method and path.
        request: String,
        /// Status, and the body when it explains the status.
        answer: String,
    },
    /// An address cannot be put under load.
    #[error("cannot load {url}: {why}")]
    Target {
        /// What was asked for.
        url: String,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// A body differed from the object's bytes.
    #[error("{request} returned a wrong byte at object offset {offset}")]
    WrongByte {
        /// Method, path and range.
        request: String,
        /// Where in the object the first difference is.
        offset: u64,
    },
    /// A request did not end in time.
    #[error("{request} did not end within {limit:?}")]
    Timeout {
        /// Method, path and range.
        request: String,
        /// The limit that was passed.
        limit: std::time::Duration,
    },
    /// A file or a folder could not be used.
    #[error("cannot use {path}: {source}", path = path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The connection failed, or the body ended before its announced length.
    #[error("HTTP failed: {0}")]
    Http(#[from] hyper::Error),
    /// An HTTP/2 connection or stream failed.
    #[error("HTTP/2 failed: {0}")]
    Http2(#[from] h2::Error),
    /// A request could not be built from its parts.
    #[error("malformed request: {0}")]
    Request(#[from] http::Error),
    /// A socket or a process could not be used.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
