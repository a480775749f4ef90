//! What uploads promise.

use futures_util::future::join_all;
use seekway_catalog::{
    Abort, Append, Catalog, Committed, Complete, Concat, Error, Finished, Jobs, Made, NewUpload, NewVideo,
    Part, Quota, Remainder, Upload, UploadId, UploadState, VideoState,
};

use crate::stand::{Stand, account, new_upload, new_video, upload};

/// Commits a part of `bytes` after the last one.
pub(crate) async fn commit(
    catalog: &Catalog,
    id: UploadId,
    epoch: u64,
    bytes: u64,
) -> Result<Option<String>, Error> {
    let number = catalog.uploads().reserve_part(id, epoch).await?;
    let start = catalog.uploads().get(id).await?.parts_end();
    let etag = format!("\"{number}\"");
    let part = Committed { number, start, bytes, etag, hash_state: Some(vec![1, 2, 3]) };
    catalog.uploads().commit_part(id, epoch, part).await
}

fn remainder(key: &str, from_offset: u64, bytes: u64, new_offset: u64) -> Remainder {
    Remainder { from_offset, key: key.to_owned(), bytes, new_offset, hash_state: None }
}

pub(crate) async fn begin(catalog: &Catalog, id: UploadId) -> Append {
    catalog.uploads().begin_append(id, None).await.expect("may append")
}

async fn get(catalog: &Catalog, id: UploadId) -> Upload {
    catalog.uploads().get(id).await.expect("there is one")
}

pub(crate) async fn an_upload_is_kept_as_it_was_made(stand: &Stand) {
    let catalog = &stand.catalog;
    let owner = account(catalog, "kept").await.id;
    let pieces = [upload(catalog, "kept/1", Some(1)).await.id, upload(catalog, "kept/2", Some(1)).await.id];
    let new = NewUpload {
        length: Some(7),
        concat: Some(Concat::Final(pieces.to_vec())),
        ..new_upload(Some(owner), "kept/3")
    };
    let made = catalog.uploads().create(new.clone(), Quota::default()).await.expect("made");
    let mut read = get(catalog, made.id).await;
    read.now_ms = made.now_ms;
    assert_eq!(made, read);
    assert_eq!((made.account, made.via, made.purpose), (Some(owner), new.via, new.purpose));
    assert_eq!((made.offset, made.length, made.state), (0, Some(7), UploadState::Open));
    assert_eq!((&made.metadata, &made.concat), (&new.metadata, &new.concat));
    assert!(catalog.uploads().have_key("kept/3").await.expect("asks"));
    assert!(!catalog.uploads().have_key("kept/5").await.expect("asks"));
    assert_eq!(made.expires_ms - made.created_ms, new.lifetime_ms);
    assert_eq!(made.created_ms, made.updated_ms);

    let second =
        catalog.uploads().create(new_upload(Some(owner), "kept/4"), Quota::default()).await.expect("made");
    let listed = catalog.uploads().of_account(Some(owner), None, 10).await.expect("lists");
    let mut ids: Vec<_> = listed.iter().map(|upload| upload.id).collect();
    let first_page = catalog.uploads().of_account(Some(owner), None, 1).await.expect("lists");
    let second_page = catalog.uploads().of_account(Some(owner), first_page.first(), 5).await.expect("lists");
    assert_eq!(ids, [first_page[0].id, second_page[0].id]);
    assert_eq!(second_page.len(), 1);
    ids.sort();
    let mut both = [made.id, second.id];
    both.sort();
    assert_eq!(ids, both);
}

