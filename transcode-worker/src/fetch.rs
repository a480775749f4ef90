//! From the store to a file: ranges of one version, several at a time, each tried again by itself.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use seekway_storage::{Error, Object, ObjectKey, ObjectStore};
use sha2::{Digest as _, Sha256};
use tokio::time::sleep;

use crate::problem::Problem;

/// Bytes that are asked for at a time.
const RANGE_BYTES: u64 = 8 * 1024 * 1024;
/// How many are under way: one connection to S3 carries some 50 to 100 MB a second.
const AT_ONCE: usize = 4;
/// How often one range is tried.
const TRIES: u32 = 4;
/// After the first failure; each pause after it is twice as long.
const PAUSE: Duration = Duration::from_millis(250);

/// What was fetched.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Its length in bytes.
    pub bytes: u64,
    /// Its entity tag.
    pub etag: String,
    /// Its SHA-256 in lower-case hex.
    pub sha256: String,
}

/// Fetches an object into a file that is not there yet; `moved` hears how many bytes there are. Memory: a chunk for each
/// of [`AT_ONCE`] ranges.
///
/// # Errors
/// As long as another attempt may do better, which nobody can rule out.
pub async fn fetch(
    store: &Arc<dyn ObjectStore>,
    key: &str,
    to: &Path,
    mut moved: impl FnMut(u64, u64),
) -> Result<Fetched, Problem> {
    let (name, object) = head(store, key).await?;
    spans(store, &name, &object, &[0..object.size], to, &mut moved).await?;
    let path = to.to_owned();
    let sha256 =
        tokio::task::spawn_blocking(move || sha256(&path)).await.map_err(std::io::Error::other)??;
    Ok(Fetched { bytes: object.size, etag: object.version.etag.to_string(), sha256 })
}

/// Fetches parts of a version of an object into a file that is not there yet: it is as long as the object, and has holes
/// elsewhere. Otherwise as [`fetch`].
///
/// # Errors
/// Also where the object is another version by now.
pub async fn fetch_spans(
    store: &Arc<dyn ObjectStore>,
    key: &str,
    etag: &str,
    wanted: &[Range<u64>],
    to: &Path,
    mut moved: impl FnMut(u64, u64),
) -> Result<(), Problem> {
    let (name, object) = head(store, key).await?;
    if object.version.etag.to_string() != etag {
        return Err(Problem::infrastructure("it is not in the store as it was").because(key));
    }
    spans(store, &name, &object, wanted, to, &mut moved).await
}

async fn head(store: &Arc<dyn ObjectStore>, key: &str) -> Result<(ObjectKey, Object), Problem> {
    let name = ObjectKey::new(key).map_err(|error| Problem::input(format!("{key:?} is no key: {error}")))?;
    let object = store.head(&name).await.map_err(|error| said(key, &error))?;
    Ok((name, object))
}

async fn spans(
    store: &Arc<dyn ObjectStore>,
    name: &ObjectKey,
    object: &Object,
    wanted: &[Range<u64>],
    to: &Path,
    moved: &mut impl FnMut(u64, u64),
) -> Result<(), Problem> {
    let file = Arc::new(File::create_new(to)?);
    file.set_len(object.size)?;
    let pieces = wanted.iter().flat_map(|span| {
        let starts =
            (0..(span.end - span.start).div_ceil(RANGE_BYTES)).map(|nth| span.start + nth * RANGE_BYTES);
        starts.map(|start| start..(start + RANGE_BYTES).min(span.end))
    });
    let all = wanted.iter().map(|span| span.end - span.start).sum();
    // Boxed, because the compiler cannot see that a future of many borrows may change threads.
    let ranges: Vec<_> = pieces.map(|piece| range(store, name, object, piece, &file).boxed()).collect();
    let mut ranges = stream::iter(ranges).buffer_unordered(AT_ONCE);
    let mut bytes = 0;
    while let Some(read) = ranges.next().await {
        bytes += read.map_err(|error| said(name.as_str(), &error))?;
        moved(bytes, all);
    }
    Ok(())
}

/// One range, from where it breaks off if it does.
async fn range(
    store: &Arc<dyn ObjectStore>,
    name: &ObjectKey,
    object: &Object,
    Range { start, end }: Range<u64>,
    file: &Arc<File>,
) -> Result<u64, Error> {
    let mut at = start;
    let mut tries = 0;
    while at < end {
        let before = at;
        let read = async {
            let mut get = store.get(name, at..end, Some(object)).await?;
            while let Some(chunk) = get.body.try_next().await? {
                let length = chunk.len() as u64;
                write(file, chunk, at).await?;
                at += length;
            }
            Ok(())
        };
        if let Err(error) = read.await {
            tries += 1;
            let error: Error = error;
            if tries == TRIES || !error.is_retryable() {
                return Err(error);
            }
            sleep(PAUSE * 2_u32.pow(tries - 1)).await;
        } else if at == before {
            return Err(Error::Protocol("a body without bytes".to_owned()));
        }
    }
    Ok(end - start)
}

async fn write(file: &Arc<File>, chunk: Bytes, at: u64) -> Result<(), Error> {
    let file = file.clone();
    let written = tokio::task::spawn_blocking(move || file.write_all_at(&chunk, at)).await;
    let failed = |error: std::io::Error| Error::Other(Arc::new(error));
    written.map_err(|error| failed(std::io::Error::other(error)))?.map_err(failed)
}

/// The SHA-256 of a file, in lower-case hex. Blocks.
pub fn sha256(path: &Path) -> std::io::Result<String> {
    use std::fmt::Write as _;
    let mut hash = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = std::io::Read::read(&mut file, &mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
    }
    Ok(hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes all");
        text
    }))
}

fn said(key: &str, error: &Error) -> Problem {
    // Also what is not there: a worker that was given another store must not end videos for ever.
    let text = if error.is_not_found() { "it is not in the store" } else { "the store did not serve" };
    Problem::infrastructure(text).because(format!("{key:?}: {}", error.chain()))
}
