//! Multipart uploads: a folder for each, with one file per part and one that names the key.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::sync::Arc;

use bytes::Bytes;
use cap_std::fs::Dir;

use super::errors::{from_io, from_write};
use super::file::Stat;
use super::paths::KeyPath;
use super::publish::{Permission, TempFile, random_name, sync};
use super::root::Root;
use crate::{Error, ObjectKey, Page, Part, PartNumber, Parts, UploadEntry, UploadId, Uploads, Version};

/// The file in an upload's folder that holds the key.
const KEY_FILE: &str = "key";
/// The most in one page of a listing: S3's own limit.
const UPLOADS_MAX: usize = 1000;
/// How often the removal of an upload starts again because a part arrived meanwhile.
const REMOVE_ATTEMPTS: usize = 10;

pub(super) fn create(root: &Arc<Root>, path: &KeyPath) -> Result<UploadId, Error> {
    let id = random_name().map_err(from_write)?;
    let uploads = root.uploads()?;
    uploads.create_dir(&id).map_err(from_write)?;
    let folder = uploads.open_dir(&id).map_err(from_write)?;
    folder.write(KEY_FILE, path.as_str()).map_err(from_write)?;
    folder.open(KEY_FILE).and_then(|file| file.sync_all()).map_err(from_write)?;
    sync(&folder).and_then(|()| sync(&uploads)).map_err(from_write)?;
    Ok(UploadId(id))
}

pub(super) fn put_part(
    root: &Arc<Root>,
    path: &KeyPath,
    upload: &UploadId,
    number: PartNumber,
    body: &Bytes,
    permission: &Permission,
) -> Result<Part, Error> {
    let folder = open(root, path, upload)?;
    let mut temp = TempFile::create(root)?;
    temp.write(std::slice::from_ref(body))?;
    temp.file().sync_all().map_err(from_write)?;
    // The rename replaces an earlier part of this number. It fails when the upload was dropped meanwhile.
    temp.rename(&folder, &part_name(number), permission).map_err(from_upload)?;
    sync(&folder).map_err(from_upload)?;
    let etag = temp.version()?.etag.to_string();
    Ok(Part { number, etag, size: u64::try_from(body.len()).expect("usize fits in u64") })
}

/// `None` while somebody else is at it.
pub(super) fn complete(
    root: &Arc<Root>,
    path: &KeyPath,
    upload: &UploadId,
    parts: &[Part],
    permission: &Permission,
) -> Result<Option<Version>, Error> {
    let folder = open(root, path, upload)?;
    let Some(_turn) = turn(&folder)? else { return Ok(None) };
    if parts.is_empty() || !parts.is_sorted_by(|a, b| a.number < b.number) {
        return Err(invalid("parts must be listed once each, in the order of their numbers"));
    }
    let mut object = TempFile::create(root)?;
    for part in parts {
        permission.check()?;
        append(&mut object, &folder, part)?;
    }
    let version = object.publish(path, permission)?;
    // The object is there, so a leftover only takes space.
    if let Err(error) = remove(root, upload) {
        tracing::warn!(%error, upload = upload.0, "parts of a completed upload not removed");
    }
    Ok(Some(version))
}

/// Has one at a time complete an upload, also among processes: a second object of the same bytes would be another
/// version than the one that was told of. A file system without locks has no such order.
fn turn(folder: &Dir) -> Result<Option<File>, Error> {
    let key = folder.open(KEY_FILE).map_err(from_upload)?.into_std();
    if let Err(TryLockError::WouldBlock) = key.try_lock() {
        return Ok(None);
    }
    // Whoever was before us has removed it.
    folder.metadata(KEY_FILE).map_err(from_upload)?;
    Ok(Some(key))
}

pub(super) fn abort(root: &Arc<Root>, path: &KeyPath, upload: &UploadId) -> Result<(), Error> {
    match open(root, path, upload) {
        Ok(_) => remove(root, upload),
        Err(Error::NoSuchUpload) => Ok(()),
        Err(error) => Err(error),
    }
}

