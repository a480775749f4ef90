//! What every store promises, tried on each of them, and what only one of them can get wrong.

mod local;
mod objects;
mod origin;
mod s3;
mod s3_answers;
mod suite;
mod suite_writes;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_folder_conforms() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = seekway_storage::local::LocalStore::open(folder.path()).expect("opens");
    suite::conformance(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_s3_server_conforms() {
    let (_server, store) = s3::bucket("conformance").await;
    suite::conformance(&store).await;
}

/// Whatever is in its way, a store promises the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_behind_an_origin_conform() {
    let folder = tempfile::tempdir().expect("a folder");
    let local = seekway_storage::local::LocalStore::open(folder.path()).expect("opens");
    suite::conformance(&origin::around(local)).await;
    let (_server, s3) = s3::bucket("behind").await;
    suite::conformance(&origin::around(s3)).await;
}
