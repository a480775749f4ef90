//! What every store promises. One function per promise; each keeps to keys of its own.

use futures_util::{StreamExt, future};
use seekway_storage::{Error, ObjectStore};

use crate::objects::{MIB, collect, head, key, list_all, pattern, put, read, read_all};
use crate::suite_writes as writes;

/// Tries every promise, in turn, so that a failure names the first one that is broken.
pub(crate) async fn conformance(store: &dyn ObjectStore) {
    macro_rules! check {
        ($($promise:path),* $(,)?) => {$(
            eprintln!("checking {}", stringify!($promise));
            $promise(store).await;
        )*};
    }
    check![
        head_describes_an_object,
        missing_objects_are_not_found,
        ranges_are_exact_at_their_edges,
        ranges_are_clamped_to_the_end,
        ranges_past_the_end_are_refused,
        an_empty_object_has_no_range,
        discovery_tells_the_version,
        a_replaced_object_is_refused_or_pinned,
        a_deleted_object_is_never_another,
        a_replacement_never_mixes_with_a_body,
        odd_keys_are_keys_like_any_other,
        many_readers_share_an_object,
        writes::bodies_of_any_size_are_stored,
        writes::a_failing_body_leaves_nothing,
        writes::a_dropped_put_leaves_nothing,
        writes::an_object_is_replaced_whole,
        writes::parts_are_joined_in_order,
        writes::a_part_can_be_replaced,
        writes::a_replacing_part_is_not_published_for_it,
        writes::an_aborted_upload_is_gone,
        writes::completing_twice_changes_nothing,
        writes::parts_are_listed,
        writes::uploads_are_listed_by_prefix,
        writes::unknown_uploads_are_not_found,
        writes::delete_is_idempotent,
        writes::a_put_beats_the_delete_of_its_neighbour,
        lists_are_sorted_and_whole,
        every_key_is_listed_once,
        lists_are_limited_to_a_prefix,
    ];
}

async fn head_describes_an_object(store: &dyn ObjectStore) {
    let before = std::time::SystemTime::now();
    let version = put(store, "head/object", &pattern(1, 1000)).await;
    let object = head(store, "head/object").await;
    assert_eq!(object.size, 1000);
    assert_eq!(object.version, version, "the version that the writer was told");
    assert!(object.version.etag.starts_with('"') && object.version.etag.ends_with('"'), "{object:?}");
    let modified = object.last_modified.expect("both stores know");
    // Times in headers have whole seconds.
    let age = modified.duration_since(before).unwrap_or_else(|error| error.duration());
    assert!(age.as_secs() < 5, "{object:?}");
}

async fn missing_objects_are_not_found(store: &dyn ObjectStore) {
    put(store, "missing/neighbour", b"x").await;
    for name in ["missing/object", "missing", "missing/neighbour/below", "nowhere/at/all"] {
        let error = store.head(&key(name)).await.expect_err(name);
        assert!(error.is_not_found(), "head {name}: {error:?}");
        let error = store.get(&key(name), 0..1, None).await.expect_err(name);
        assert!(error.is_not_found(), "get {name}: {error:?}");
    }
}

async fn ranges_are_exact_at_their_edges(store: &dyn ObjectStore) {
    let bytes = pattern(2, MIB + 7);
    put(store, "ranges/exact", &bytes).await;
    let object = head(store, "ranges/exact").await;
    let size = object.size;
    let half = 256 * 1024;
    for range in [0..1, 0..size, size - 1..size, 1..2, half - 1..half + 1, half..2 * half, 3..half * 3 + 5] {
        let wanted =
            &bytes[usize::try_from(range.start).expect("fits")..usize::try_from(range.end).expect("fits")];
        for expected in [None, Some(&object)] {
            let got = read(store, "ranges/exact", range.clone(), expected).await.expect("reads");
            assert!(got == wanted, "bytes of {range:?}");
        }
    }
}

async fn ranges_are_clamped_to_the_end(store: &dyn ObjectStore) {
    let bytes = pattern(3, 1000);
    put(store, "ranges/clamped", &bytes).await;
    let object = head(store, "ranges/clamped").await;
    for end in [1000, 1001, 5000, u64::MAX] {
        for expected in [None, Some(&object)] {
            let get = store.get(&key("ranges/clamped"), 990..end, expected).await.expect("reads");
            assert_eq!(get.range, 990..1000);
            assert_eq!(get.object.size, 1000);
            assert_eq!(collect(get).await.expect("reads"), bytes[990..]);
        }
    }
}

