//! A local folder as an object store.
//!
//! A key is a path below the root. Keys that are no plain path (`..`, empty components, a backslash) are
//! refused, and every file is opened with `openat2` and `RESOLVE_BENEATH`, so that a symbolic link cannot lead
//! out either. Only regular files are objects. The folder `.seekway` in the root is the store's own: files
//! that are being written, and multipart uploads. The first write makes it, so a folder may be read-only for a
//! store that only reads.
//!
//! What a file system cannot do as S3 does:
//! - It has no place for [`Attributes`]: they are not stored and come back empty.
//! - `a` and `a/b` cannot both be objects; writing the second is [`Error::InvalidKey`].
//! - Parts of an upload may have any size, and an upload that nobody completes or aborts stays.
//!
//! How versions are told apart, and what happens when a file changes while it is read, is in `local/file.rs`.

mod body;
mod errors;
mod file;
mod multipart;
mod paths;
mod publish;
mod root;
mod walk;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::sleep;

use self::body::Body;
use self::errors::{blocking, from_io};
use self::file::{OpenFile, Reading};
use self::paths::KeyPath;
use self::publish::{Publisher, TempFile};
use self::root::Root;
use crate::{
    Attributes, ByteStream, Error, Get, Listing, Object, ObjectKey, ObjectStore, Page, Part, PartNumber,
    Parts, PresignedPart, UploadId, Uploads, Version,
};

/// How much of a body is gathered before it is written: a hop to a blocking thread costs about as much as
/// writing a few kilobytes.
const WRITE_BYTES: usize = 256 * 1024;
/// How often is looked whether somebody else has completed an upload.
const COMPLETING_AGAIN: Duration = Duration::from_millis(50);

/// An object store in a folder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LocalStore {
    root: Arc<Root>,
}

impl LocalStore {
    /// Opens the folder, makes it if it is not there, and removes what a crash left behind if it can. Blocks.
    pub fn open(root: &Path) -> Result<Self, io::Error> {
        Ok(Self { root: Arc::new(Root::open(root)?) })
    }

    /// Runs `work` on the root where it may block.
    async fn on_root<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Root>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let root = Arc::clone(&self.root);
        blocking(move || work(&root)).await
    }
}

#[async_trait]
impl ObjectStore for LocalStore {
    /// The file is opened and looked at once, in one hop at most, and stays open as the object's pin.
    async fn head(&self, key: &ObjectKey) -> Result<Object, Error> {
        let path = KeyPath::new(key)?;
        if let Some(file) = OpenFile::open_cached(&self.root.objects, &path) {
            return Ok(Arc::new(file).object());
        }
        self.on_root(move |root| Ok(Arc::new(OpenFile::open(&root.objects, &path)?).object())).await
    }

    async fn get(&self, key: &ObjectKey, range: Range<u64>, expected: Option<&Object>) -> Result<Get, Error> {
        let path = KeyPath::new(key)?;
        let pinned = expected.and_then(|object| object.pin.get::<OpenFile>()).filter(|file| file.key == *key);
        let expected = expected.map(|object| object.version.clone());
        self.on_root(move |root| {
            let file = match pinned {
                Some(file) => file,
                None => Arc::new(OpenFile::open(&root.objects, &path)?),
            };
            let object = file.object();
            if expected.is_some_and(|expected| expected != object.version) {
                return Err(Error::VersionChanged);
            }
            let range = range.start..range.end.min(object.size);
            if range.is_empty() {
                return Err(Error::RangeNotSatisfiable { size: Some(object.size) });
            }
            // The first chunk is read here, in the same hop.
            let (first, rest) = Reading::new(file, range.clone()).chunk()?;
            Ok(Get { object, range, body: Box::pin(Body::new(first, rest)) })
        })
        .await
    }

    async fn list(&self, prefix: &str, page: Page) -> Result<Listing, Error> {
        let prefix = prefix.to_owned();
        self.on_root(move |root| walk::list(&root.objects, &prefix, &page)).await
    }

