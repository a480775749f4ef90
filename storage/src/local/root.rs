//! The folders that a local store works in, held open.

use std::io;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::paths::{KeyPath, PRIVATE_FOLDER};
use super::publish::{remove_abandoned, sync};

/// Open folders: everything is looked up below them, whatever the process's working directory is or the
/// root's own path becomes.
#[derive(Debug)]
pub(super) struct Root {
    /// Where the objects are.
    pub(super) objects: Dir,
    /// Files that have no name yet.
    pub(super) temporary: Dir,
    /// One folder per multipart upload.
    pub(super) uploads: Dir,
}

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Dir::create_ambient_dir_all(path, ambient_authority())?;
        let objects = Dir::open_ambient_dir(path, ambient_authority())?;
        let temporary = open_private(&objects, "tmp")?;
        let uploads = open_private(&objects, "multipart")?;
        remove_abandoned(&temporary)?;
        Ok(Self { objects, temporary, uploads })
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

fn open_private(objects: &Dir, name: &str) -> io::Result<Dir> {
    make_folder(&make_folder(objects, PRIVATE_FOLDER)?, name)
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