pub(crate) async fn parts_and_remainders_move_the_offset(stand: &Stand) {
    let (catalog, uploads) = (&stand.catalog, stand.catalog.uploads());
    let id = upload(catalog, "offsets", None).await.id;
    let epoch = begin(catalog, id).await.epoch;
    assert_eq!(commit(catalog, id, epoch, 100).await.expect("commits"), None);
    assert_eq!(get(catalog, id).await.hash_state, Some(vec![1, 2, 3]));
    let none = uploads.commit_remainder(id, epoch, remainder("r1", 100, 7, 107)).await.expect("commits");
    assert_eq!(none, None);
    let old = uploads.commit_remainder(id, epoch, remainder("r2", 107, 9, 109)).await.expect("commits");
    assert_eq!(old.as_deref(), Some("r1"), "the caller deletes it");
    let now = get(catalog, id).await;
    assert_eq!((now.offset, now.remainder_bytes, now.remainder_key.as_deref()), (109, 9, Some("r2")));
    assert_eq!(now.parts_end(), 100);

    assert_eq!(commit(catalog, id, epoch, 50).await.expect("commits").as_deref(), Some("r2"));
    let now = get(catalog, id).await;
    assert_eq!((now.offset, now.remainder_bytes, now.remainder_key), (150, 0, None));
    let parts = uploads.parts(id).await.expect("lists");
    let places: Vec<_> = parts.iter().map(|part| (part.number, part.start, part.bytes)).collect();
    assert_eq!(places, [(1, 0, 100), (2, 100, 50)]);

    uploads.set_length(id, epoch, 160).await.expect("sets");
    uploads.set_length(id, epoch, 160).await.expect("the same again is fine");
    assert!(matches!(uploads.set_length(id, epoch, 161).await, Err(Error::Conflict(_))));
    assert!(matches!(commit(catalog, id, epoch, 11).await, Err(Error::Conflict(_))), "past its length");
    let gap = remainder("r3", 150, 5, 156);
    assert!(matches!(uploads.commit_remainder(id, epoch, gap).await, Err(Error::Conflict(_))), "a gap");
    assert_eq!(get(catalog, id).await.offset, 150);
}

pub(crate) async fn only_the_newest_writer_commits(stand: &Stand) {
    let (catalog, uploads) = (&stand.catalog, stand.catalog.uploads());
    let id = upload(catalog, "fenced", Some(1000)).await.id;
    // However many take over at once, one is the newest.
    let others = [stand.another().await, stand.another().await];
    let begun = join_all((0..24).map(|index| {
        let catalog = [catalog, &others[0], &others[1]][index % 3];
        async move { begin(catalog, id).await.epoch }
    }))
    .await;
    let mut epochs = begun.clone();
    epochs.sort_unstable();
    assert_eq!(epochs, (1..=24).collect::<Vec<_>>(), "no two writers have the same epoch");
    let committed = join_all(begun.iter().map(|&epoch| commit(catalog, id, epoch, 10))).await;
    let (newest, superseded): (Vec<_>, Vec<_>) = committed.into_iter().partition(Result::is_ok);
    assert_eq!(newest.len(), 1);
    assert!(superseded.iter().all(|outcome| matches!(outcome, Err(Error::Superseded))), "{superseded:?}");
    assert_eq!(get(catalog, id).await.offset, 10);
    assert!(matches!(uploads.set_store_upload(id, 3, "x").await, Err(Error::Superseded)));
    uploads.set_store_upload(id, 24, "x").await.expect("sets");
    uploads.set_container(id, 24, "mp4").await.expect("sets");
    assert!(matches!(uploads.set_title(id, 3, "Stale").await, Err(Error::Superseded)));
    uploads.set_title(id, 24, "Another film").await.expect("sets");
    assert!(matches!(uploads.set_store_upload(id, 24, "y").await, Err(Error::Conflict(_))));
    let now = get(catalog, id).await;
    assert_eq!((now.store_upload.as_deref(), now.container.as_deref()), (Some("x"), Some("mp4")));
    assert_eq!(now.title, "Another film");
    for stale in others {
        stale.close().await;
    }
}

pub(crate) async fn an_offset_that_is_not_the_committed_one_is_refused(stand: &Stand) {
    let (catalog, uploads) = (&stand.catalog, stand.catalog.uploads());
    let id = upload(catalog, "mismatch", Some(1000)).await.id;
    let epoch = begin(catalog, id).await.epoch;
    commit(catalog, id, epoch, 10).await.expect("commits");
    let refused = uploads.begin_append(id, Some(9)).await;
    assert!(matches!(refused, Err(Error::OffsetConflict { committed: 10 })), "{refused:?}");
    assert_eq!(get(catalog, id).await.epoch, epoch, "whoever is wrong takes nothing over");
    let again = Committed { number: 1, start: 0, bytes: 10, etag: String::new(), hash_state: None };
    let refused = uploads.commit_part(id, epoch, again).await;
    assert!(matches!(refused, Err(Error::OffsetConflict { committed: 10 })), "{refused:?}");
    assert_eq!(uploads.begin_append(id, Some(10)).await.expect("may append").epoch, epoch + 1);
    let unknown = "00000000-0000-4000-8000-000000000000";
    let unknown = UploadId::parse(unknown).expect("an id");
    assert!(matches!(uploads.begin_append(unknown, None).await, Err(Error::NotFound)));
}

