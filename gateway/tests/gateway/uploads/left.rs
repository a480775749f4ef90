//! What becomes of uploads that are left: by their client, by their connection, by their replica.

use futures_util::stream;
use seekway_catalog::{Committed, Complete, NewUpload, Quota, Via};
use seekway_storage::{Attributes, ObjectKey, PartNumber};

use super::stand::{BYTES, MIB, TUS, Uploading, new_upload, video};
use crate::support::wire::head;
use crate::support::{Stand, until};

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_upload_is_gone() {
    for up in Uploading::both(&[("SEEKWAY_UPLOAD_EXPIRY", "1s")]).await {
        let target = up.create(&[("Upload-Length", "1000")]).await;
        until("it expires", async || {
            (up.ask("HEAD", &target, &[TUS], b"").await.status == 410).then_some(())
        })
        .await;
        assert_eq!(up.patch(&target, 0, b"x").await.status, 410);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_continues_is_swept() {
    for up in Uploading::both(&[("SEEKWAY_UPLOAD_EXPIRY", "2s")]).await {
        let bytes = video(9, 10 * MIB);
        let kept = up.create(&[("Upload-Length", "100")]).await;
        let made = Uploading::video_of(&up.patch(&kept, 0, &bytes[..100]).await);
        let target = up.create(&[("Upload-Length", "99999999")]).await;
        let piece = up.create(&[("Upload-Length", "999999"), ("Upload-Concat", "partial")]).await;
        assert_eq!(up.patch(&target, 0, &bytes).await.status, 204);
        assert_eq!(up.patch(&piece, 0, &bytes[..5000]).await.status, 204);
        // Somebody else's, where ours are.
        let strange = ObjectKey::new("original/2026/11/23/their-own.mp4").expect("a key");
        let theirs = up.store.create_multipart(&strange, &Attributes::default()).await.expect("begins");
        until("nothing is left of them", async || {
            (up.ask("HEAD", &target, &[TUS], b"").await.status == 404
                && up.ask("HEAD", &piece, &[TUS], b"").await.status == 404)
                .then_some(())
        })
        .await;
        let theirs_still = up.store.abort_multipart(&strange, &theirs);
        assert!(up.store.list_parts(&strange, &theirs, None).await.is_ok(), "it is not ours to sweep");
        theirs_still.await.expect("aborts");
        let made = up.assert_video(made, &bytes[..100]).await;
        up.assert_clean(&[&made.source.key]).await;
    }
}

/// Replicas share nothing but the store and the database.
#[tokio::test(flavor = "multi_thread")]
async fn any_replica_continues_any_upload() {
    for up in Uploading::both(&[]).await {
        let settings: Vec<_> =
            up.settings().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let folder = tempfile::TempDir::new().expect("a folder");
        let other = Stand::start(&settings, &[], None, folder);
        let bytes = video(10, 12 * MIB);
        let target = up.create(&[("Upload-Length", &bytes.len().to_string())]).await;
        // The first replica still has a connection that says nothing, and bytes of it that it would commit.
        let mut silent = up.begin_patch(&target, 0, bytes.len()).await;
        silent.send(&bytes[..3 * MIB]).await;
        until("silence has it kept", async || (up.offset(&target).await == 3 * MIB).then_some(())).await;
        let mut wire = other.connect().await;
        let rest = (bytes.len() - 3 * MIB).to_string();
        let headers = [TUS, BYTES, ("Upload-Offset", "3145728"), ("Content-Length", rest.as_str())];
        wire.send(head("PATCH", &target, &headers)).await;
        wire.send(&bytes[3 * MIB..10 * MIB]).await;
        // It wakes up, and may not commit.
        silent.send(&bytes[3 * MIB..4 * MIB]).await;
        wire.send(&bytes[10 * MIB..]).await;
        let answer = wire.answer("PATCH").await;
        assert_eq!(answer.status, 204, "{answer:?}");
        drop(silent);
        let made = up.assert_video(Uploading::video_of(&answer), &bytes).await;
        until("what the first one stored late is gone", async || {
            (up.keys().await == [made.source.key.as_str()]).then_some(())
        })
        .await;
    }
}

/// The other end of a dead connection never says that it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_has_its_bytes_kept_and_a_newcomer_takes_over() {
    for up in Uploading::both(&[]).await {
        let bytes = video(3, 6 * MIB);
        let target = up.create(&[("Upload-Length", &bytes.len().to_string())]).await;
        let mut silent = up.begin_patch(&target, 0, bytes.len()).await;
        silent.send(&bytes[..MIB]).await;
        until("silence has it kept", async || (up.offset(&target).await == MIB).then_some(())).await;
        let answer = up.patch(&target, MIB, &bytes[MIB..]).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        let told = silent.answer("PATCH").await;
        assert_eq!(told.status, 423, "the older one is told to stop: {told:?}");
        up.assert_video(Uploading::video_of(&answer), &bytes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_keeps_what_came_and_sends_the_client_elsewhere() {
    for mut up in Uploading::both(&[("SEEKWAY_DRAIN_TIMEOUT", "2s")]).await {
        let bytes = video(11, 12 * MIB);
        let target = up.create(&[("Upload-Length", &bytes.len().to_string())]).await;
        let mut wire = up.begin_patch(&target, 0, bytes.len()).await;
        wire.send(&bytes[..11 * MIB]).await;
        until("a part is committed", async || (up.offset(&target).await >= 8 * MIB).then_some(())).await;
        let gateway = up.take_gateway();
        gateway.drain();
        let answer = wire.answer("PATCH").await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{answer:?}");
        tokio::task::spawn_blocking(move || gateway.join()).await.expect("no panic");
        let uploads = up.catalog.uploads().of_account(None, None, 1).await.expect("lists");
        assert_eq!(uploads[0].offset, 11 << 20, "all that came");
    }
}

/// Another replica completes it at the same moment: the object is there, and the upload not known to be complete.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_there_is_not_made_again() {
    for up in Uploading::both(&[]).await {
        let (uploads, bytes) = (up.catalog.uploads(), video(12, 3000));
        let key =
            ObjectKey::new("original/2026/11/23/8c2f3a1e-1111-4111-8111-111111111111-a.mp4").expect("a key");
        let new = NewUpload { length: Some(3000), ..new_upload(Via::Tus, key.as_str()) };
        let id = uploads.create(new, Quota::default()).await.expect("made").id;
        let epoch = uploads.begin_append(id, None).await.expect("begins").epoch;
        let multipart = up.store.create_multipart(&key, &Attributes::default()).await.expect("begins");
        uploads.set_store_upload(id, epoch, &multipart.0).await.expect("sets");
        uploads.set_container(id, epoch, "mp4").await.expect("sets");
        let number = uploads.reserve_part(id, epoch).await.expect("reserves");
        let first = PartNumber::new(1).expect("a number");
        let part = up.store.put_part(&key, &multipart, first, bytes.clone().into()).await.expect("stored");
        let part = Committed { number, start: 0, bytes: 3000, etag: part.etag, hash_state: None };
        uploads.commit_part(id, epoch, part).await.expect("commits");
        uploads.begin_completing(id, Complete::Writer(epoch)).await.expect("begins");
        let body = Box::pin(stream::iter([Ok(bytes.clone().into())]));
        let there = up.store.put(&key, &Attributes::default(), body).await.expect("stored");
        let answer = up.ask("HEAD", &format!("/api/uploads/{id}"), &[TUS], b"").await;
        let made = up.assert_video(Uploading::video_of(&answer), &bytes).await;
        assert_eq!(made.source.etag, there.etag.to_string());
        assert_eq!(up.store.head(&key).await.expect("it is there").version, there);
        up.assert_clean(&[key.as_str()]).await;
    }
}
