//! What may be kept is told by the bytes that are kept, however they came.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::direct::{put, say};
use super::stand::{BYTES, MIB, TUS, Uploading, video};
use crate::support::wire::Answer;

async fn patch_checked(up: &Uploading, target: &str, body: &[u8], meant: &[u8]) -> Answer {
    let checksum = format!("sha256 {}", STANDARD.encode(Sha256::digest(meant)));
    let headers = [TUS, BYTES, ("Upload-Offset", "0"), ("Upload-Checksum", checksum.as_str())];
    up.ask("PATCH", target, &headers, body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_were_thrown_away_say_nothing_of_those_that_are_kept() {
    for up in Uploading::both(&[]).await {
        let page = b"<html>".repeat(MIB);
        // At once, and after a piece that is too short to be judged.
        for first in [0, 100] {
            let target = up.create(&[("Upload-Length", &page.len().to_string())]).await;
            let answer = patch_checked(&up, &target, &video(80, 5000), b"something else").await;
            assert_eq!((answer.status, up.offset(&target).await), (460, 0), "{answer:?}");
            assert_eq!(up.patch(&target, 0, &page[..first]).await.status, 204);
            let answer = up.patch(&target, first, &page[first..]).await;
            assert_eq!(answer.status, 415, "after {first} bytes: {answer:?}");
            up.assert_clean(&[]).await;
        }
    }
}

/// What arrives damaged is no reason to give up what was meant.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_first_bytes_can_be_sent_again() {
    for up in Uploading::both(&[]).await {
        let bytes = video(81, 9 * MIB);
        let mut damaged = bytes.clone();
        damaged[..16].fill(b'?');
        let target = up.create(&[("Upload-Length", &bytes.len().to_string())]).await;
        let answer = patch_checked(&up, &target, &damaged, &bytes).await;
        assert_eq!((answer.status, up.offset(&target).await), (460, 0), "{answer:?}");
        let answer = patch_checked(&up, &target, &bytes, &bytes).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        let made = up.assert_video(Uploading::video_of(&answer), &bytes).await;
        up.assert_clean(&[&made.source.key]).await;
        // What arrives as it was meant is judged.
        for length in [100, 9 * MIB] {
            let target = up.create(&[("Upload-Length", &length.to_string())]).await;
            let answer = patch_checked(&up, &target, &damaged[..length], &damaged[..length]).await;
            assert_eq!(answer.status, 415, "{answer:?}");
            assert_eq!(up.ask("HEAD", &target, &[TUS], b"").await.status, 422);
            up.assert_clean(&[&made.source.key]).await;
        }
    }
}

/// Nobody has another file judged in the place of the one in the bucket.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_bucket_has_is_judged_whatever_else_was_sent() {
    let up = Uploading::served(&[]).await;
    let page = b"<html>".repeat(1000);
    let new = json!({"name": "a.mp4", "length": page.len()});
    let (answer, begun) = say(&up, "POST", "/api/uploads/direct", &new).await;
    let target = answer.header("location").to_owned();
    let id = begun["id"].as_str().expect("text");
    let (other, film) = (format!("/api/uploads/{id}"), video(82, 4096));
    assert_eq!(up.patch(&other, 0, &film).await.status, 404, "not by tus");
    let headers = [
        ("Upload-Draft-Interop-Version", "6"),
        ("Upload-Complete", "?0"),
        ("Upload-Offset", "0"),
        ("Content-Type", "application/partial-upload"),
    ];
    assert_eq!(up.ask("PATCH", &other, &headers, &film).await.status, 404, "nor by the IETF's protocol");
    // As if it had been possible once.
    let uploads = up.catalog.uploads();
    let id = seekway_catalog::UploadId::parse(id).expect("an id");
    let epoch = uploads.begin_append(id, None).await.expect("begins").epoch;
    uploads.set_container(id, epoch, "mp4").await.expect("sets");
    let (_, signed) = say(&up, "POST", &format!("{target}/parts"), &json!({"numbers": [1]})).await;
    assert_eq!(put(&signed["parts"][0], &page).await.0, 200);
    let (answer, problem) = say(&up, "POST", &format!("{target}/complete"), &json!({})).await;
    assert_eq!(answer.status, 415, "{problem}");
    up.assert_clean(&[]).await;
}
