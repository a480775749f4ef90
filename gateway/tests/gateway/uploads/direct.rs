//! Straight into the bucket, with signed requests.

use http::Method;
use seekway_catalog::{NewUpload, Quota, Role, Via};
use seekway_loadtests::client::Client;
use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempDir};

use super::ownership::somebody;
use super::stand::{MIB, Uploading, new_upload, video};
use crate::support::tools::stdout_of;
use crate::support::wire::{Answer, head};
use crate::support::{Stand, path_text};

const JSON: (&str, &str) = ("Content-Type", "application/json");

pub(super) async fn say(up: &Uploading, method: &str, target: &str, document: &Value) -> (Answer, Value) {
    let body = document.to_string();
    let answer = up.ask(method, target, &[JSON], body.as_bytes()).await;
    let document = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    (answer, document)
}

/// Sends a part as the signature wants it; says the status and the store's tag.
pub(super) async fn put(signed: &Value, bytes: &[u8]) -> (u16, String) {
    let url: http::Uri = signed["url"].as_str().expect("text").parse().expect("a URL");
    let address = url.authority().expect("a host").as_str().parse().expect("an address");
    let path = url.path_and_query().expect("a path").as_str();
    let mut client = Client::connect(address).await.expect("connects");
    let answer = client.request(Method::PUT, path, &[], bytes.to_vec()).await.expect("answers").0;
    (answer.status.as_u16(), answer.header("etag").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_go_to_the_bucket_and_become_a_video() {
    let up = Uploading::served(&[]).await;
    let bytes = video(40, 20 * MIB + 3);
    let new = json!({"name": "direct.mp4", "title": "Direct", "length": bytes.len()});
    let (answer, begun) = say(&up, "POST", "/api/uploads/direct", &new).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let target = answer.header("location").to_owned();
    let part_bytes = usize::try_from(begun["part_bytes"].as_u64().expect("a number")).expect("fits");
    let pieces: Vec<_> = bytes.chunks(part_bytes).collect();
    assert_eq!(
        (begun["parts_count"].as_u64(), begun["parts"].clone()),
        (Some(pieces.len() as u64), json!([]))
    );
    let (sign, complete) = (format!("{target}/parts"), format!("{target}/complete"));
    let numbers: Vec<_> = (1..=pieces.len()).collect();
    let (_, signed) = say(&up, "POST", &sign, &json!({"numbers": numbers})).await;
    let mut parts = Vec::new();
    // Out of order, and one of them not yet.
    for nth in [2, 0] {
        let part = &signed["parts"][nth];
        let (wrong, _) = put(part, &pieces[nth][1..]).await;
        assert_eq!(wrong, 403, "a length that was not signed");
        let (status, etag) = put(part, pieces[nth]).await;
        assert_eq!(status, 200);
        parts.push(json!({"number": nth + 1, "etag": etag}));
    }
    let (early, _) = say(&up, "POST", &complete, &json!({})).await;
    assert_eq!(early.status, 409, "a part is missing: {early:?}");
    let (_, listed) = say(&up, "GET", &target, &Value::Null).await;
    let stored: Vec<_> =
        listed["parts"].as_array().expect("a list").iter().map(|part| &part["number"]).collect();
    assert_eq!(stored, [&json!(1), &json!(3)]);
    // Another signature for the same part.
    let (_, again) = say(&up, "POST", &sign, &json!({"numbers": [2]})).await;
    assert_eq!(put(&again["parts"][0], pieces[1]).await.0, 200);
    let lie = json!({"parts": [{"number": 1, "etag": "0123"}]});
    assert_eq!(say(&up, "POST", &complete, &lie).await.0.status, 409);
    let (answer, document) = say(&up, "POST", &complete, &json!({"parts": parts})).await;
    assert_eq!((answer.status, document["state"].as_str()), (200, Some("complete")), "{answer:?}");
    let made = up.assert_video(Uploading::video_of(&answer), &bytes).await;
    assert!(made.source.sha256.is_none(), "the worker's to compute");
    assert_eq!((made.title.as_str(), made.source.container.as_deref()), ("Direct", Some("mp4")));
    up.assert_clean(&[&made.source.key]).await;
    let (again, _) = say(&up, "POST", &complete, &json!({})).await;
    assert_eq!(Uploading::video_of(&again), made.id, "done twice is done once");
}

/// The gateway may know the store by a name that only the cluster has.
#[tokio::test(flavor = "multi_thread")]
async fn clients_are_sent_to_where_they_reach_the_store() {
    let up = Uploading::served_for_another().await;
    let mut settings: Vec<_> =
        up.settings().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let (_, endpoint) = settings.iter().find(|(name, _)| *name == "S3_ENDPOINT").expect("there is one");
    let public = endpoint.replace("127.0.0.1", "localhost");
    assert_ne!(&public, endpoint);
    settings.push(("S3_PUBLIC_ENDPOINT", &public));
    let stand = Stand::start(&settings, &[], None, TempDir::new().expect("a folder"));
    let ask = async |target: &str, document: Value| -> Value {
        let body = document.to_string();
        let length = body.len().to_string();
        let mut wire = stand.connect().await;
        wire.send(head("POST", target, &[JSON, ("Content-Length", &length)])).await;
        wire.send(body.as_bytes()).await;
        serde_json::from_slice(&wire.answer("POST").await.body).expect("JSON")
    };
    let bytes = video(43, MIB);
    let begun = ask("/api/uploads/direct", json!({"name": "a.mp4", "length": bytes.len()})).await;
    let target = format!("/api/uploads/direct/{}", begun["id"].as_str().expect("an id"));
    let signed = ask(&format!("{target}/parts"), json!({"numbers": [1]})).await;
    let url = signed["parts"][0]["url"].as_str().expect("text");
    assert!(url.starts_with(&public), "{url}");
    let file = NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &bytes).expect("written");
    stdout_of("curl", &["--fail", "--silent", "--show-error", "-T", path_text(file.path()), url]);
    let made = ask(&format!("{target}/complete"), json!({})).await;
    assert_eq!(made["state"], "complete", "{made}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_is_looked_at_before_it_is_a_video() {
    let up = Uploading::served(&[]).await;
    let page = b"<html>".repeat(100);
    let new = json!({"name": "a.mp4", "length": page.len()});
    let (answer, _) = say(&up, "POST", "/api/uploads/direct", &new).await;
    let target = answer.header("location").to_owned();
    let (_, signed) = say(&up, "POST", &format!("{target}/parts"), &json!({"numbers": [1]})).await;
    assert_eq!(put(&signed["parts"][0], &page).await.0, 200);
    let (answer, problem) = say(&up, "POST", &format!("{target}/complete"), &json!({})).await;
    assert_eq!(answer.status, 415, "{problem}");
    up.assert_clean(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_make_no_sense_are_told_so() {
    let up = Uploading::served(&[]).await;
    let create = async |new: Value| say(&up, "POST", "/api/uploads/direct", &new).await.0;
    assert_eq!(create(json!({"name": "a.mp4"})).await.status, 400);
    assert_eq!(create(json!({"name": "a.mp4", "length": 0})).await.status, 422);
    assert_eq!(create(json!({"name": "a.mp4", "length": 1_u64 << 45})).await.status, 413);
    assert_eq!(create(json!({"name": "a.mp4", "length": 5, "purpose": "x"})).await.status, 400);
    let target = create(json!({"name": "a.mp4", "length": 5})).await.header("location").to_owned();
    for numbers in [json!([]), json!([0]), json!([2]), json!([10_001])] {
        let (answer, _) = say(&up, "POST", &format!("{target}/parts"), &json!({"numbers": numbers})).await;
        assert_eq!(answer.status, 400, "{numbers}");
    }
    let tus = up.ask("POST", "/api/uploads", &[super::stand::TUS, ("Upload-Length", "5")], b"").await;
    let tus = tus.header("location").replace("/api/uploads/", "/api/uploads/direct/");
    let (answer, _) = say(&up, "POST", &format!("{tus}/parts"), &json!({"numbers": [1]})).await;
    assert_eq!(answer.status, 404, "not one of these: {answer:?}");
    assert_eq!(up.ask("DELETE", &target, &[], b"").await.status, 204);
    assert_eq!(up.ask("GET", &target, &[], b"").await.status, 404);
    up.assert_clean(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_folder_is_no_bucket() {
    let up = Uploading::embedded(&[]).await;
    let (answer, problem) =
        say(&up, "POST", "/api/uploads/direct", &json!({"name": "a.mp4", "length": 5})).await;
    assert_eq!(answer.status, 501);
    assert!(problem["detail"].as_str().expect("text").contains("folder"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_or_comes_too_late_is_told_so() {
    let up = Uploading::served(&[("SEEKWAY_UPLOADS", "auto"), ("SEEKWAY_ACCOUNTS", "on")]).await;
    let (account, ada) = somebody(&up, "ada", Role::Creator).await;
    let (_, bob) = somebody(&up, "bob", Role::Creator).await;
    let bytes = video(44, 1000);
    let ask = async |who: &str, method: &str, target: &str, document: Value| {
        let headers = [JSON, ("Authorization", who)];
        let answer = up.ask(method, target, &headers, document.to_string().as_bytes()).await;
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    };
    let new = json!({"name": "a.mp4", "length": bytes.len()});
    let (status, begun) = ask(&ada, "POST", "/api/uploads/direct", new).await;
    assert_eq!(status, 201, "{begun}");
    let target = format!("/api/uploads/direct/{}", begun["id"].as_str().expect("an id"));
    let (parts, complete) = (format!("{target}/parts"), format!("{target}/complete"));
    let first = json!({"numbers": [1]});
    for who in [bob.as_str(), "Bearer seekway_wrong"] {
        let expected = if who == bob { 404 } else { 401 };
        assert_eq!(ask(who, "POST", &parts, first.clone()).await.0, expected);
        assert_eq!(ask(who, "POST", &complete, json!({})).await.0, expected);
        assert_eq!(ask(who, "GET", &target, Value::Null).await.0, expected);
        assert_eq!(ask(who, "DELETE", &target, Value::Null).await.0, expected);
    }
    let (_, signed) = ask(&ada, "POST", &parts, first.clone()).await;
    assert_eq!(put(&signed["parts"][0], &bytes).await.0, 200);
    assert_eq!(ask(&ada, "POST", &complete, json!({})).await.0, 200);

    let record = new_upload(Via::Direct, "original/2026/11/23/a");
    let record = NewUpload { account: Some(account), length: Some(5), lifetime_ms: 0, ..record };
    let id = up.catalog.uploads().create(record, Quota::default()).await.expect("made").id;
    let target = format!("/api/uploads/direct/{id}");
    assert_eq!(ask(&ada, "POST", &format!("{target}/parts"), first).await.0, 410);
    assert_eq!(ask(&ada, "POST", &format!("{target}/complete"), json!({})).await.0, 410);
    assert_eq!(ask(&ada, "GET", &target, Value::Null).await.0, 410);
}
