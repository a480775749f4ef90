//! What only a folder can get wrong: paths, links, files that change under a reader, descriptors.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use seekway_storage::local::LocalStore;
use seekway_storage::{Attributes, Error, Object, ObjectStore, PartNumber, Pin, UploadId};
use tempfile::TempDir;

use crate::objects::{
    MIB, body, collect, eventually, failing_body, head, key, list_all, pattern, put, read, read_all,
};

fn store() -> (TempDir, LocalStore) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = LocalStore::open(folder.path()).expect("opens");
    (folder, store)
}

/// Files that are being written, or were left behind.
fn temporary_files(root: &Path) -> usize {
    fs::read_dir(root.join(".seekway/tmp")).expect("is there").count()
}

#[tokio::test]
async fn keys_that_are_no_plain_paths_are_refused() {
    let (folder, store) = store();
    fs::write(folder.path().join("object"), "x").expect("written");
    for name in [
        "../object",
        "..",
        "a/../object",
        "/object",
        "/etc/passwd",
        "./object",
        "a//b",
        "object/",
        "a\\b",
        "..\\object",
        ".seekway",
        ".seekway/tmp/x",
    ] {
        let name = key(name);
        let is_refused = |error: Error| assert!(matches!(error, Error::InvalidKey(_)), "{name}: {error:?}");
        is_refused(store.head(&name).await.expect_err("refused"));
        is_refused(store.get(&name, 0..1, None).await.expect_err("refused"));
        is_refused(store.put(&name, &Attributes::default(), body(b"x")).await.expect_err("refused"));
        is_refused(store.create_multipart(&name, &Attributes::default()).await.expect_err("refused"));
        is_refused(store.delete(&name).await.expect_err("refused"));
    }
    for prefix in ["..", "../", "/", ".seekway", ".seekway/", ".seekway/tmp/", "a//"] {
        assert!(list_all(&store, prefix, 10).await.is_empty(), "{prefix}");
    }
    let long = "x".repeat(300);
    assert!(matches!(store.head(&key(&long)).await, Err(Error::InvalidKey(_))));
}

#[tokio::test]
async fn links_lead_nowhere_outside() {
    let outside = tempfile::tempdir().expect("a folder");
    fs::write(outside.path().join("secret"), "secret").expect("written");
    let (folder, store) = store();
    let root = folder.path();
    put(&store, "inside/object", b"inside").await;
    symlink(outside.path().join("secret"), root.join("file-out")).expect("linked");
    symlink(outside.path(), root.join("folder-out")).expect("linked");
    symlink("../../../../../../etc/passwd", root.join("relative-out")).expect("linked");
    symlink("nowhere", root.join("dangling")).expect("linked");
    symlink("circle", root.join("circle")).expect("linked");
    symlink("inside/object", root.join("link")).expect("linked");
    symlink("inside", root.join("folder-link")).expect("linked");

    for name in ["file-out", "folder-out/secret", "relative-out"] {
        let error = store.head(&key(name)).await.expect_err("refused");
        assert!(matches!(error, Error::Forbidden(_)), "{name}: {error:?}");
        store.get(&key(name), 0..1, None).await.expect_err("refused");
    }
    for name in ["dangling", "circle"] {
        assert!(store.head(&key(name)).await.expect_err("refused").is_not_found(), "{name}");
    }
    store.put(&key("folder-out/new"), &Attributes::default(), body(b"x")).await.expect_err("refused");
    store.delete(&key("folder-out/secret")).await.expect_err("refused");
    assert_eq!(fs::read_dir(outside.path()).expect("is there").count(), 1, "nothing came, nothing went");

    assert_eq!(read_all(&store, "link").await, b"inside");
    assert_eq!(read_all(&store, "folder-link/object").await, b"inside");
    // Linked folders are not gone into, so that no circle is.
    assert_eq!(list_all(&store, "", 10).await, ["inside/object", "link"]);
    assert!(list_all(&store, "folder-out/", 10).await.is_empty());
    assert!(list_all(&store, "folder-link/", 10).await.is_empty());
    // A write to a link replaces the link, not the file behind it.
    put(&store, "link", b"new").await;
    assert_eq!(read_all(&store, "inside/object").await, b"inside");
}