pub(crate) async fn part_numbers_are_never_given_twice(stand: &Stand) {
    let catalog = &stand.catalog;
    let id = upload(catalog, "numbers", Some(1000)).await.id;
    let epoch = begin(catalog, id).await.epoch;
    let numbers =
        join_all((0..20).map(|_| async move { catalog.uploads().reserve_part(id, epoch).await })).await;
    let mut numbers: Vec<u64> = numbers.into_iter().map(|number| number.expect("reserves")).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
    let epoch = begin(catalog, id).await.epoch;
    assert_eq!(
        catalog.uploads().reserve_part(id, epoch).await.expect("reserves"),
        21,
        "nor to the next writer"
    );
}

pub(crate) async fn finishing_makes_a_video_once(stand: &Stand) {
    let (catalog, uploads) = (&stand.catalog, stand.catalog.uploads());
    let id = upload(catalog, "finish", Some(20)).await.id;
    let epoch = begin(catalog, id).await.epoch;
    commit(catalog, id, epoch, 10).await.expect("commits");
    let early = uploads.begin_completing(id, Complete::Writer(epoch)).await;
    assert!(matches!(early, Err(Error::OffsetConflict { committed: 10 })), "{early:?}");
    commit(catalog, id, epoch, 10).await.expect("commits");
    let first = uploads.begin_completing(id, Complete::Writer(epoch)).await.expect("completes");
    let second = uploads.begin_completing(id, Complete::Writer(epoch)).await.expect("again");
    assert_eq!((&first.parts, first.parts.len()), (&second.parts, 2));
    assert!(matches!(begin_again(catalog, id).await, Err(Error::IllegalTransition { .. })));

    let new = || NewVideo { profile: Some("default".to_owned()), ..new_video("finish", 20) };
    let finished = join_all((0..4).map(|_| uploads.finish(id, Made::Video(new())))).await;
    let videos: Vec<_> = finished.into_iter().map(|finished| finished.expect("finishes")).collect();
    assert!(videos.iter().all(|video| *video == videos[0]), "{videos:?}");
    let Finished::Video(video) = videos[0] else { panic!("{videos:?}") };
    let upload = get(catalog, id).await;
    assert_eq!((upload.state, upload.video), (UploadState::Complete, Some(video)));
    let video = catalog.videos().get(video).await.expect("there is one");
    assert_eq!((video.state, &video.source), (VideoState::Uploaded, &new_video("finish", 20).source));
    let jobs = catalog.jobs().of_video(video.id).await.expect("lists");
    let told = catalog.outbox().claim(Jobs::READY, 100, 60_000).await.expect("claims");
    let told: Vec<_> = told.iter().filter(|row| row.payload == jobs[0].id.to_string()).collect();
    assert_eq!((jobs.len(), told.len()), (1, 1), "what is to be done is told once");
    catalog.jobs().cancel(jobs[0].id).await.expect("nobody does it");

    // A client that sends to the bucket by itself knows the parts.
    let direct = crate::stand::upload(catalog, "direct", Some(30)).await.id;
    let parts = [(1, 0, 20), (2, 20, 10)];
    let parts = parts.map(|(number, start, bytes)| Part { number, start, bytes, etag: "\"x\"".to_owned() });
    let short = uploads.begin_completing(direct, Complete::Direct(parts[..1].to_vec())).await;
    assert!(matches!(short, Err(Error::OffsetConflict { committed: 20 })), "{short:?}");
    assert_eq!(get(catalog, direct).await.offset, 0, "a refused list changes nothing");
    let completing =
        uploads.begin_completing(direct, Complete::Direct(parts.to_vec())).await.expect("completes");
    assert_eq!(completing.parts, parts);
}

async fn begin_again(catalog: &Catalog, id: UploadId) -> Result<Append, Error> {
    catalog.uploads().begin_append(id, None).await
}

pub(crate) async fn a_refused_upload_says_why(stand: &Stand) {
    let (catalog, uploads) = (&stand.catalog, stand.catalog.uploads());
    let id = upload(catalog, "refused", Some(20)).await.id;
    let epoch = begin(catalog, id).await.epoch;
    commit(catalog, id, epoch, 10).await.expect("commits");
    let held = uploads.begin_abort(id, Abort::Refused("no video".to_owned())).await.expect("aborts");
    assert_eq!(held.parts.len(), 1, "what the store holds");
    assert!(matches!(commit(catalog, id, epoch, 10).await, Err(Error::IllegalTransition { .. })));
    uploads.begin_abort(id, Abort::Terminated).await.expect("again");
    uploads.ended(id).await.expect("ends");
    uploads.ended(id).await.expect("again");
    let now = get(catalog, id).await;
    assert_eq!((now.state, now.problem.as_deref()), (UploadState::Failed, Some("no video")));

    let id = upload(catalog, "terminated", Some(20)).await.id;
    uploads.begin_abort(id, Abort::Terminated).await.expect("aborts");
    uploads.ended(id).await.expect("ends");
    uploads.ended(id).await.expect("again");
    assert!(matches!(uploads.get(id).await, Err(Error::NotFound)));
}

