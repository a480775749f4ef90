//! The promises about writing.

use futures_util::{FutureExt, StreamExt, future, stream};
use seekway_storage::{Attributes, Error, ObjectStore, PART_BYTES_MIN, Page, Part, PartNumber, UploadId};

use crate::objects::{MIB, body, failing_body, head, key, list_all, pattern, put, read_all};

pub(crate) async fn bodies_of_any_size_are_stored(store: &dyn ObjectStore) {
    for (seed, length) in
        [(30, 0), (31, 1), (32, 8 * MIB - 1), (33, 8 * MIB), (34, 8 * MIB + 1), (35, 20 * MIB)]
    {
        let bytes = pattern(seed, length);
        let version = put(store, "put/sized", &bytes).await;
        let object = head(store, "put/sized").await;
        assert_eq!(object.version, version, "{length}");
        assert_eq!(object.size, u64::try_from(length).expect("fits"));
        if length > 0 {
            assert!(read_all(store, "put/sized").await == bytes, "{length}");
        }
    }
}

pub(crate) async fn a_failing_body_leaves_nothing(store: &dyn ObjectStore) {
    for length in [0, 1000, 10 * MIB] {
        let written =
            store.put(&key("put/failed"), &Attributes::default(), failing_body(&pattern(36, length))).await;
        let error = written.expect_err("the body failed");
        assert!(matches!(error, Error::Interrupted(_)), "the body's own error: {error:?}");
        assert!(store.head(&key("put/failed")).await.expect_err("nothing is there").is_not_found());
    }
    assert!(list_all(store, "put/failed", 10).await.is_empty());
}

pub(crate) async fn a_dropped_put_leaves_nothing(store: &dyn ObjectStore) {
    let endless = Box::pin(body(&pattern(37, 10 * MIB)).chain(stream::pending()));
    let attributes = Attributes::default();
    let name = key("put/dropped");
    let put = store.put(&name, &attributes, endless);
    let waited = tokio::time::timeout(std::time::Duration::from_millis(500), put).await;
    assert!(waited.is_err(), "the body never ends");
    assert!(store.head(&key("put/dropped")).await.expect_err("nothing is there").is_not_found());
}

/// A reader at any moment sees the old object or the new one.
pub(crate) async fn an_object_is_replaced_whole(store: &dyn ObjectStore) {
    let contents = [pattern(38, 300_000), pattern(39, 300_000)];
    put(store, "put/replaced", &contents[0]).await;
    let writer = async {
        for round in 1..=10 {
            put(store, "put/replaced", &contents[round % 2]).await;
        }
    };
    let mut writer = Box::pin(writer.fuse());
    let mut reads = 0;
    loop {
        let read = read_all(store, "put/replaced");
        match future::select(&mut writer, Box::pin(read)).await {
            future::Either::Left(((), read)) => {
                assert!(contents.contains(&read.await));
                break;
            }
            future::Either::Right((read, _)) => assert!(contents.contains(&read), "one or the other"),
        }
        reads += 1;
    }
    assert!(reads > 0, "some reads fell between the writes");
}

pub(crate) async fn parts_are_joined_in_order(store: &dyn ObjectStore) {
    let name = key("multipart/joined");
    let attributes = Attributes::default();
    let upload = store.create_multipart(&name, &attributes).await.expect("begins");
    let pieces = [pattern(40, PART_BYTES_MIN), pattern(41, PART_BYTES_MIN), pattern(42, 10)];
    // The parts arrive in another order, and their numbers have gaps.
    let third = put_part(store, "multipart/joined", &upload, 900, &pieces[2]).await;
    let first = put_part(store, "multipart/joined", &upload, 2, &pieces[0]).await;
    let second = put_part(store, "multipart/joined", &upload, 10, &pieces[1]).await;
    assert!(store.head(&name).await.expect_err("not published yet").is_not_found());
    assert_eq!((first.number.get(), first.size), (2, 5 * 1024 * 1024));
    let version = store.complete_multipart(&name, &upload, &[first, second, third]).await.expect("completes");
    assert_eq!(head(store, "multipart/joined").await.version, version);
    assert!(read_all(store, "multipart/joined").await == pieces.concat());
}

