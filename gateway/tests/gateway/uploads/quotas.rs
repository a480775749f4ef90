//! How much an account may store, and how many uploads it may have under way.

use seekway_catalog::{AccountPatch, Allowed, NewVideo, Role, Source, Visibility};
use serde_json::{Value, json};

use super::ownership::somebody;
use super::stand::{BYTES, TUS, Uploading, video};
use crate::support::until;
use crate::support::wire::Answer;

const OPEN: [(&str, &str); 2] = [("SEEKWAY_UPLOADS", "auto"), ("SEEKWAY_ACCOUNTS", "on")];

/// Creates a tus upload for whom the key is, with one more header.
async fn create(up: &Uploading, key: &str, header: (&str, &str)) -> Answer {
    up.ask("POST", "/api/uploads", &[TUS, header, ("Authorization", key)], b"").await
}

async fn sized(up: &Uploading, key: &str, length: usize) -> Answer {
    create(up, key, ("Upload-Length", &length.to_string())).await
}

#[track_caller]
fn assert_over(answer: &Answer, wanted: usize, limit: usize) {
    assert_eq!(answer.status, 403, "{answer:?}");
    let detail = answer.problem()["detail"].as_str().expect("text").to_owned();
    let sum = format!("account's quota: bytes stored would be {wanted}, at most {limit} are allowed.");
    assert!(detail.contains(&sum), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_a_quota_of_its_own() {
    for up in Uploading::both(&OPEN).await {
        let (ada, key) = somebody(&up, "ada", Role::Creator).await;
        let (bytes, uploads) = (Some(Allowed::AtMost(2500)), Some(Allowed::AtMost(2)));
        let quota = AccountPatch { bytes, uploads, ..AccountPatch::default() };
        up.catalog.accounts().patch(ada, quota).await.expect("an account");
        assert_over(&sized(&up, &key, 2501).await, 2501, 2500);
        let first = sized(&up, &key, 2000).await;
        assert_eq!(first.status, 201);
        assert_over(&sized(&up, &key, 501).await, 2501, 2500);
        assert_eq!(sized(&up, &key, 100).await.status, 201);
        let third = sized(&up, &key, 100).await;
        assert_eq!(third.status, 403);
        assert!(third.problem()["detail"].as_str().expect("text").contains("uploads under way"), "{third:?}");
        let headers = [TUS, ("Authorization", key.as_str())];
        assert_eq!(up.ask("DELETE", first.header("location"), &headers, b"").await.status, 204);
        assert_eq!(sized(&up, &key, 2000).await.status, 201, "what is given up counts no more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_counts_until_it_is_gone() {
    let env = [&OPEN[..], &[("SEEKWAY_QUOTA_BYTES", "3000")]].concat();
    for up in Uploading::both(&env).await {
        let (_, key) = somebody(&up, "ada", Role::Creator).await;
        let own = ("Authorization", key.as_str());
        let send = async |target: &str, bytes: &[u8], more: &[(&str, &str)]| {
            let headers = [&[TUS, BYTES, own, ("Upload-Offset", "0")], more].concat();
            up.ask("PATCH", target, &headers, bytes).await
        };
        assert_over(&sized(&up, &key, 3001).await, 3001, 3000);
        let target = sized(&up, &key, 2000).await.header("location").to_owned();
        let bytes = video(95, 2000);
        let made = Uploading::video_of(&send(&target, &bytes, &[]).await);
        assert_over(&sized(&up, &key, 1001).await, 3001, 3000);

        // Who does not say how long it will be is stopped when it says so, and when it is too long; by one byte, too.
        let deferred = create(&up, &key, ("Upload-Defer-Length", "1")).await.header("location").to_owned();
        let bytes = video(96, 1001);
        assert_over(&send(&deferred, &bytes[..10], &[("Upload-Length", "1001")]).await, 3001, 3000);
        assert_over(&send(&deferred, &bytes, &[]).await, 3001, 3000);
        let kept = up.ask("HEAD", &deferred, &[TUS, own], b"").await;
        assert_eq!((kept.status, kept.header("upload-offset")), (200, "0"), "{kept:?}");
        assert_eq!(send(&deferred, &bytes[..1000], &[]).await.status, 204);
        let usage: Value =
            serde_json::from_slice(&up.ask("GET", "/api/auth/me", &[own], b"").await.body).expect("JSON");
        assert_eq!(usage["bytes"], json!({"used": 3000, "allowed": 3000}));
        assert_eq!(usage["uploads"], json!({"used": 1, "allowed": 1000}));
        assert_eq!(up.ask("DELETE", &deferred, &[TUS, own], b"").await.status, 204);

        if up.is_s3 {
            let direct = async |length: usize| {
                let document = json!({"name": "a.mp4", "length": length}).to_string();
                let headers = [own, ("Content-Type", "application/json")];
                up.ask("POST", "/api/uploads/direct", &headers, document.as_bytes()).await
            };
            assert_over(&direct(1001).await, 3001, 3000);
            let begun = direct(1000).await;
            assert_eq!(begun.status, 201, "{begun:?}");
            assert_over(&sized(&up, &key, 1).await, 3001, 3000);
            assert_eq!(up.ask("DELETE", begun.header("location"), &[own], b"").await.status, 204);
        }
        assert_eq!(up.ask("DELETE", &format!("/api/videos/{made}"), &[own], b"").await.status, 204);
        let freed = async || Some(sized(&up, &key, 3000).await.status).filter(|status| *status == 201);
        until("its object is gone", freed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn imported_videos_count() {
    let env = [&OPEN[..], &[("SEEKWAY_QUOTA_BYTES", "3000")]].concat();
    for up in Uploading::both(&env).await {
        let (bob, key) = somebody(&up, "bob", Role::Creator).await;
        let source = Source {
            key: "films/old.mp4".to_owned(),
            etag: "\"1\"".to_owned(),
            version: None,
            size: 5000,
            sha256: None,
            content_type: None,
            container: None,
        };
        let old =
            NewVideo { title: "Old".to_owned(), visibility: Visibility::Private, source, profile: None };
        up.catalog.videos().add(Some(bob), &old).await.expect("no quota is asked for").expect("it is new");
        assert_over(&sized(&up, &key, 1).await, 5001, 3000);
    }
}
