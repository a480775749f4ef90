//! A crash leaves no operation half done, and nothing that was acknowledged undone.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use futures_util::future::join_all;
use seekway_catalog::{
    Catalog, Complete, Error, Finished, Jobs, Made, NewVideo, Quota, Remainder, Upload, UploadId, UploadState,
};

use crate::stand::{Engine, Stand, impatient, new_upload, new_video, open, upload};
use crate::uploads::commit;

/// Where the writer that is to be killed finds its database.
const WRITER_URL: &str = "SEEKWAY_TEST_WRITER";

/// What holds of every upload, whatever happened.
async fn check(catalog: &Catalog, id: UploadId) -> Upload {
    let upload = catalog.uploads().get(id).await.expect("there is one");
    let parts = catalog.uploads().parts(id).await.expect("lists");
    let mut end = 0;
    for part in &parts {
        assert_eq!(part.start, end, "{parts:?}");
        assert!(part.number < upload.next_part, "{parts:?}");
        end += part.bytes;
    }
    assert_eq!(end, upload.parts_end(), "{upload:?} {parts:?}");
    assert_eq!(upload.remainder_bytes > 0, upload.remainder_key.is_some(), "{upload:?}");
    let is_there = catalog.videos().access(&upload.key).await.is_ok();
    assert_eq!(upload.state == UploadState::Complete, is_there, "{upload:?}");
    assert_eq!(upload.video.is_some(), is_there, "{upload:?}");
    upload
}

/// Each operation of an upload, with a crash after each.
async fn crash_between_operations(mut stand: Stand) {
    let id = upload(&stand.catalog, "between", None).await.id;
    stand.crash().await;
    let epoch = stand.catalog.uploads().begin_append(id, Some(0)).await.expect("may append").epoch;
    stand.crash().await;
    stand.catalog.uploads().set_store_upload(id, epoch, "multipart").await.expect("sets");
    stand.crash().await;
    commit(&stand.catalog, id, epoch, 100).await.expect("commits");
    stand.crash().await;
    assert_eq!(check(&stand.catalog, id).await.offset, 100);
    let remainder =
        Remainder { from_offset: 100, key: "r".to_owned(), bytes: 7, new_offset: 107, hash_state: None };
    stand.catalog.uploads().commit_remainder(id, epoch, remainder).await.expect("commits");
    stand.crash().await;
    assert_eq!(check(&stand.catalog, id).await.offset, 107);
    commit(&stand.catalog, id, epoch, 20).await.expect("commits");
    stand.crash().await;
    stand.catalog.uploads().set_length(id, epoch, 120).await.expect("sets");
    stand.crash().await;
    stand.catalog.uploads().begin_completing(id, Complete::Writer(epoch)).await.expect("completes");
    stand.crash().await;
    assert_eq!(check(&stand.catalog, id).await.state, UploadState::Completing);
    let made = Made::Video(NewVideo { profile: Some("default".to_owned()), ..new_video("between", 120) });
    let finished = stand.catalog.uploads().finish(id, made.clone()).await.expect("finishes");
    stand.crash().await;
    let Finished::Video(video) = finished else { panic!("{finished:?}") };
    assert_eq!(check(&stand.catalog, id).await.video, Some(video));
    assert_eq!(stand.catalog.uploads().finish(id, made).await.expect("again"), finished);
    let jobs = stand.catalog.jobs().of_video(video).await.expect("lists");
    let todo = stand.catalog.outbox().claim(Jobs::READY, 100, 60_000).await.expect("claims");
    assert_eq!(todo.iter().filter(|row| row.payload == jobs[0].id.to_string()).count(), jobs.len());
}