pub(crate) async fn a_part_can_be_replaced(store: &dyn ObjectStore) {
    let name = key("multipart/replaced");
    let upload = store.create_multipart(&name, &Attributes::default()).await.expect("begins");
    put_part(store, "multipart/replaced", &upload, 1, b"old").await;
    let part = put_part(store, "multipart/replaced", &upload, 1, b"new").await;
    store.complete_multipart(&name, &upload, &[part]).await.expect("completes");
    assert_eq!(read_all(store, "multipart/replaced").await, b"new");
}

/// S3 refuses a part that was replaced; `SeaweedFS` still has it. The part that replaced it was not listed, so
/// it must not be published.
pub(crate) async fn a_replacing_part_is_not_published_for_it(store: &dyn ObjectStore) {
    let name = key("multipart/stale");
    let upload = store.create_multipart(&name, &Attributes::default()).await.expect("begins");
    let stale = put_part(store, "multipart/stale", &upload, 1, b"old").await;
    put_part(store, "multipart/stale", &upload, 1, b"new").await;
    match store.complete_multipart(&name, &upload, &[stale]).await {
        Ok(_) => assert_eq!(read_all(store, "multipart/stale").await, b"old"),
        Err(_) => assert!(store.head(&name).await.expect_err("nothing is there").is_not_found()),
    }
    store.abort_multipart(&name, &upload).await.expect("aborts");
}

pub(crate) async fn an_aborted_upload_is_gone(store: &dyn ObjectStore) {
    let name = key("multipart/aborted");
    let upload = store.create_multipart(&name, &Attributes::default()).await.expect("begins");
    let part = put_part(store, "multipart/aborted", &upload, 1, b"part").await;
    store.abort_multipart(&name, &upload).await.expect("aborts");
    store.abort_multipart(&name, &upload).await.expect("aborts again");
    let error = store.complete_multipart(&name, &upload, &[part]).await.expect_err("it is gone");
    assert!(matches!(error, Error::NoSuchUpload), "{error:?}");
    assert!(store.head(&name).await.expect_err("nothing is there").is_not_found());
}

/// So that whoever lost the answer to a completion can tell that it was done.
pub(crate) async fn completing_twice_changes_nothing(store: &dyn ObjectStore) {
    let name = key("multipart/twice");
    let upload = store.create_multipart(&name, &Attributes::default()).await.expect("begins");
    let part = put_part(store, "multipart/twice", &upload, 1, b"once").await;
    store.complete_multipart(&name, &upload, std::slice::from_ref(&part)).await.expect("completes");
    let before = head(store, "multipart/twice").await;
    let again = store.complete_multipart(&name, &upload, &[part]).await;
    // Some servers say yes again.
    assert!(matches!(again, Ok(_) | Err(Error::NoSuchUpload)), "{again:?}");
    let after = head(store, "multipart/twice").await;
    assert_eq!((after.version, after.size), (before.version, 4));
}

pub(crate) async fn parts_are_listed(store: &dyn ObjectStore) {
    let name = key("multipart/parts");
    let upload = store.create_multipart(&name, &Attributes::default()).await.expect("begins");
    assert!(list_parts(store, "multipart/parts", &upload, None).await.is_empty());
    let mut stored = Vec::new();
    for (number, bytes) in [(7, b"seven".as_slice()), (2, b"two"), (9_999, b"a late one")] {
        stored.push(put_part(store, "multipart/parts", &upload, number, bytes).await);
    }
    stored.sort_by_key(|part| part.number);
    assert_eq!(list_parts(store, "multipart/parts", &upload, None).await, stored);
    let behind = PartNumber::new(2);
    assert_eq!(list_parts(store, "multipart/parts", &upload, behind).await, stored[1..]);
    // What is listed is what can be completed.
    store.complete_multipart(&name, &upload, &stored[..1]).await.expect("completes");
    let gone = store.list_parts(&name, &upload, None).await.expect_err("it is completed");
    assert!(matches!(gone, Error::NoSuchUpload), "{gone:?}");
}