#[tokio::test]
async fn only_regular_files_are_objects() {
    let (folder, store) = store();
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join("fifo"), rustix::fs::Mode::RWXU)
        .expect("a fifo");
    let _listener = UnixListener::bind(folder.path().join("socket")).expect("a socket");
    fs::create_dir(folder.path().join("folder")).expect("a folder");
    for name in ["fifo", "socket", "folder"] {
        let waited = tokio::time::timeout(Duration::from_secs(5), store.head(&key(name))).await;
        let error = waited.expect("does not wait for a writer").expect_err("no object");
        assert!(error.is_not_found(), "{name}: {error:?}");
        store.delete(&key(name)).await.expect("nothing to delete");
        assert!(folder.path().join(name).symlink_metadata().is_ok(), "{name} is not ours to remove");
    }
    assert!(list_all(&store, "", 10).await.is_empty());
}

#[tokio::test]
async fn an_object_in_the_way_of_a_folder_is_told() {
    let (_folder, store) = store();
    put(&store, "a/b", b"x").await;
    for name in ["a", "a/b/c"] {
        let error = store.put(&key(name), &Attributes::default(), body(b"x")).await.expect_err("in the way");
        assert!(matches!(error, Error::InvalidKey(_)), "{name}: {error:?}");
    }
    assert_eq!(read_all(&store, "a/b").await, b"x");
}

#[tokio::test]
async fn a_change_in_place_cuts_the_body() {
    let (folder, store) = store();
    let old = pattern(1, 4 * MIB);
    put(&store, "object", &old).await;
    let object = head(&store, "object").await;
    for pinned in [None, Some(&object)] {
        let get = store.get(&key("object"), 0..object.size, pinned).await;
        let Ok(mut get) = get else { continue };
        let mut got = get.body.next().await.expect("a chunk").expect("old bytes").to_vec();
        let file = OpenOptions::new().write(true).open(folder.path().join("object")).expect("opens");
        // Far from where the reader is: the version has ended all the same.
        file.write_all_at(b"!", 4 * 1024 * 1024 - 1).expect("written");
        let error = loop {
            match get.body.next().await.expect("an error before the end") {
                Ok(chunk) => got.extend_from_slice(&chunk),
                Err(error) => break error,
            }
        };
        assert!(error.version_changed(), "{error:?}");
        assert!(got == old[..got.len()], "no new byte came through");
        assert!(got.len() <= MIB, "a chunk in hand and one being read, not the rest");
        assert!(get.body.next().await.is_none(), "the error is the last item");
    }
    let error = store.get(&key("object"), 0..1, Some(&object)).await.expect_err("the pin knows");
    assert!(error.version_changed(), "{error:?}");
}

#[tokio::test]
async fn a_truncated_file_cuts_the_body() {
    let (folder, store) = store();
    put(&store, "object", &pattern(2, 4 * MIB)).await;
    let mut get = store.get(&key("object"), 0..u64::MAX, None).await.expect("reads");
    get.body.next().await.expect("a chunk").expect("old bytes");
    OpenOptions::new()
        .write(true)
        .open(folder.path().join("object"))
        .expect("opens")
        .set_len(5)
        .expect("cut");
    let rest: Vec<_> = get.body.collect().await;
    assert!(rest.last().expect("an item").as_ref().is_err_and(Error::version_changed));
}