/// All of them are one page: there are at most 10,000.
pub(super) fn list_parts(
    root: &Root,
    path: &KeyPath,
    upload: &UploadId,
    after: Option<PartNumber>,
) -> Result<Parts, Error> {
    let folder = open(root, path, upload)?;
    let mut parts = Vec::new();
    for entry in folder.entries().map_err(from_upload)? {
        let entry = entry.map_err(from_upload)?;
        let number = entry.file_name().to_str().and_then(|name| PartNumber::new(name.parse().ok()?));
        let Some(number) = number.filter(|number| Some(*number) > after) else { continue };
        let stat = Stat::of(&entry.open().map_err(from_upload)?.into_std()).map_err(from_io)?;
        parts.push(Part { number, etag: stat.etag(), size: stat.size });
    }
    parts.sort_unstable_by_key(|part| part.number);
    Ok(Parts { parts, next: None })
}

pub(super) fn list(root: &Root, prefix: &str, page: &Page) -> Result<Uploads, Error> {
    let mut found = Vec::new();
    for entry in root.uploads()?.entries().map_err(from_io)? {
        // One that is completed or dropped meanwhile, or that is only being made, is no upload.
        let Ok(entry) = entry else { continue };
        let Ok(upload) = entry.file_name().into_string() else { continue };
        let Ok(folder) = entry.open_dir() else { continue };
        let Some(key) = folder.read_to_string(KEY_FILE).ok().filter(|key| key.starts_with(prefix)) else {
            continue;
        };
        let Ok(key) = ObjectKey::new(&key) else { continue };
        let begun = folder.metadata(KEY_FILE).and_then(|metadata| metadata.modified()).ok();
        let begun = begun.map(cap_std::time::SystemTime::into_std);
        found.push(UploadEntry { key, upload: UploadId(upload), begun });
    }
    found.sort_unstable_by(|a, b| (&a.key, &a.upload.0).cmp(&(&b.key, &b.upload.0)));
    let after = page.after.as_deref().unwrap_or_default();
    found.retain(|entry| *marker(entry) > *after);
    let limit = page.limit.clamp(1, UPLOADS_MAX);
    let next = (found.len() > limit).then(|| marker(&found[limit - 1]));
    found.truncate(limit);
    Ok(Uploads { entries: found, next })
}

/// Sorts as the key does, then the id: no key has a NUL.
fn marker(entry: &UploadEntry) -> String {
    format!("{}\0{}", entry.key, entry.upload.0)
}

/// Copies one part behind the ones before it, after a look whether it is the part that was meant.
fn append(object: &mut TempFile, folder: &Dir, part: &Part) -> Result<(), Error> {
    let mut file = match folder.open(part_name(part.number)) {
        Ok(file) => file.into_std(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(invalid("a listed part is missing")),
        Err(error) => return Err(from_io(error)),
    };
    let stat = Stat::of(&file).map_err(from_io)?;
    if stat.etag() != part.etag || stat.size != part.size {
        return Err(invalid("a listed part has been replaced"));
    }
    // In the kernel where it can (`copy_file_range`).
    let copied = io::copy(&mut file, object.file()).map_err(from_write)?;
    if copied == part.size { Ok(()) } else { Err(invalid("a part changed while it was copied")) }
}

/// The folder of an upload that exists and is for this key. The id comes from outside: only a name of our
/// own making may become part of a path.
fn open(root: &Root, path: &KeyPath, upload: &UploadId) -> Result<Dir, Error> {
    let id = upload.0.as_str();
    if id.len() != 32 || !id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(Error::NoSuchUpload);
    }
    let folder = root.uploads()?.open_dir(id).map_err(from_upload)?;
    let key = folder.read_to_string(KEY_FILE).map_err(from_upload)?;
    if key == path.as_str() { Ok(folder) } else { Err(Error::NoSuchUpload) }
}

/// The caller has checked the upload's id.
fn remove(root: &Root, upload: &UploadId) -> Result<(), Error> {
    let uploads = root.uploads()?;
    for _ in 0..REMOVE_ATTEMPTS {
        match uploads.remove_dir_all(&upload.0) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            done => return done.map_err(from_io),
        }
    }
    Err(from_io(ErrorKind::DirectoryNotEmpty.into()))
}

fn part_name(number: PartNumber) -> String {
    format!("{:05}", number.get())
}

/// As [`from_io`]: what is not there is the upload.
fn from_upload(error: io::Error) -> Error {
    match from_io(error) {
        Error::NotFound => Error::NoSuchUpload,
        meaning => meaning,
    }
}

fn invalid(reason: &'static str) -> Error {
    Error::Other(Error::shared(io::Error::new(ErrorKind::InvalidInput, reason)))
}
