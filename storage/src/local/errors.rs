//! What the operating system's errors mean for a caller.

use std::io;

use rustix::io::Errno;

use super::paths::PRIVATE_FOLDER;
use crate::Error;

/// The meaning of a failed read, stat or delete.
pub(super) fn from_io(error: io::Error) -> Error {
    match Errno::from_io_error(&error) {
        // A file where a folder is needed, a socket, a link that leads nowhere: no object is there.
        Some(Errno::NOENT | Errno::NOTDIR | Errno::NXIO | Errno::NODEV | Errno::LOOP) => Error::NotFound,
        Some(Errno::NAMETOOLONG) => Error::InvalidKey("a component is too long for the file system"),
        Some(Errno::STALE) => Error::VersionChanged,
        // Descriptors or memory ran out, or `openat2` lost a race with renames: a little later it may work.
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN) => {
            Error::Unavailable(Error::shared(error))
        }
        // Without a number it is cap-std's own refusal: the path led out of the root.
        Some(Errno::ACCESS | Errno::PERM) => Error::Forbidden(Error::shared(error)),
        None if error.kind() == io::ErrorKind::PermissionDenied => Error::Forbidden(Error::shared(error)),
        _ => Error::Other(Error::shared(error)),
    }
}

/// The meaning of a failed write: an object in the way of a folder, or the reverse, is a key that this store
/// cannot have, and a missing folder is never a missing object.
pub(super) fn from_write(error: io::Error) -> Error {
    match Errno::from_io_error(&error) {
        Some(Errno::NOTDIR) => Error::InvalidKey("one of its folders is an object"),
        Some(Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY) => Error::InvalidKey("a folder has this name"),
        Some(Errno::NOENT | Errno::STALE) => Error::Other(Error::shared(error)),
        Some(Errno::NOSPC | Errno::DQUOT) => Error::Full(Error::shared(error)),
        _ => from_io(error),
    }
}

/// The meaning of a failure to open or make the store's own folder, which is never about a key.
pub(super) fn from_private(error: io::Error) -> Error {
    let text = format!("cannot use {PRIVATE_FOLDER}: {error}");
    match from_write(error) {
        Error::NotFound | Error::VersionChanged | Error::InvalidKey(_) => Error::Other(Error::shared(text)),
        meaning => meaning,
    }
}

/// Runs file system work where it may block, and makes its panic or the runtime's end an error. Work whose
/// future is dropped belongs to the runtime and runs to its end; a write then publishes nothing more.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(from_join(error)))
}

/// The meaning of a blocking task that did not finish.
pub(super) fn from_join(error: tokio::task::JoinError) -> Error {
    if error.is_cancelled() {
        Error::Unavailable(Error::shared(error))
    } else {
        Error::Other(Error::shared(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_room_is_a_full_store() {
        for errno in [Errno::NOSPC, Errno::DQUOT] {
            assert!(matches!(from_write(errno.into()), Error::Full(_)), "{errno}");
        }
    }
}