#[tokio::test]
async fn a_replaced_file_is_read_to_its_end() {
    let (folder, store) = store();
    let (old, new) = (pattern(3, 4 * MIB), pattern(4, 4 * MIB));
    put(&store, "object", &old).await;
    let object = head(&store, "object").await;
    let mut get = store.get(&key("object"), 0..object.size, Some(&object)).await.expect("reads");
    let mut got = get.body.next().await.expect("a chunk").expect("old bytes").to_vec();
    put(&store, "object", &new).await;
    while let Some(chunk) = get.body.next().await {
        got.extend_from_slice(&chunk.expect("the descriptor still has them"));
    }
    assert!(got == old);
    assert!(read(&store, "object", 0..object.size, Some(&object)).await.expect("the pin has them") == old);
    assert!(read_all(&store, "object").await == new);
    // The same for a delete, and for a backup that makes a hard link.
    let object = head(&store, "object").await;
    fs::hard_link(folder.path().join("object"), folder.path().join("backup")).expect("linked");
    assert!(read(&store, "object", 0..object.size, Some(&object)).await.expect("only a name came") == new);
    let object = head(&store, "object").await;
    store.delete(&key("object")).await.expect("deletes");
    assert!(read(&store, "object", 0..object.size, Some(&object)).await.expect("only a name went") == new);
}

#[tokio::test]
async fn a_rewrite_with_the_old_size_and_time_is_a_new_version() {
    let (folder, store) = store();
    put(&store, "object", b"old bytes").await;
    let before = head(&store, "object").await;
    let file = OpenOptions::new().write(true).open(folder.path().join("object")).expect("opens");
    let modified = file.metadata().expect("stat").modified().expect("a time");
    file.write_all_at(b"new bytes", 0).expect("written");
    file.set_modified(modified).expect("set back");
    let after = head(&store, "object").await;
    assert_eq!((before.size, before.last_modified), (after.size, after.last_modified), "the disguise works");
    assert_ne!(before.version, after.version);
}

/// Timestamps advance in ticks; a version must not be given out while a change could still hide in one.
#[tokio::test]
async fn quick_rewrites_never_share_a_version() {
    let (folder, store) = store();
    let path = folder.path().join("object");
    let mut versions = std::collections::HashMap::new();
    for round in 0..100_u32 {
        fs::write(&path, round.to_le_bytes()).expect("written");
        let object = head(&store, "object").await;
        // The write that follows at once is the one that could hide.
        let bytes = collect(store.get(&key("object"), 0..4, Some(&object)).await.expect("reads"))
            .await
            .expect("reads");
        assert_eq!(bytes, round.to_le_bytes());
        assert_eq!(versions.insert(object.version, round), None, "round {round}");
    }
}

#[tokio::test]
async fn a_file_under_a_steady_pen_is_unavailable() {
    // A disk may hold a write up for so long that the pen is not steady; memory does not.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    let folder = folder.expect("a folder");
    let store = LocalStore::open(folder.path()).expect("opens");
    let file = File::create(folder.path().join("object")).expect("created");
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = std::thread::spawn({
        let stop = std::sync::Arc::clone(&stop);
        move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                file.write_all_at(b"x", 0).expect("written");
            }
        }
    });
    // A busy machine may not let the writer write for a tick; then there is a version, and it is asked again.
    let mut outcome = store.head(&key("object")).await;
    for _ in 0..500 {
        if outcome.is_err() {
            break;
        }
        outcome = store.head(&key("object")).await;
    }
    let error = outcome.expect_err("no version of it lasts");
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writer.join().expect("writes");
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    head(&store, "object").await;
}

#[tokio::test]
async fn descriptors_are_given_back() {
    let (folder, store) = store();
    put(&store, "object", &pattern(5, 2 * MIB)).await;
    // Descriptors of other tests in this process come and go, so only those of this object are counted.
    let path = folder.path().join("object");
    let open = || {
        let descriptors = fs::read_dir("/proc/self/fd").expect("Linux").flatten();
        descriptors.filter(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == path)).count()
    };
    let object = head(&store, "object").await;
    assert_eq!(open(), 1, "the pin");
    let mut bodies = Vec::new();
    for _ in 0..8 {
        bodies.push(store.get(&key("object"), 0..object.size, Some(&object)).await.expect("reads"));
    }
    assert_eq!(open(), 1, "every read of the pinned object uses its descriptor");
    for get in &mut bodies {
        get.body.next().await.expect("a chunk").expect("reads");
    }
    drop(object);
    assert_eq!(open(), 1, "bodies still use it");
    drop(bodies);
    eventually("the descriptor is closed", async || open() == 0).await;
}

