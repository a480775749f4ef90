//! Small words for tests about objects.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use seekway_storage::{Attributes, ByteStream, Error, Get, Object, ObjectKey, ObjectStore, Page, Version};

pub(crate) const MIB: usize = 1024 * 1024;

pub(crate) fn key(key: &str) -> ObjectKey {
    ObjectKey::new(key).expect("a key")
}

/// Bytes in which a shift, a gap or another object's piece shows.
pub(crate) fn pattern(seed: u8, length: usize) -> Vec<u8> {
    let scattered =
        |i: usize| (i ^ (usize::from(seed) << 40)).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[0];
    (0..length).map(scattered).collect()
}

/// A body in chunks that fit nothing in particular.
pub(crate) fn body(bytes: &[u8]) -> ByteStream {
    let chunks: Vec<_> = bytes.chunks(100_003).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    Box::pin(stream::iter(chunks))
}

/// A body that breaks off behind `bytes`.
pub(crate) fn failing_body(bytes: &[u8]) -> ByteStream {
    let error = Error::Interrupted(std::sync::Arc::new(std::io::Error::other("the client left")));
    Box::pin(body(bytes).chain(stream::iter([Err(error)])))
}

pub(crate) async fn put(store: &dyn ObjectStore, name: &str, bytes: &[u8]) -> Version {
    let written = store.put(&key(name), &Attributes::default(), body(bytes)).await;
    written.unwrap_or_else(|error| panic!("put {name}: {error:?}"))
}

pub(crate) async fn head(store: &dyn ObjectStore, name: &str) -> Object {
    store.head(&key(name)).await.unwrap_or_else(|error| panic!("head {name}: {error:?}"))
}

/// The bytes of an answer, which must be as many as it announced.
pub(crate) async fn collect(get: Get) -> Result<Vec<u8>, Error> {
    let bytes = get.body.try_fold(Vec::new(), |mut all, chunk| async move {
        all.extend_from_slice(&chunk);
        Ok(all)
    });
    let bytes = bytes.await?;
    assert_eq!(
        u64::try_from(bytes.len()).expect("fits"),
        get.range.end - get.range.start,
        "never silently short"
    );
    Ok(bytes)
}

pub(crate) async fn read(
    store: &dyn ObjectStore,
    name: &str,
    range: Range<u64>,
    expected: Option<&Object>,
) -> Result<Vec<u8>, Error> {
    collect(store.get(&key(name), range, expected).await?).await
}

pub(crate) async fn read_all(store: &dyn ObjectStore, name: &str) -> Vec<u8> {
    read(store, name, 0..u64::MAX, None).await.unwrap_or_else(|error| panic!("get {name}: {error:?}"))
}

/// Every key with this prefix, page by page.
pub(crate) async fn list_all(store: &dyn ObjectStore, prefix: &str, limit: usize) -> Vec<String> {
    let mut keys = Vec::new();
    let mut after = None;
    loop {
        let page = store.list(prefix, Page { after, limit }).await.expect("lists");
        assert!(page.entries.len() <= limit, "no page is longer than its limit");
        keys.extend(page.entries.iter().map(|entry| entry.key.to_string()));
        after = page.next;
        if after.is_none() {
            return keys;
        }
    }
}

/// What a log would say of the causes of an error, without the error's own text.
pub(crate) fn causes(error: &Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Waits until something that happens in the background has happened.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..500 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never happened: {what}");
}