async fn ranges_past_the_end_are_refused(store: &dyn ObjectStore) {
    put(store, "ranges/past", &pattern(4, 1000)).await;
    let object = head(store, "ranges/past").await;
    for range in [1000..1001, 5000..6000, u64::MAX - 1..u64::MAX] {
        for expected in [None, Some(&object)] {
            let error =
                store.get(&key("ranges/past"), range.clone(), expected).await.expect_err("past the end");
            assert!(
                matches!(error, Error::RangeNotSatisfiable { size: None | Some(1000) }),
                "{range:?}: {error:?}"
            );
        }
    }
}

async fn an_empty_object_has_no_range(store: &dyn ObjectStore) {
    put(store, "ranges/empty", b"").await;
    let object = head(store, "ranges/empty").await;
    assert_eq!(object.size, 0);
    for expected in [None, Some(&object)] {
        let error = store.get(&key("ranges/empty"), 0..1, expected).await.expect_err("no byte is there");
        assert!(matches!(error, Error::RangeNotSatisfiable { size: None | Some(0) }), "{error:?}");
    }
}

async fn discovery_tells_the_version(store: &dyn ObjectStore) {
    let bytes = pattern(5, 3000);
    put(store, "versions/discovered", &bytes).await;
    let get = store.get(&key("versions/discovered"), 10..20, None).await.expect("reads");
    let object = get.object.clone();
    assert_eq!(collect(get).await.expect("reads"), bytes[10..20]);
    assert_eq!(object.version, head(store, "versions/discovered").await.version);
    assert_eq!(object.size, 3000);
    let pinned =
        store.get(&key("versions/discovered"), 20..30, Some(&object)).await.expect("the same version");
    assert_eq!(pinned.object.version, object.version);
    assert_eq!(collect(pinned).await.expect("reads"), bytes[20..30]);
}

/// A store that holds on to the version may still serve it; one that does not must say that it has changed.
async fn a_replaced_object_is_refused_or_pinned(store: &dyn ObjectStore) {
    let (old, new) = (pattern(6, 5000), pattern(7, 5000));
    let written = put(store, "versions/replaced", &old).await;
    let object = head(store, "versions/replaced").await;
    let rewritten = put(store, "versions/replaced", &new).await;
    assert_ne!(written, rewritten, "same size, other bytes");
    match read(store, "versions/replaced", 0..5000, Some(&object)).await {
        Ok(bytes) => assert!(bytes == old, "bytes of the expected version only"),
        Err(error) => assert!(error.version_changed(), "{error:?}"),
    }
    let unpinned = seekway_storage::Object { pin: seekway_storage::Pin::default(), ..object };
    let error =
        store.get(&key("versions/replaced"), 0..5000, Some(&unpinned)).await.expect_err("it has changed");
    assert!(error.version_changed(), "{error:?}");
    assert!(read_all(store, "versions/replaced").await == new);
}

async fn a_deleted_object_is_never_another(store: &dyn ObjectStore) {
    let bytes = pattern(8, 5000);
    put(store, "versions/deleted", &bytes).await;
    let object = head(store, "versions/deleted").await;
    store.delete(&key("versions/deleted")).await.expect("deletes");
    match read(store, "versions/deleted", 0..5000, Some(&object)).await {
        Ok(read) => assert!(read == bytes),
        Err(error) => assert!(error.is_not_found() || error.version_changed(), "{error:?}"),
    }
}

async fn a_replacement_never_mixes_with_a_body(store: &dyn ObjectStore) {
    let (old, new) = (pattern(9, 12 * MIB), pattern(10, 12 * MIB));
    put(store, "versions/midway", &old).await;
    let object = head(store, "versions/midway").await;
    let mut get = store.get(&key("versions/midway"), 0..object.size, Some(&object)).await.expect("reads");
    let mut read = get.body.next().await.expect("a chunk").expect("the old bytes").to_vec();
    put(store, "versions/midway", &new).await;
    while let Some(chunk) = get.body.next().await {
        let Ok(chunk) = chunk else { break };
        read.extend_from_slice(&chunk);
    }
    assert!(read == old[..read.len()], "a prefix of the old bytes, or all of them");
}

