//! What is put together from pieces: whose they are, and what may be done with them.

use seekway_catalog::{Concat, Quota, Role, Via};

use super::ownership::somebody;
use super::stand::{BYTES, TUS, Uploading, new_upload, video};

/// A whole piece of these bytes, with more headers.
async fn piece(up: &Uploading, bytes: &[u8], more: &[(&str, &str)]) -> String {
    let length = bytes.len().to_string();
    let headers = [&[TUS, BYTES, ("Upload-Length", length.as_str()), ("Upload-Concat", "partial")], more];
    let answer = up.ask("POST", "/api/uploads", &headers.concat(), bytes).await;
    assert_eq!((answer.status, answer.header("upload-offset")), (201, length.as_str()), "{answer:?}");
    answer.header("location").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_need_no_room_twice() {
    for up in Uploading::both(&[("SEEKWAY_QUOTA_BYTES", "2500")]).await {
        let bytes = video(86, 2000);
        let pieces = [piece(&up, &bytes[..1000], &[]).await, piece(&up, &bytes[1000..], &[]).await];
        let concat = format!("final;{}", pieces.join(" "));
        let answer = up.ask("POST", "/api/uploads", &[TUS, ("Upload-Concat", &concat)], b"").await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let made = up.assert_video(Uploading::video_of(&answer), &bytes).await;
        up.assert_clean(&[&made.source.key]).await;
        let over = up.ask("POST", "/api/uploads", &[TUS, ("Upload-Length", "501")], b"").await;
        assert_eq!(over.status, 403, "it counts once: {over:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_pieces_are_not_there() {
    for up in Uploading::both(&[("SEEKWAY_UPLOADS", "auto"), ("SEEKWAY_ACCOUNTS", "on")]).await {
        let (_, ada) = somebody(&up, "ada", Role::Creator).await;
        let (_, bob) = somebody(&up, "bob", Role::Creator).await;
        let (ada, bob) = (("Authorization", ada.as_str()), ("Authorization", bob.as_str()));
        let bytes = video(87, 1000);
        let concat = format!("final;{}", piece(&up, &bytes, &[ada]).await);
        for more in [&[bob][..], &[bob, ("Idempotency-Key", "stolen")]] {
            let headers = [&[TUS, ("Upload-Concat", concat.as_str())], more].concat();
            assert_eq!(up.ask("POST", "/api/uploads", &headers, b"").await.status, 404, "{more:?}");
        }
        let answer = up.ask("POST", "/api/uploads", &[TUS, ("Upload-Concat", &concat), ada], b"").await;
        up.assert_video(Uploading::video_of(&answer), &bytes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_used_again_for_other_pieces_is_a_conflict() {
    for up in Uploading::both(&[]).await {
        let bytes = video(88, 1000);
        let [one, two] = [piece(&up, &bytes, &[]).await, piece(&up, &bytes, &[]).await];
        let join = async |piece: &str| {
            let concat = format!("final;{piece}");
            let headers = [TUS, ("Upload-Concat", concat.as_str()), ("Idempotency-Key", "joined")];
            up.ask("POST", "/api/uploads", &headers, b"").await
        };
        let made = Uploading::video_of(&join(&one).await);
        assert_eq!(join(&two).await.status, 409);
        assert_eq!(join("/api/uploads/00000000-0000-4000-8000-000000000000").await.status, 409);
        assert_eq!(up.offset(&two).await, bytes.len(), "a piece that nobody has used");
        assert_eq!(Uploading::video_of(&join(&one).await), made);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_appended_to_what_pieces_make() {
    let up = Uploading::embedded(&[]).await;
    let bytes = video(89, 1000);
    let target = piece(&up, &bytes, &[]).await;
    let id = target.rsplit('/').next().and_then(seekway_catalog::UploadId::parse).expect("an id");
    let concat = Some(Concat::Final(vec![id]));
    let new = seekway_catalog::NewUpload { concat, ..new_upload(Via::Tus, "original/2026/11/23/a") };
    let id = up.catalog.uploads().create(new, Quota::default()).await.expect("made").id;
    let target = format!("/api/uploads/{id}");
    assert_eq!(up.patch(&target, 0, &bytes).await.status, 403);
    let headers =
        [("Upload-Complete", "?1"), ("Upload-Offset", "0"), ("Content-Type", "application/partial-upload")];
    let answer = up.ask("PATCH", &target, &headers, &bytes).await;
    assert_eq!(answer.status, 403, "{answer:?}");
}
