//! The folders that a local store works in, held open.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::errors::from_private;
use super::paths::{KeyPath, PRIVATE_FOLDER};
use super::publish::{remove_abandoned, sync};
use crate::Error;

/// Names in the private folder.
const TEMPORARY: &str = "tmp";
const UPLOADS: &str = "multipart";

/// Open folders: everything is looked up below them, whatever the process's working directory is or the
/// root's own path becomes.
#[derive(Debug)]
pub(super) struct Root {
    /// Where the objects are.
    pub(super) objects: Dir,
    /// The private folders are made by the first write: a folder that is only read may be read-only.
    temporary: OnceLock<Arc<Dir>>,
    uploads: OnceLock<Arc<Dir>>,
}

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Dir::create_ambient_dir_all(path, ambient_authority())?;
        let objects = Dir::open_ambient_dir(path, ambient_authority())?;
        let abandoned = objects.open_dir(PRIVATE_FOLDER).and_then(|private| private.open_dir(TEMPORARY));
        match abandoned.and_then(|temporary| remove_abandoned(&temporary)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "cannot look for abandoned temporary files");
            }
            _ => {}
        }
        Ok(Self { objects, temporary: OnceLock::new(), uploads: OnceLock::new() })
    }

    /// Where files are that have no name yet.
    pub(super) fn temporary(&self) -> Result<Arc<Dir>, Error> {
        self.private(&self.temporary, TEMPORARY)
    }

    /// Where each multipart upload has a folder.
    pub(super) fn uploads(&self) -> Result<Arc<Dir>, Error> {
        self.private(&self.uploads, UPLOADS)
    }

    fn private(&self, opened: &OnceLock<Arc<Dir>>, name: &str) -> Result<Arc<Dir>, Error> {
        if let Some(folder) = opened.get() {
            return Ok(Arc::clone(folder));
        }
        let private = make_folder(&self.objects, PRIVATE_FOLDER);
        let folder = private.and_then(|private| make_folder(&private, name)).map_err(from_private)?;
        Ok(Arc::clone(opened.get_or_init(|| Arc::new(folder))))
    }

    /// The folder that the object belongs in, made if it is not there. `NotFound` when somebody removes it
    /// at the same time.
    pub(super) fn make_folder(&self, path: &KeyPath) -> io::Result<Dir> {
        path.folders().try_fold(self.objects.try_clone()?, |parent, name| make_folder(&parent, name))
    }

    /// Makes a delete survive a crash. A folder that is gone needs no more care.
    pub(super) fn sync_folder(&self, path: &KeyPath) -> io::Result<()> {
        let folder = match path.ancestors().next() {
            Some(folder) => self.objects.open_dir(folder),
            None => self.objects.try_clone(),
        };
        match folder.and_then(|folder| sync(&folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// Removes the folders around a deleted object, from the inside out, up to the first that is not empty.
    pub(super) fn remove_empty_folders(&self, path: &KeyPath) {
        for folder in path.ancestors() {
            if self.objects.remove_dir(folder).is_err() {
                return;
            }
        }
    }
}

fn make_folder(parent: &Dir, name: &str) -> io::Result<Dir> {
    match parent.open_dir(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    match parent.create_dir(name) {
        Ok(()) => sync(parent)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    parent.open_dir(name)
}
