//! Resumable uploads of the IETF, in the versions that clients speak.

use seekway_catalog::{NewUpload, Quota, Role, Via};

use super::ownership::somebody;
use super::stand::{MIB, Uploading, new_upload, video};
use crate::support::until;
use crate::support::wire::head;

/// What a client of a version says: that more follows, that these bytes are the last, and what a piece is.
struct Dialect {
    version: (&'static str, &'static str),
    more: (&'static str, &'static str),
    last: (&'static str, &'static str),
}

const DIALECTS: [Dialect; 4] = [
    dialect("3", ("Upload-Incomplete", "?1"), ("Upload-Incomplete", "?0")),
    dialect("5", ("Upload-Complete", "?0"), ("Upload-Complete", "?1")),
    dialect("6", ("Upload-Complete", "?0"), ("Upload-Complete", "?1")),
    dialect("8", ("Upload-Complete", "?0"), ("Upload-Complete", "?1")),
];
const PIECE: (&str, &str) = ("Content-Type", "application/partial-upload");

const fn dialect(
    version: &'static str,
    more: (&'static str, &'static str),
    last: (&'static str, &'static str),
) -> Dialect {
    Dialect { version: ("Upload-Draft-Interop-Version", version), more, last }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_uploads_in_pieces() {
    for up in Uploading::both(&[]).await {
        let mut keys = Vec::new();
        for Dialect { version, more, last } in DIALECTS {
            let bytes = video(30, 11 * MIB + 1);
            let name = ("Content-Disposition", "attachment; filename=\"clip.mp4\"");
            let answer = up.ask("POST", "/api/uploads", &[version, more, name], &bytes[..MIB]).await;
            assert_eq!((answer.status, answer.header("upload-offset")), (201, "1048576"), "{answer:?}");
            assert_eq!(answer.header(&more.0.to_ascii_lowercase()), more.1);
            assert_eq!(answer.header("upload-draft-interop-version"), version.1);
            assert!(answer.header("upload-limit").starts_with("max-size="));
            let target = answer.header("location").to_owned();
            // Cut off in the middle of a piece.
            let rest = (bytes.len() - MIB).to_string();
            let headers =
                [version, more, PIECE, ("Upload-Offset", "1048576"), ("Content-Length", rest.as_str())];
            let mut wire = up.stand().connect().await;
            wire.send(head("PATCH", &target, &headers)).await;
            wire.send(&bytes[MIB..7 * MIB]).await;
            drop(wire);
            let at_seven = (7 * MIB).to_string();
            until("what came is kept", async || {
                let answer = up.ask("HEAD", &target, &[version], b"").await;
                assert_eq!((answer.status, answer.header("cache-control")), (204, "no-store"));
                assert_eq!(answer.header(&more.0.to_ascii_lowercase()), more.1);
                (answer.header("upload-offset") == at_seven).then_some(())
            })
            .await;
            let wrong = [version, last, PIECE, ("Upload-Offset", "5")];
            let answer = up.ask("PATCH", &target, &wrong, b"x").await;
            assert_eq!((answer.status, answer.header("upload-offset")), (409, at_seven.as_str()));
            let rest = [version, last, PIECE, ("Upload-Offset", &at_seven)];
            let answer = up.ask("PATCH", &target, &rest, &bytes[7 * MIB..]).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.header(&last.0.to_ascii_lowercase()), last.1);
            let video = up.assert_video(Uploading::video_of(&answer), &bytes).await;
            assert!(video.source.sha256.is_some() && video.source.key.ends_with("-clip.mp4"), "{video:?}");
            let answer = up.ask("HEAD", &target, &[version], b"").await;
            assert_eq!(answer.header("upload-length"), bytes.len().to_string());
            assert_eq!(answer.header(&last.0.to_ascii_lowercase()), last.1);
            keys.push(video.source.key);
        }
        keys.sort();
        up.assert_clean(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_is_enough() {
    for up in Uploading::both(&[]).await {
        let bytes = video(31, 100_000);
        let headers = [("Upload-Draft-Interop-Version", "6"), ("Upload-Complete", "?1")];
        let answer = up.ask("POST", "/api/uploads", &headers, &bytes).await;
        assert_eq!((answer.status, answer.header("upload-complete")), (201, "?1"), "{answer:?}");
        up.assert_video(Uploading::video_of(&answer), &bytes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_told_so() {
    let up = Uploading::embedded(&[]).await;
    let version = ("Upload-Draft-Interop-Version", "6");
    let more = ("Upload-Complete", "?0");
    let answer = up.ask("POST", "/api/uploads", &[version, more], b"").await;
    let target = answer.header("location").to_owned();
    let at = ("Upload-Offset", "0");
    for (headers, status) in [
        (&[version, more, at][..], 415),
        (&[version, more, PIECE], 400),
        (&[version, at, PIECE], 400),
        (&[version, ("Upload-Complete", "yes"), at, PIECE], 400),
        (&[("Upload-Draft-Interop-Version", "2"), more, at, PIECE], 400),
        (&[version, more, ("Upload-Offset", "1"), PIECE], 409),
    ] {
        let answer = up.ask("PATCH", &target, headers, b"x").await;
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
        answer.problem();
    }
    assert_eq!(up.ask("DELETE", &target, &[version], b"").await.status, 204);
    assert_eq!(up.ask("HEAD", &target, &[version], b"").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_kept_is_refused() {
    for up in Uploading::both(&[("SEEKWAY_UPLOAD_BYTES_MAX", "1MiB")]).await {
        let (more, last) = (("Upload-Complete", "?0"), ("Upload-Complete", "?1"));
        let create =
            async |headers: &[(&str, &str)], body: &[u8]| up.ask("POST", "/api/uploads", headers, body).await;
        assert_eq!(create(&[more, ("Upload-Length", "1048577")], b"").await.status, 413);
        assert_eq!(create(&[last], &video(33, MIB + 1)).await.status, 413);
        assert_eq!(create(&[last], &b"<html>".repeat(1000)).await.status, 415);
        let target = create(&[more, ("Upload-Length", "1000")], b"").await.header("location").to_owned();
        let bytes = video(34, 2000);
        let append = async |headers: &[(&str, &str)], body: &[u8]| {
            let headers = [headers, &[PIECE, ("Upload-Offset", "0")]].concat();
            up.ask("PATCH", &target, &headers, body).await.status
        };
        assert_eq!(append(&[more, ("Upload-Length", "999")], &bytes[..500]).await, 409, "told before");
        assert_eq!(append(&[last], &bytes[..500]).await, 409, "the last, and too few");
        assert_eq!(append(&[more], &bytes[..1001]).await, 413, "too many");
        assert_eq!(append(&[last], &bytes[..1000]).await, 200);

        let target = create(&[more], b"").await.header("location").to_owned();
        let at = [more, PIECE, ("Upload-Offset", "0")];
        assert_eq!(up.ask("PATCH", &target, &at, &vec![0; MIB + 1]).await.status, 413);
        assert_eq!(up.ask("PATCH", &target, &at, &b"<html>".repeat(1000)).await.status, 415);

        let new = NewUpload { lifetime_ms: 0, ..new_upload(Via::Resumable, "original/2026/11/23/a") };
        let id = up.catalog.uploads().create(new, Quota::default()).await.expect("made").id;
        let target = format!("/api/uploads/{id}");
        assert_eq!(up.ask("PATCH", &target, &at, &bytes).await.status, 410, "it has expired");
        assert_eq!(up.ask("HEAD", &target, &[], b"").await.status, 410);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_are_not_there() {
    let up = Uploading::embedded(&[("SEEKWAY_UPLOADS", "auto"), ("SEEKWAY_ACCOUNTS", "on")]).await;
    let (_, ada) = somebody(&up, "ada", Role::Creator).await;
    let (_, bob) = somebody(&up, "bob", Role::Creator).await;
    let (ada, bob) = (("Authorization", ada.as_str()), ("Authorization", bob.as_str()));
    let (version, last) = (("Upload-Draft-Interop-Version", "6"), ("Upload-Complete", "?1"));
    let begun = up.ask("POST", "/api/uploads", &[version, ("Upload-Complete", "?0"), ada], b"").await;
    let (target, bytes) = (begun.header("location"), video(35, 1000));
    let append = async |who| {
        let headers = [version, last, PIECE, ("Upload-Offset", "0"), who];
        up.ask("PATCH", target, &headers, &bytes).await.status
    };
    assert_eq!(append(bob).await, 404);
    for method in ["HEAD", "DELETE"] {
        assert_eq!(up.ask(method, target, &[version, bob], b"").await.status, 404, "{method}");
    }
    assert_eq!(append(ada).await, 200);
}