pub(crate) async fn uploads_are_listed_by_prefix(store: &dyn ObjectStore) {
    let attributes = Attributes::default();
    let mut begun = Vec::new();
    for name in ["sweep/ours/b", "sweep/ours/a +é", "sweep/other/x", "sweep/ours/b"] {
        begun.push((name, store.create_multipart(&key(name), &attributes).await.expect("begins")));
    }
    let expected = |prefix: &str| {
        let mut ours: Vec<_> = begun.iter().filter(|(name, _)| name.starts_with(prefix)).cloned().collect();
        ours.sort_by(|a, b| (a.0, &a.1.0).cmp(&(b.0, &b.1.0)));
        ours
    };
    for limit in [1, 2, 1000] {
        for prefix in ["sweep/ours/", "sweep/", "sweep/none"] {
            let mut listed = Vec::new();
            let mut after = None;
            loop {
                let page = store.list_multipart(prefix, Page { after, limit }).await.expect("lists");
                assert!(page.entries.len() <= limit);
                let age = |begun: std::time::SystemTime| begun.elapsed().unwrap_or_default().as_secs();
                assert!(page.entries.iter().all(|entry| entry.begun.is_none_or(|begun| age(begun) < 60)));
                listed.extend(page.entries.into_iter().map(|entry| (entry.key, entry.upload)));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            listed.sort_by(|a, b| (&a.0, &a.1.0).cmp(&(&b.0, &b.1.0)));
            let listed: Vec<_> = listed.iter().map(|(key, id)| (key.as_str(), id.clone())).collect();
            assert_eq!(listed, expected(prefix), "{prefix}, {limit} at a time");
        }
    }
    for (name, upload) in &begun {
        store.abort_multipart(&key(name), upload).await.expect("aborts");
    }
    let left = store.list_multipart("sweep/", Page { after: None, limit: 10 }).await.expect("lists");
    assert!(left.entries.is_empty(), "{left:?}");
}

pub(crate) async fn unknown_uploads_are_not_found(store: &dyn ObjectStore) {
    let name = key("multipart/unknown");
    let attributes = Attributes::default();
    let gone = store.create_multipart(&name, &attributes).await.expect("begins");
    store.abort_multipart(&name, &gone).await.expect("aborts");
    let foreign = store.create_multipart(&key("multipart/other"), &attributes).await.expect("begins");
    let number = PartNumber::new(1).expect("a number");
    for upload in [&gone, &foreign] {
        let error = store.put_part(&name, upload, number, b"x".as_slice().into()).await.expect_err("unknown");
        assert!(matches!(error, Error::NoSuchUpload), "{error:?}");
        store.abort_multipart(&name, upload).await.expect("nothing to abort");
    }
    put_part(store, "multipart/other", &foreign, 1, b"still there").await;
    store.abort_multipart(&key("multipart/other"), &foreign).await.expect("aborts");
}

pub(crate) async fn delete_is_idempotent(store: &dyn ObjectStore) {
    put(store, "delete/deep/er/object", b"x").await;
    put(store, "delete/neighbour", b"y").await;
    for _ in 0..2 {
        store.delete(&key("delete/deep/er/object")).await.expect("deletes");
        assert!(store.head(&key("delete/deep/er/object")).await.expect_err("gone").is_not_found());
    }
    store.delete(&key("delete")).await.expect("a prefix is no object");
    assert_eq!(list_all(store, "delete", 10).await, ["delete/neighbour"]);
}

pub(crate) async fn a_put_beats_the_delete_of_its_neighbour(store: &dyn ObjectStore) {
    for round in 0..20 {
        put(store, "race/folder/old", b"old").await;
        let (old, new) = (key("race/folder/old"), key("race/folder/new"));
        let attributes = Attributes::default();
        let (deleted, written) = tokio::join!(store.delete(&old), store.put(&new, &attributes, body(b"new")));
        deleted.expect("deletes");
        written.unwrap_or_else(|error| panic!("round {round}: {error:?}"));
        assert_eq!(read_all(store, "race/folder/new").await, b"new");
        store.delete(&new).await.expect("deletes");
    }
}

async fn put_part(store: &dyn ObjectStore, name: &str, upload: &UploadId, number: u16, bytes: &[u8]) -> Part {
    let number = PartNumber::new(number).expect("a number");
    let stored = store.put_part(&key(name), upload, number, bytes.to_vec().into()).await;
    stored.unwrap_or_else(|error| panic!("part {number:?} of {name}: {error:?}"))
}

/// All pages of an upload's parts.
async fn list_parts(
    store: &dyn ObjectStore,
    name: &str,
    upload: &UploadId,
    mut after: Option<PartNumber>,
) -> Vec<Part> {
    let mut parts = Vec::new();
    loop {
        let page = store.list_parts(&key(name), upload, after).await.expect("lists");
        parts.extend(page.parts);
        after = page.next;
        if after.is_none() {
            return parts;
        }
    }
}
