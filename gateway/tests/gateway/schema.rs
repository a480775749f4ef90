//! What schemathesis finds when it asks the running gateway whatever its own OpenAPI document allows, and what it does not:
//! as a stranger who knows nothing, and as an admin who mostly asks for what there is.

use seekway_catalog::{AccountId, ApiKeyId, AssetId, NewWebhook, Role, VideoId};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::support::tools::{root, run_in};
use crate::uploads::ownership::somebody;
use crate::uploads::stand::{TUS, Uploading, video};

/// Statuses that any request may have, whatever its path: the document tells those of each operation.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,unsupported_method,allow_header_conformance";

/// What it uploads by itself belongs to nobody, and so to whoever asks from here.
const ENV: [(&str, &str); 2] = [("SEEKWAY_UPLOADS", "auto"), ("SEEKWAY_ACCOUNTS", "on")];

#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_what_its_document_says_to_strangers() {
    conforms(&Uploading::embedded(&ENV).await, "", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_what_its_document_says_to_an_admin() {
    for up in Uploading::both(&ENV).await {
        let (admin, key) = somebody(&up, "root", Role::Admin).await;
        let hash = Sha256::digest("session");
        up.catalog.sessions().begin(admin, &hash, "test", 3_600_000).await.expect("a session");
        let bearer = ("Authorization", key.as_str());
        let (ann, _) = somebody(&up, "ann", Role::Viewer).await;
        let (kept, deleted) = (add(&up, bearer, "video", 1).await, add(&up, bearer, "video", 2).await);
        let (asset, deleted_asset) =
            (add(&up, bearer, "watermark", 3).await, add(&up, bearer, "watermark", 4).await);
        let revoked =
            up.catalog.api_keys().create(admin, "test", &Sha256::digest("key")).await.expect("a key").id;
        let (upload, given_up) = if up.is_s3 {
            (begin_direct(&up, bearer, 1).await, begin_direct(&up, bearer, 2).await)
        } else {
            (String::new(), String::new())
        };
        let (hook, deleted_hook) = (add_webhook(&up, admin).await, add_webhook(&up, admin).await);
        let (ann, revoked_name) = (ann.to_string(), revoked.to_string());
        let known = [
            ("video", &kept, &["GET /api/videos/{id}", "PATCH /api/videos/{id}"][..]),
            ("deleted", &deleted, &["DELETE /api/videos/{id}"]),
            ("asset", &asset, &["GET /api/assets/{id}"]),
            ("deleted-asset", &deleted_asset, &["DELETE /api/assets/{id}"]),
            ("account", &ann, &["PATCH /api/auth/accounts/{id}"]),
            ("key", &revoked_name, &["DELETE /api/auth/keys/{id}"]),
            (
                "webhook",
                &hook,
                &[
                    "GET /api/webhooks/{id}",
                    "PATCH /api/webhooks/{id}",
                    "POST /api/webhooks/{id}/secret",
                    "POST /api/webhooks/{id}/test",
                    "GET /api/webhooks/{id}/deliveries",
                    "POST /api/webhooks/{id}/deliveries/{event}/redeliver",
                ],
            ),
            ("deleted-webhook", &deleted_hook, &["DELETE /api/webhooks/{id}"]),
            ("upload", &upload, &["GET /api/uploads/direct/{id}", "POST /api/uploads/direct/{id}/parts"]),
            (
                "given-up",
                &given_up,
                &["POST /api/uploads/direct/{id}/complete", "DELETE /api/uploads/direct/{id}"],
            ),
        ];
        let settings = known.into_iter().filter(|(_, value, _)| !value.is_empty());
        let settings = settings.map(|(name, value, operations)| {
            format!(
                "[dictionaries.{name}]\nvalues = [\"{value}\"]\n\n[[operations]]\ninclude-name = {operations:?}\n\
                 parameters = {{ \"path.id\" = {{ dictionary = \"{name}\", probability = 0.7 }} }}\n\n"
            )
        });
        let settings: String = settings.collect();
        // Those would end the session.
        let ends = ["/api/auth/log-out", "/api/auth/log-out-everywhere"];
        let session = ["-H", "Cookie: seekway-session=session"];
        let more = [session, ["--exclude-path", ends[0]], ["--exclude-path", ends[1]]].concat();
        conforms(&up, &settings, &more).await;

        let deleted = VideoId::parse(&deleted).expect("an id");
        let is_deleted = up.catalog.videos().get(deleted).await.map(|video| video.state.as_str());
        assert!(matches!(is_deleted, Err(_) | Ok("deleting")), "it has come as far as that: {is_deleted:?}");
        let deleted = AssetId::parse(&deleted_asset).expect("an id");
        let is_deleted = up.catalog.assets().get(deleted).await.map(|asset| asset.state.as_str());
        assert!(matches!(is_deleted, Err(_) | Ok("deleting")), "{is_deleted:?}");
        let keys = up.catalog.api_keys().of_account(admin).await.expect("a list");
        let is_revoked = |id: ApiKeyId| keys.iter().any(|key| key.id == id && key.revoked_ms.is_some());
        assert!(is_revoked(revoked) && keys.len() > 2, "and some were made");
        let changed = up.catalog.videos().get(VideoId::parse(&kept).expect("an id")).await.expect("it stays");
        assert!(changed.updated_ms > changed.created_ms);
    }
}

/// Uploads something, and says what it became.
async fn add(up: &Uploading, bearer: (&str, &str), purpose: &str, seed: u64) -> String {
    let png = b"\x89PNG\r\n\x1a\n and the rest of a picture".to_vec();
    let (purpose, bytes) = match purpose {
        "video" => ("dmlkZW8=", video(seed, 1000)),
        _ => ("d2F0ZXJtYXJr", png),
    };
    let (length, metadata) = (bytes.len().to_string(), format!("purpose {purpose}"));
    let bytes_follow = ("Content-Type", "application/offset+octet-stream");
    let headers = [TUS, bytes_follow, bearer, ("Upload-Length", &length), ("Upload-Metadata", &metadata)];
    let answer = up.ask("POST", "/api/uploads", &headers, &bytes).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let path = answer.header("content-location");
    path.rsplit('/').next().expect("a last segment").to_owned()
}

/// Adds a webhook where nobody listens.
async fn add_webhook(up: &Uploading, account: AccountId) -> String {
    let new = NewWebhook {
        url: "http://127.0.0.1:1024/".to_owned(),
        description: String::new(),
        kinds: Vec::new(),
        hears_all: false,
        secret: vec![1; 32],
    };
    up.catalog.webhooks().create(Some(account), &new, 10).await.expect("adds").id.to_string()
}

async fn begin_direct(up: &Uploading, bearer: (&str, &str), length: u64) -> String {
    let body = json!({"name": "a.mp4", "length": length}).to_string();
    let headers = [("Content-Type", "application/json"), bearer];
    let answer = up.ask("POST", "/api/uploads/direct", &headers, body.as_bytes()).await;
    let document: Value = serde_json::from_slice(&answer.body).expect("JSON");
    document["id"].as_str().expect("text").to_owned()
}

/// Runs schemathesis with these settings, as its own file has them, and these arguments besides the usual ones.
async fn conforms(up: &Uploading, settings: &str, more: &[&str]) {
    let program = root().join(".tools/schemathesis/bin/python");
    assert!(program.exists(), "{} is missing; run scripts/setup test", program.display());
    let program = program.to_str().expect("a plain path").to_owned();
    let port = up.stand().address().port();
    let url = format!("http://localhost:{port}/api/openapi.json");
    let arguments = [
        "-m",
        "schemathesis.cli",
        "run",
        &url,
        "--checks",
        CHECKS,
        // It would wait for the end of what has none.
        "--exclude-path",
        "/api/videos/{id}/events",
        // That is tus' URL, too, where POST may stand for any method.
        "--exclude-path",
        "/api/uploads/{id}",
        // A 501 is right where there is no bucket, and no server's fault.
        "--exclude-path-regex",
        if up.is_s3 { "^/nothing$" } else { "^/api/uploads/direct" },
        "--phases",
        "examples,coverage,fuzzing",
        "--max-examples",
        "25",
        "--seed",
        "1",
        "--no-color",
    ];
    let arguments: Vec<_> = arguments.iter().chain(more).map(|&text| text.to_owned()).collect();
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("schemathesis.toml"), settings).expect("written");
    let ran = tokio::task::spawn_blocking(move || run_in(folder.path(), &program, &arguments));
    let output = ran.await.expect("no panic");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
