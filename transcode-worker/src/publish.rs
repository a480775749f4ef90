//! From the folder of outputs to the store, what points at others after what it points at.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use seekway_storage::{Attributes, ByteStream, Error, ObjectKey, ObjectStore};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio::time::sleep;

use crate::problem::Problem;

/// Files that are under way at a time.
const AT_ONCE: usize = 3;
/// Bytes that are read of a file at a time.
const CHUNK_BYTES: usize = 256 * 1024;
/// How often one file is tried.
const TRIES: u32 = 4;
/// After the first failure; each pause after it is twice as long.
const PAUSE: Duration = Duration::from_millis(500);
/// What is published never changes: another attempt has other keys.
const CACHE_CONTROL: &str = "public, max-age=31536000, immutable";

/// Puts files of a folder below a prefix: first those of `media`, several at a time, then `last` one after the other.
/// `moved` hears how many are done.
pub async fn publish(
    store: &Arc<dyn ObjectStore>,
    folder: &Path,
    prefix: &str,
    media: &[String],
    last: &[String],
    mut moved: impl FnMut(usize),
) -> Result<(), Problem> {
    let mut done = 0;
    let puts: Vec<_> = media.iter().map(|name| put(store, folder, prefix, name).boxed()).collect();
    let mut puts = stream::iter(puts).buffer_unordered(AT_ONCE);
    while let Some(outcome) = puts.next().await {
        outcome?;
        done += 1;
        moved(done);
    }
    for name in last {
        put(store, folder, prefix, name).await?;
        done += 1;
        moved(done);
    }
    Ok(())
}

async fn put(store: &Arc<dyn ObjectStore>, folder: &Path, prefix: &str, name: &str) -> Result<(), Problem> {
    let key = ObjectKey::new(&format!("{prefix}{name}")).expect("our own names are keys");
    let attributes = Attributes {
        content_type: Some(content_type(name).to_owned()),
        cache_control: Some(CACHE_CONTROL.to_owned()),
        ..Attributes::default()
    };
    let mut tries = 0;
    loop {
        let Err(error) = store.put(&key, &attributes, body(&folder.join(name)).await?).await else {
            return Ok(());
        };
        tries += 1;
        if tries == TRIES || !error.is_retryable() {
            let text = format!("{name} cannot be put into the store: {}", error.chain());
            return Err(Problem::infrastructure(text));
        }
        sleep(PAUSE * 2_u32.pow(tries - 1)).await;
    }
}

async fn body(path: &Path) -> Result<ByteStream, Problem> {
    let file = File::open(path).await?;
    let chunks = stream::try_unfold(file, |mut file| async move {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut chunk).await?;
        Ok::<_, std::io::Error>((!chunk.is_empty()).then(|| (Bytes::from(chunk), file)))
    });
    Ok(Box::pin(chunks.map_err(|error| Error::Other(Arc::new(error)))))
}

/// Of the files that are published, by their names.
fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "mp4" if name.starts_with('a') => "audio/mp4",
        "mp4" => "video/mp4",
        "m3u8" => "application/vnd.apple.mpegurl",
        "mpd" => "application/dash+xml",
        "vtt" => "text/vtt",
        "jpg" => "image/jpeg",
        "json" => "application/json",
        _ => "application/octet-stream",
    }
}
