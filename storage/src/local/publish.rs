//! Writing: a temporary file that is given its name when it is complete and safe on disk.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cap_std::fs::{Dir, OpenOptions};
use rustix::rand::{GetRandomFlags, getrandom};

use super::errors::from_write;
use super::file::{Stat, settled};
use super::paths::KeyPath;
use super::root::Root;
use crate::{Error, Version};

/// A temporary file that nobody has written to for this long was left by a crash.
const ABANDONED_AFTER: Duration = Duration::from_hours(24);
/// How often a writer makes its folder again when deletes keep removing it while it is empty.
const PUBLISH_ATTEMPTS: usize = 100;
/// Nobody is left to read this: it only ends the work.
const CANCELLED: &str = "the write was cancelled";

/// A file without a public name. Dropping it before it is published removes it.
#[derive(Debug)]
pub(super) struct TempFile {
    root: Arc<Root>,
    /// Where it is until it is published.
    folder: Arc<Dir>,
    name: String,
    /// `None` only while it is being dropped.
    file: Option<File>,
    published: bool,
}

/// The writer's side of a write's last step: once dropped, nothing will be published any more.
#[derive(Debug, Default)]
pub(super) struct Publisher(Arc<Permission>);

/// Whether the writer still wants its object; held while the file gets its name, so that a cancelled write is
/// either wholly before or wholly after that moment.
#[derive(Debug, Default)]
pub(super) struct Permission {
    withdrawn: Mutex<bool>,
}

// === impl TempFile ===

impl TempFile {
    pub(super) fn create(root: &Arc<Root>) -> Result<Self, Error> {
        let name = random_name().map_err(from_write)?;
        let options = OpenOptions::new().read(true).write(true).create_new(true).clone();
        let folder = root.temporary()?;
        let file = folder.open_with(&name, &options).map_err(from_write)?.into_std();
        Ok(Self { root: Arc::clone(root), folder, name, file: Some(file), published: false })
    }

    pub(super) fn file(&mut self) -> &mut File {
        self.file.as_mut().expect("it is taken only by drop")
    }

    pub(super) fn write(&mut self, chunks: &[Bytes]) -> Result<(), Error> {
        chunks.iter().try_for_each(|chunk| self.file().write_all(chunk)).map_err(from_write)
    }

    /// Makes the file the object at `path`: on disk first, then by its name, so that after a crash there is
    /// the old object or the new one, never half of one.
    pub(super) fn publish(mut self, path: &KeyPath, permission: &Permission) -> Result<Version, Error> {
        self.file().sync_all().map_err(from_write)?;
        for _ in 0..PUBLISH_ATTEMPTS {
            match self.try_publish(path, permission) {
                // A delete found the folder empty and removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(from_write(error)),
                Ok(()) => return self.version(),
            }
        }
        Err(Error::Unavailable(Error::shared("its folder kept disappearing")))
    }

    fn try_publish(&mut self, path: &KeyPath, permission: &Permission) -> io::Result<()> {
        let folder = self.root.make_folder(path)?;
        self.rename(&folder, path.file_name(), permission)?;
        match sync(&folder) {
            // The object was deleted at once, and its folder with it: there is nothing to keep.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// Gives the file its name in `folder`, unless the writer has gone away.
    pub(super) fn rename(&mut self, folder: &Dir, name: &str, permission: &Permission) -> io::Result<()> {
        let withdrawn = permission.lock();
        if *withdrawn {
            return Err(io::Error::other(CANCELLED));
        }
        self.folder.rename(&self.name, folder, name)?;
        self.published = true;
        Ok(())
    }

    /// The version of a file that has just got its name. It is the one that readers will see, unless the
    /// file was replaced at once; then it is the one that was there for a moment.
    pub(super) fn version(&mut self) -> Result<Version, Error> {
        let now = SystemTime::now();
        let named = Stat::of(self.file()).map_err(from_write)?;
        let settled = settled(self.file(), now, named)?;
        Ok(if settled.is_unlinked() { named } else { settled }.version())
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let file = self.file.take();
        if self.published {
            return;
        }
        let folder = Arc::clone(&self.folder);
        let name = std::mem::take(&mut self.name);
        let remove = move || {
            if let Err(error) = folder.remove_file(&name) {
                tracing::debug!(%error, name, "temporary file not removed");
            }
            drop(file);
        };
        // Freeing the blocks of a large file takes long enough to notice on a thread that serves others. The
        // runtime owns the task, which waits for nothing but the disk: it ends when the file is removed.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

// === impl Permission ===

impl Permission {
    /// A look between two steps of long work; the rename looks for itself.
    pub(super) fn check(&self) -> Result<(), Error> {
        if *self.lock() { Err(Error::Other(Error::shared(CANCELLED))) } else { Ok(()) }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.withdrawn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Publisher ===

impl Publisher {
    pub(super) fn permission(&self) -> Arc<Permission> {
        Arc::clone(&self.0)
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        *self.0.lock() = true;
    }
}

/// Makes the names in a folder survive a crash.
pub(super) fn sync(folder: &Dir) -> io::Result<()> {
    // Folders are opened without the right to be synced (`O_PATH`), so open it once more.
    folder.open(".")?.sync_all()
}

/// Removes what a crash left in the folder of temporary files.
pub(super) fn remove_abandoned(temporary: &Dir) -> io::Result<()> {
    for entry in temporary.entries()? {
        let entry = entry?;
        // Another process may finish with it meanwhile.
        let Ok(modified) = entry.metadata().and_then(|metadata| metadata.modified()) else { continue };
        let age = SystemTime::now().duration_since(modified.into_std()).unwrap_or_default();
        if age > ABANDONED_AFTER {
            tracing::info!(name = ?entry.file_name(), ?age, "removing an abandoned temporary file");
            if let Err(error) = temporary.remove_file(entry.file_name()) {
                tracing::warn!(%error, name = ?entry.file_name(), "abandoned temporary file not removed");
            }
        }
    }
    Ok(())
}

/// 128 random bits in hex: no two writers meet, and nobody guesses another one's upload.
pub(super) fn random_name() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    // Reads of up to 256 bytes are never short (getrandom(2)).
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