#[tokio::test]
async fn a_pin_of_another_key_is_not_used() {
    let (_folder, store) = store();
    put(&store, "a", b"aaaa").await;
    put(&store, "b", b"bbbb").await;
    let object = head(&store, "a").await;
    let error = store.get(&key("b"), 0..4, Some(&object)).await.expect_err("another object's version");
    assert!(error.version_changed(), "{error:?}");
    let unpinned = Object { pin: Pin::default(), ..object };
    assert_eq!(read(&store, "a", 0..4, Some(&unpinned)).await.expect("the version is still there"), b"aaaa");
}

#[tokio::test]
async fn nothing_is_left_of_writes_that_failed() {
    let (folder, store) = store();
    store.put(&key("a/b"), &Attributes::default(), failing_body(&pattern(6, MIB))).await.expect_err("fails");
    let attributes = Attributes::default();
    let name = key("a/c");
    let put = store.put(
        &name,
        &attributes,
        Box::pin(body(&pattern(7, MIB)).chain(futures_util::stream::pending())),
    );
    assert!(tokio::time::timeout(Duration::from_millis(200), put).await.is_err());
    eventually("temporary files are removed", async || temporary_files(folder.path()) == 0).await;
    let names: Vec<_> =
        fs::read_dir(folder.path()).expect("is there").flatten().map(|e| e.file_name()).collect();
    assert_eq!(names, [".seekway"], "no folder was made for an object that never came");
}

#[tokio::test]
async fn what_a_crash_left_is_removed_a_day_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let temporary = folder.path().join(".seekway/tmp");
    fs::create_dir_all(&temporary).expect("created");
    for (name, age) in [("old", Duration::from_hours(25)), ("young", Duration::from_hours(23))] {
        let file = File::create(temporary.join(name)).expect("created");
        file.set_modified(std::time::SystemTime::now() - age).expect("set back");
    }
    let _store = LocalStore::open(folder.path()).expect("opens");
    assert!(!temporary.join("old").exists());
    assert!(temporary.join("young").exists(), "another process may be writing it");
}

#[tokio::test]
async fn a_store_that_only_reads_writes_nothing() {
    let (folder, store) = store();
    fs::write(folder.path().join("object"), "bytes").expect("written");
    assert_eq!(read_all(&store, "object").await, b"bytes");
    assert_eq!(list_all(&store, "", 10).await, ["object"]);
    assert_eq!(fs::read_dir(folder.path()).expect("is there").count(), 1, "nothing of ours");
    put(&store, "new", b"x").await;
    assert!(folder.path().join(".seekway/tmp").exists(), "made by the first write");
    assert!(!folder.path().join(".seekway/multipart").exists(), "not needed yet");
    store.create_multipart(&key("upload"), &Attributes::default()).await.expect("begins");
}

/// procfs refuses new files even to root, as a read-only mount does.
#[tokio::test]
async fn a_folder_that_nobody_can_write_to_is_read() {
    let store = LocalStore::open(Path::new("/proc/sys/kernel")).expect("opens");
    head(&store, "ostype").await;
    let refused = store.put(&key("new"), &Attributes::default(), body(b"x")).await.expect_err("refused");
    assert!(matches!(refused, Error::Forbidden(_) | Error::Other(_)), "{refused:?}");
}

#[tokio::test]
async fn a_file_in_the_place_of_the_private_folder_stops_only_writes() {
    let (folder, store) = store();
    fs::write(folder.path().join(".seekway"), "").expect("written");
    fs::write(folder.path().join("object"), "bytes").expect("written");
    drop(store);
    let store = LocalStore::open(folder.path()).expect("opens");
    assert_eq!(read_all(&store, "object").await, b"bytes");
    let attributes = Attributes::default();
    let refused = [
        store.put(&key("new"), &attributes, body(b"x")).await.map(drop),
        store.create_multipart(&key("new"), &attributes).await.map(drop),
    ];
    // The keys are not at fault.
    assert!(refused.iter().all(|refused| matches!(refused, Err(Error::Other(_)))), "{refused:?}");
}

#[tokio::test]
async fn a_missing_root_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("new/root");
    let store = LocalStore::open(&root).expect("opens");
    assert!(root.is_dir());
    put(&store, "object", b"x").await;
}