    async fn put(&self, key: &ObjectKey, _: &Attributes, mut body: ByteStream) -> Result<Version, Error> {
        let path = KeyPath::new(key)?;
        let publisher = Publisher::default();
        let mut temp = self.on_root(TempFile::create).await?;
        loop {
            let chunks = next_chunks(&mut body).await?;
            if chunks.is_empty() {
                break;
            }
            temp = blocking(move || temp.write(&chunks).map(|()| temp)).await?;
        }
        let permission = publisher.permission();
        blocking(move || temp.publish(&path, &permission)).await
    }

    async fn create_multipart(&self, key: &ObjectKey, _: &Attributes) -> Result<UploadId, Error> {
        let path = KeyPath::new(key)?;
        self.on_root(move |root| multipart::create(root, &path)).await
    }

    async fn put_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: PartNumber,
        body: Bytes,
    ) -> Result<Part, Error> {
        let path = KeyPath::new(key)?;
        let upload = upload.clone();
        let publisher = Publisher::default();
        let permission = publisher.permission();
        self.on_root(move |root| multipart::put_part(root, &path, &upload, number, &body, &permission)).await
    }

    async fn complete_multipart(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[Part],
    ) -> Result<Version, Error> {
        let path = KeyPath::new(key)?;
        let publisher = Publisher::default();
        loop {
            let (path, upload, parts) = (path.clone(), upload.clone(), parts.to_vec());
            let permission = publisher.permission();
            let complete =
                move |root: &Arc<Root>| multipart::complete(root, &path, &upload, &parts, &permission);
            match self.on_root(complete).await? {
                Some(version) => return Ok(version),
                None => sleep(COMPLETING_AGAIN).await,
            }
        }
    }

    async fn list_parts(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        after: Option<PartNumber>,
    ) -> Result<Parts, Error> {
        let path = KeyPath::new(key)?;
        let upload = upload.clone();
        self.on_root(move |root| multipart::list_parts(root, &path, &upload, after)).await
    }

    async fn list_multipart(&self, prefix: &str, page: Page) -> Result<Uploads, Error> {
        let prefix = prefix.to_owned();
        self.on_root(move |root| multipart::list(root, &prefix, &page)).await
    }

    async fn presign_part(
        &self,
        _: &ObjectKey,
        _: &UploadId,
        _: PartNumber,
        _: u64,
        _: Duration,
    ) -> Result<PresignedPart, Error> {
        Err(Error::Unsupported("clients cannot write to a local folder by themselves"))
    }

    async fn abort_multipart(&self, key: &ObjectKey, upload: &UploadId) -> Result<(), Error> {
        let path = KeyPath::new(key)?;
        let upload = upload.clone();
        self.on_root(move |root| multipart::abort(root, &path, &upload)).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), Error> {
        let path = KeyPath::new(key)?;
        self.on_root(move |root| match delete(root, &path) {
            Err(Error::NotFound) => Ok(()),
            done => done,
        })
        .await
    }

    fn head_is_cheap(&self) -> bool {
        true
    }
}

/// The next [`WRITE_BYTES`] or more of the body; nothing at its end.
async fn next_chunks(body: &mut ByteStream) -> Result<Vec<Bytes>, Error> {
    let mut chunks = Vec::new();
    let mut bytes = 0;
    while bytes < WRITE_BYTES {
        let Some(chunk) = body.next().await.transpose()? else { break };
        if !chunk.is_empty() {
            bytes += chunk.len();
            chunks.push(chunk);
        }
    }
    Ok(chunks)
}

/// Removes the object's name, for good, and the folders that it leaves empty.
fn delete(root: &Root, path: &KeyPath) -> Result<(), Error> {
    let metadata = root.objects.metadata(path.as_str()).map_err(from_io)?;
    if !metadata.is_file() {
        return Err(Error::NotFound);
    }
    root.objects.remove_file(path.as_str()).map_err(from_io)?;
    root.sync_folder(path).map_err(from_io)?;
    root.remove_empty_folders(path);
    Ok(())
}