async fn odd_keys_are_keys_like_any_other(store: &dyn ObjectStore) {
    let names = [
        "odd/with space",
        "odd/plus+plus",
        "odd/100%",
        "odd/%2B",
        "odd/%252B",
        "odd/'single' \"double\"",
        "odd/é",
        "odd/e\u{301}",
        "odd/日本/動画.mp4",
        "odd/a&b=c?d#e",
        "odd/(1)@[2]{3}!$*,;:",
        "odd/~tilde",
        "odd/.dot",
        "odd/...",
        "odd/<xml>&amp;",
        "odd/-",
    ];
    for (seed, name) in (20..).zip(names) {
        put(store, name, &pattern(seed, 100)).await;
    }
    for (seed, name) in (20..).zip(names) {
        assert!(read_all(store, name).await == pattern(seed, 100), "{name}");
    }
    let mut listed = list_all(store, "odd/", 1000).await;
    listed.sort();
    assert_eq!(listed, names_sorted(&names));
    for name in names {
        store.delete(&key(name)).await.expect(name);
    }
    assert!(list_all(store, "odd/", 1000).await.is_empty());
    store_that_allows(store, "odd//double").await;
    store_that_allows(store, "odd/back\\slash").await;
}

/// A key that a store may refuse; if it does not, the key must work.
async fn store_that_allows(store: &dyn ObjectStore, name: &str) {
    let body = crate::objects::body(b"odd");
    match store.put(&key(name), &seekway_storage::Attributes::default(), body).await {
        Ok(_) => {
            assert_eq!(read_all(store, name).await, b"odd", "{name}");
            store.delete(&key(name)).await.expect(name);
        }
        Err(error) => {
            assert!(matches!(error, Error::InvalidKey(_)), "put {name}: {error:?}");
            let error = store.head(&key(name)).await.expect_err(name);
            assert!(matches!(error, Error::InvalidKey(_)), "head {name}: {error:?}");
        }
    }
}

async fn many_readers_share_an_object(store: &dyn ObjectStore) {
    let bytes = pattern(11, 3 * MIB);
    put(store, "readers/object", &bytes).await;
    let object = head(store, "readers/object").await;
    let readers = (0..16_u64).map(|reader| {
        let (bytes, object) = (&bytes, &object);
        async move {
            for step in 0..4 {
                let start = (reader * 150_001 + step * 700_001) % 3_000_000;
                let end = (start + 333_333).min(object.size);
                let got = read(store, "readers/object", start..end, Some(object)).await.expect("reads");
                let wanted = usize::try_from(start).expect("fits")..usize::try_from(end).expect("fits");
                assert!(got == bytes[wanted], "reader {reader}, {start}..{end}");
            }
        }
    });
    future::join_all(readers).await;
}

async fn lists_are_sorted_and_whole(store: &dyn ObjectStore) {
    let mut names = vec![
        "list/a".to_owned(),
        "list/a b".into(),
        "list/b/1".into(),
        "list/b/2/deep/er".into(),
        "list/b/20".into(),
        "list/b0".into(),
        "list/é".into(),
        "list/日".into(),
    ];
    names.extend((0..25).map(|number| format!("list/many/{number:03}")));
    for name in &names {
        put(store, name, name.as_bytes()).await;
    }
    names.sort();
    for limit in [1, 2, 7, names.len() - 1, names.len(), 1000] {
        let listed = list_all(store, "list/", limit).await;
        assert_eq!(listed, names, "pages of {limit}");
    }
    let page = store.list("list/a", seekway_storage::Page { after: None, limit: 10 }).await.expect("lists");
    assert_eq!(page.entries[0].size, 6);
    assert!(page.entries[0].last_modified.is_some());
}

/// Servers that keep keys in folders (`SeaweedFS`, directory buckets) list `a/b` before `a-b`: whole they must
/// be all the same.
async fn every_key_is_listed_once(store: &dyn ObjectStore) {
    let names = ["once/a-b", "once/a.b", "once/a/b", "once/a/c/d", "once/a/c-d", "once/a0", "once/ab/c"];
    for name in names {
        put(store, name, b"x").await;
    }
    for limit in 1..=8 {
        let mut listed = list_all(store, "once/", limit).await;
        listed.sort();
        assert_eq!(listed, names_sorted(&names), "pages of {limit}");
    }
}

fn names_sorted<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    sorted
}

async fn lists_are_limited_to_a_prefix(store: &dyn ObjectStore) {
    for name in ["prefix/ab/1", "prefix/ab/2", "prefix/abc", "prefix/b"] {
        put(store, name, b"x").await;
    }
    for (prefix, names) in [
        ("prefix/ab", &["prefix/ab/1", "prefix/ab/2", "prefix/abc"][..]),
        ("prefix/ab/", &["prefix/ab/1", "prefix/ab/2"]),
        ("prefix/ab/2", &["prefix/ab/2"]),
        ("prefix/b", &["prefix/b"]),
        ("prefix/none", &[]),
        ("prefix/b/", &[]),
        ("none/at/all/", &[]),
    ] {
        let mut sorted = list_all(store, prefix, 2).await;
        sorted.sort();
        assert_eq!(sorted, names, "{prefix}");
    }
}