#[tokio::test]
async fn a_delete_takes_empty_folders_along() {
    let (folder, store) = store();
    put(&store, "a/b/c/object", b"x").await;
    put(&store, "a/neighbour", b"x").await;
    store.delete(&key("a/b/c/object")).await.expect("deletes");
    assert!(!folder.path().join("a/b").exists());
    assert!(folder.path().join("a/neighbour").exists());
}

#[tokio::test]
async fn listings_follow_the_bytes_of_the_keys_and_skip_what_is_no_object() {
    let (folder, store) = store();
    let mut names = vec!["a-b", "a/b", "a/b-c/d", "a/b/c2", "a0", "a.b", "ab/c", "A", "é"];
    names.retain(|name| *name != "a/b/c2");
    for name in &names {
        put(&store, name, b"x").await;
    }
    fs::create_dir_all(folder.path().join("empty/folders/only")).expect("made");
    let odd: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"not-utf8-\xff");
    fs::write(folder.path().join(odd), "x").expect("written");
    fs::write(folder.path().join("back\\slash"), "x").expect("written");
    names.sort_unstable();
    for limit in [1, 2, 3, 8, 1000] {
        assert_eq!(list_all(&store, "", limit).await, names, "pages of {limit}");
    }
    // More empty folders in a row than a page has room for names.
    for number in 0..50 {
        fs::create_dir(folder.path().join(format!("empty/{number}"))).expect("made");
    }
    put(&store, "empty/~", b"x").await;
    assert_eq!(list_all(&store, "empty/", 2).await, ["empty/~"]);
    // An object that is the last name for which a page had room, behind folders that hold nothing.
    for number in 0..9 {
        if number % 3 == 2 {
            put(&store, &format!("mixed/{number}"), b"x").await;
        } else {
            fs::create_dir_all(folder.path().join(format!("mixed/{number}"))).expect("made");
        }
    }
    for limit in 1..=4 {
        assert_eq!(
            list_all(&store, "mixed/", limit).await,
            ["mixed/2", "mixed/5", "mixed/8"],
            "pages of {limit}"
        );
    }
}

#[tokio::test]
async fn an_upload_id_is_never_a_path() {
    let (folder, store) = store();
    fs::create_dir(folder.path().join("victim")).expect("made");
    fs::write(folder.path().join("victim/key"), "object").expect("written");
    let number = PartNumber::new(1).expect("a number");
    for id in ["../../victim", "..", ".", "", "/etc", "../tmp", "0123456789ABCDEF0123456789ABCDEF"] {
        let upload = UploadId(id.to_owned());
        let error =
            store.put_part(&key("object"), &upload, number, b"x".as_slice().into()).await.expect_err(id);
        assert!(error.is_not_found(), "{id}: {error:?}");
        store.abort_multipart(&key("object"), &upload).await.expect("nothing to abort");
    }
    assert!(folder.path().join("victim/key").exists());
}

/// Two objects of the same bytes would be two versions, and whoever was told of the first could not find it.
#[tokio::test]
async fn an_upload_that_two_complete_at_once_is_one_version() {
    let (folder, store) = store();
    let name = key("object");
    let upload = store.create_multipart(&name, &Attributes::default()).await.expect("begins");
    let mut parts = Vec::new();
    for nth in 1..=4 {
        let number = PartNumber::new(nth.into()).expect("a number");
        let bytes = pattern(nth, 8 * MIB).into();
        parts.push(store.put_part(&name, &upload, number, bytes).await.expect("stored"));
    }
    let other = LocalStore::open(folder.path()).expect("opens");
    let (one, two) = tokio::join!(
        store.complete_multipart(&name, &upload, &parts),
        other.complete_multipart(&name, &upload, &parts),
    );
    let (made, gone): (Vec<_>, Vec<_>) = [one, two].into_iter().partition(Result::is_ok);
    assert!(matches!(gone[..], [Err(Error::NoSuchUpload)]), "{gone:?}");
    assert_eq!(head(&store, "object").await.version, *made[0].as_ref().expect("completed"));
}