pub(crate) async fn illegal_transitions_are_errors(stand: &Stand) {
    let (catalog, uploads) = (&stand.catalog, stand.catalog.uploads());
    let illegal = |outcome: Result<(), Error>| {
        assert!(matches!(outcome, Err(Error::IllegalTransition { .. })), "{outcome:?}");
    };
    let id = upload(catalog, "illegal", Some(0)).await.id;
    illegal(uploads.finish(id, Made::Video(new_video("illegal", 0))).await.map(drop));
    illegal(uploads.ended(id).await.map(drop));
    assert!(matches!(uploads.begin_abort(id, Abort::Expired).await, Err(Error::Conflict(_))), "it has not");
    let epoch = begin(catalog, id).await.epoch;
    uploads.begin_completing(id, Complete::Writer(epoch)).await.expect("completes");
    illegal(uploads.begin_abort(id, Abort::Terminated).await.map(drop));
    illegal(uploads.begin_append(id, None).await.map(drop));
    uploads.finish(id, Made::Video(new_video("illegal", 0))).await.expect("finishes");
    illegal(uploads.begin_abort(id, Abort::Refused(String::new())).await.map(drop));
    illegal(uploads.begin_completing(id, Complete::Writer(epoch)).await.map(drop));
}

pub(crate) async fn the_same_idempotency_key_makes_one_upload(stand: &Stand) {
    let catalog = &stand.catalog;
    let others = [stand.another().await, stand.another().await];
    let owner = account(catalog, "again").await.id;
    let new = |account, key: &str, fingerprint: &str| NewUpload {
        idempotency_key: Some("once".to_owned()),
        fingerprint: Some(fingerprint.to_owned()),
        ..new_upload(account, key)
    };
    for account in [None, Some(owner)] {
        let made = join_all((0..12).map(|index| {
            let catalog = [catalog, &others[0], &others[1]][index % 3];
            // Each attempt would choose another key.
            let new = new(account, &format!("again/{account:?}/{index}"), "same");
            async move { catalog.uploads().create(new, Quota::default()).await.expect("made") }
        }))
        .await;
        assert!(made.iter().all(|upload| upload.id == made[0].id));
        let other = catalog.uploads().create(new(account, "again/other", "other"), Quota::default()).await;
        assert!(matches!(other, Err(Error::Conflict(_))), "{other:?}");
    }
    for stale in others {
        stale.close().await;
    }
}

pub(crate) async fn what_was_left_behind_is_swept_once(stand: &Stand) {
    let (catalog, uploads) = (&stand.catalog, stand.catalog.uploads());
    let completing = upload(catalog, "stuck", Some(0)).await.id;
    let epoch = begin(catalog, completing).await.epoch;
    uploads.begin_completing(completing, Complete::Writer(epoch)).await.expect("completes");
    assert!(!uploads.stuck_completing(600_000, 100).await.expect("lists").contains(&completing));
    // A time limit below zero has passed already: nobody has to wait for it here.
    let claims = join_all((0..8).map(|_| uploads.stuck_completing(-1, 100))).await;
    assert!(claims.into_iter().flat_map(|claim| claim.expect("lists")).any(|id| id == completing));

    let new = NewUpload { lifetime_ms: 0, ..new_upload(None, "expired") };
    let expired = uploads.create(new, Quota::default()).await.expect("made");
    assert!(expired.is_expired());
    assert!(matches!(uploads.begin_append(expired.id, None).await, Err(Error::Expired)));
    uploads.begin_abort(expired.id, Abort::Expired).await.expect("aborts");
    uploads.ended(expired.id).await.expect("ends");

    // It is over in a moment, and not in the same one.
    let new = NewUpload { lifetime_ms: 1, ..new_upload(None, "forgotten") };
    let refused = uploads.create(new, Quota::default()).await.expect("made").id;
    uploads.begin_abort(refused, Abort::Refused("no video".to_owned())).await.expect("aborts");
    uploads.forget(refused).await.expect("does nothing");
    uploads.ended(refused).await.expect("ends");
    while !uploads.ended_long_ago(100).await.expect("looks").contains(&refused) {}
    assert!(!uploads.ended_long_ago(100).await.expect("looks").contains(&refused), "one caller is enough");
    uploads.forget(refused).await.expect("forgets");
    assert!(matches!(uploads.get(refused).await, Err(Error::NotFound)));
}