impl Stand {
    /// Ends the database as `kill -9` does, and comes back.
    async fn crash(&mut self) {
        match &mut self.engine {
            // The same catalog goes on: its connections notice.
            Engine::Postgres(server) => server.restart().expect("PostgreSQL starts again"),
            Engine::Pooled { server, .. } => {
                server.restart().expect("PostgreSQL starts again");
                // The pooler asks for it once a second.
                while let Err(error) = self.catalog.ping().await {
                    assert!(error.is_retryable(), "{error:?}");
                }
            }
            Engine::Sqlite(folder) => {
                // What a process that was killed leaves behind: the file and its log as they are at this moment.
                let copy = tempfile::tempdir().expect("a folder");
                copy_folder(&folder.path().join("data"), copy.path());
                self.url = format!("sqlite:{}", copy.path().join("seekway.db").display());
                let crashed = std::mem::replace(&mut self.catalog, open(&self.url).await);
                crashed.close().await;
                let data = copy.path().join("data");
                // So that the next crash finds it under the same name.
                std::os::unix::fs::symlink(copy.path(), data).expect("a link");
                *folder = copy;
            }
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("readable");
        if entry.file_type().expect("known").is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copies");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_goes_on_after_postgres_was_killed() {
    crash_between_operations(Stand::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_goes_on_after_postgres_behind_a_pooler_was_killed() {
    crash_between_operations(Stand::pooled().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_goes_on_in_what_a_killed_process_left() {
    crash_between_operations(Stand::sqlite().await).await;
}

/// Uploads one after the other, until the database is gone; the ids of those that it was told are finished.
async fn write_until_it_fails(catalog: &Catalog, name: &str, mut finished: impl FnMut(UploadId)) -> Error {
    for number in 0.. {
        let outcome = async {
            let key = format!("{name}/{number}");
            let uploads = catalog.uploads();
            let id = uploads.create(new_upload(None, &key), Quota::default()).await?.id;
            let epoch = uploads.begin_append(id, None).await?.epoch;
            for bytes in [10, 20] {
                commit(catalog, id, epoch, bytes).await?;
            }
            uploads.set_length(id, epoch, 30).await?;
            uploads.begin_completing(id, Complete::Writer(epoch)).await?;
            uploads.finish(id, Made::Video(new_video(&key, 30))).await?;
            Ok(id)
        };
        match outcome.await {
            Ok(id) => finished(id),
            Err(error) => return error,
        }
    }
    unreachable!("the database is killed before")
}

/// All uploads are whole, and those that were acknowledged are complete.
async fn check_all(catalog: &Catalog, acknowledged: &[UploadId]) {
    let all = catalog.uploads().of_account(None, None, 100_000).await.expect("lists");
    assert!(all.len() >= acknowledged.len());
    for upload in all {
        let now = check(catalog, upload.id).await;
        assert!(now.state == UploadState::Complete || !acknowledged.contains(&now.id), "{now:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_killed_in_the_middle_leaves_nothing_half_done() {
    let mut stand = Stand::postgres().await;
    // Otherwise writers would look for a new connection for long.
    let catalog = Catalog::open(&stand.url.parse().expect("a URL"), &impatient()).await.expect("opens");
    let (told, mut hears) = tokio::sync::mpsc::channel(1024);
    let writers = (0..4).map(|index| {
        let (catalog, told) = (catalog.clone(), told.clone());
        tokio::spawn(async move {
            let name = format!("killed/{index}");
            write_until_it_fails(&catalog, &name, |id| told.try_send(id).expect("has room")).await
        })
    });
    let writers: Vec<_> = writers.collect();
    drop(told);
    let mut acknowledged = Vec::new();
    while acknowledged.len() < 10 {
        acknowledged.push(hears.recv().await.expect("writers go on"));
    }
    let Engine::Postgres(server) = &mut stand.engine else { unreachable!() };
    server.kill();
    for error in join_all(writers).await {
        let error = error.expect("did not panic");
        assert!(error.is_retryable(), "{error:?}");
    }
    server.restart().expect("PostgreSQL starts again");
    while let Ok(id) = hears.try_recv() {
        acknowledged.push(id);
    }
    check_all(&stand.catalog, &acknowledged).await;
}

/// The other process of the test below: it writes until it is killed.
#[tokio::test]
async fn writer_that_is_killed() {
    let Ok(url) = std::env::var(WRITER_URL) else { return };
    let catalog = open(&url).await;
    let error = write_until_it_fails(&catalog, "killed", |id| println!("\nfinished {id}")).await;
    panic!("{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_killed_in_the_middle_leaves_nothing_half_done() {
    let stand = Stand::sqlite().await;
    let mut writer = Command::new(std::env::current_exe().expect("a test"))
        .args(["--exact", "crashes::writer_that_is_killed", "--nocapture"])
        .env(WRITER_URL, &stand.url)
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let lines = BufReader::new(writer.stdout.take().expect("a pipe")).lines();
    let mut acknowledged = Vec::new();
    for line in lines {
        let Some(id) = line.expect("text").strip_prefix("finished ").map(UploadId::parse) else { continue };
        acknowledged.push(id.expect("an id"));
        if acknowledged.len() == 10 {
            writer.kill().expect("a child of ours can be killed");
        }
    }
    writer.wait().expect("it has ended");
    assert!(acknowledged.len() >= 10, "{acknowledged:?}");
    check_all(&open(&stand.url).await, &acknowledged).await;
}
