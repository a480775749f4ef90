//! What becomes of videos by jobs: who adds them, who may see and change them, what plays of a video then, and what goes
//! with it. The tests are the worker: they say to the catalog what one says, and put what it puts.

mod beside;
mod brokers;
mod console;
mod processed;
mod store;
mod worker;

use http::Method;
use seekway_catalog::{Failure, Job, JobState, Published, Role, VideoId};
use seekway_storage::{Attributes, ObjectKey};
use serde_json::{Value, json};

use crate::support::wire::Answer;
use crate::support::{Stand, until};
use crate::uploads::ownership::somebody;
use crate::uploads::stand::{BYTES, TUS, Uploading, video};

const ENV: [(&str, &str); 4] = [
    ("SEEKWAY_UPLOADS", "auto"),
    ("SEEKWAY_ACCOUNTS", "on"),
    ("SEEKWAY_TRANSCODING", "external"),
    ("SEEKWAY_LEFTOVERS_GRACE", "1s"),
];
/// Longer than any test.
const LEASE_MS: i64 = 600_000;
/// What the worker makes, and the types that it has then.
const FILES: [(&str, &str); 6] = [
    ("master.m3u8", "application/vnd.apple.mpegurl"),
    ("manifest.mpd", "application/dash+xml"),
    ("video.mp4", "video/mp4"),
    ("poster.jpg", "image/jpeg"),
    ("storyboard.vtt", "text/vtt; charset=utf-8"),
    ("receipt.json", "application/json"),
];

/// Somebody who asks a gateway.
struct Asker<'a> {
    up: &'a Uploading,
    bearer: String,
}

// === impl Asker ===

impl Asker<'_> {
    async fn ask(&self, method: Method, target: &str, body: &Value) -> Answer {
        let headers = [("Authorization", self.bearer.as_str()), ("Content-Type", "application/json")];
        let body = if method == Method::GET { String::new() } else { body.to_string() };
        self.up.ask(method.as_str(), target, &headers, body.as_bytes()).await
    }

    async fn get(&self, target: &str) -> Value {
        let answer = self.ask(Method::GET, target, &Value::Null).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    async fn post(&self, target: &str, body: &Value) -> Answer {
        self.ask(Method::POST, target, body).await
    }

    /// Uploads a small video.
    async fn upload(&self, seed: u64, metadata: &str) -> VideoId {
        let bytes = video(seed, 1000);
        let headers = [
            TUS,
            BYTES,
            ("Upload-Length", "1000"),
            ("Upload-Metadata", metadata),
            ("Authorization", self.bearer.as_str()),
        ];
        let answer = self.up.ask("POST", "/api/uploads", &headers, &bytes).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        Uploading::video_of(&answer)
    }
}

async fn asker<'a>(up: &'a Uploading, name: &str, role: Role) -> Asker<'a> {
    Asker { up, bearer: somebody(up, name, role).await.1 }
}

/// Claims the one job that there is, and begins it.
async fn begun(up: &Uploading) -> Job {
    let jobs = up.catalog.jobs();
    let job = jobs.claim("a worker", LEASE_MS, u64::MAX).await.expect("claims").expect("there is one");
    jobs.start(job.id, job.attempt).await.expect("starts");
    job
}

async fn put(up: &Uploading, key: &str) {
    let key = ObjectKey::new(key).expect("a key");
    let body = Box::pin(futures_util::stream::once(async { Ok("its bytes".into()) }));
    // Nobody's honest description: the key says what it is.
    let attributes =
        Attributes { content_type: Some("binary/octet-stream".to_owned()), ..Attributes::default() };
    up.store.put(&key, &attributes, body).await.expect("stored");
}

fn outputs() -> Published {
    let files = json!({
        "hls": "master.m3u8", "dash": "manifest.mpd", "mp4": "video.mp4", "poster": "poster.jpg",
        "storyboard": "storyboard.vtt", "receipt": "receipt.json",
    });
    let rendition = json!({
        "name": "720p", "width": 1280, "height": 720, "frame_rate": "30000/1001", "codecs": "avc1.64001f,mp4a.40.2",
        "bandwidth": 2, "average_bandwidth": 1, "bytes": 3,
    });
    let outputs = json!({"files": files, "renditions": [rendition], "duration_ms": 60000, "has_audio": true, "later": 1});
    Published { outputs: outputs.to_string(), duration_ms: 1000 }
}

/// Does the one job that there is, and says where what it made lies.
async fn published(up: &Uploading) -> String {
    let job = begun(up).await;
    let prefix = job.prefix();
    for (name, _) in FILES {
        put(up, &format!("{prefix}{name}")).await;
    }
    put(up, &format!("{prefix}720p/1.m4s")).await;
    up.catalog.jobs().succeed(job.id, job.attempt, &outputs()).await.expect("publishes");
    prefix
}

/// Waits until each of the gateways answers so.
async fn until_all(stands: &[&Stand], target: &str, status: u16) {
    for stand in stands {
        until(&format!("{target} is {status}"), async || {
            (stand.get(target, &[]).await.status == status).then_some(())
        })
        .await;
    }
}

/// Another gateway with the same store and database.
fn replica(up: &Uploading) -> Stand {
    let env: Vec<_> = up.settings().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Stand::start(&env, &[("SEEKWAY_UPLOADS", "off")], None, tempfile::TempDir::new().expect("a folder"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_plays_for_whoever_may_see_the_video() {
    for up in Uploading::both(&ENV).await {
        let root = asker(&up, "root", Role::Admin).await;
        let other = replica(&up);
        let stands = [up.stand(), &other];
        let id = root.upload(1, "title QQ==").await;
        let target = format!("/api/videos/{id}");
        assert_eq!(root.get(&target).await["playback"], Value::Null);
        // Asked for before it is there: that is forgotten, too.
        let early = up.catalog.jobs().of_video(id).await.expect("lists")[0].id;
        let early = format!("/media/processed/{id}/{early}-1/master.m3u8");
        until_all(&stands, &early, 404).await;
        let prefix = published(&up).await;
        assert_eq!(early, format!("/media/{prefix}master.m3u8"));

        let shown = root.get(&target).await;
        let playback = &shown["playback"];
        assert_eq!(shown["state"], "ready");
        assert_eq!(playback["hls"], early);
        assert_eq!((&playback["duration_ms"], &playback["has_audio"]), (&json!(60000), &json!(true)));
        assert_eq!(playback["renditions"][0]["frame_rate"], "30000/1001");
        for (kind, (name, media_type)) in
            ["hls", "dash", "mp4", "poster", "storyboard", "receipt"].into_iter().zip(FILES)
        {
            let path = playback[kind].as_str().expect("text");
            assert!(path.ends_with(name), "{path}");
            until_all(&stands, path, 404).await;
            let own = until("its owner sees it", async || {
                Some(root.ask(Method::GET, path, &Value::Null).await).filter(|answer| answer.status == 200)
            })
            .await;
            assert_eq!(
                (own.header("content-type"), own.header("cache-control")),
                (media_type, "private, no-cache")
            );
            assert!(own.body == b"its bytes" && own.has("etag"), "{own:?}");
        }
        let segment = format!("/media/{prefix}720p/1.m4s");
        for (visibility, status) in [("public", 200), ("private", 404), ("unlisted", 200)] {
            let changed = root.ask(Method::PATCH, &target, &json!({ "visibility": visibility })).await;
            assert_eq!(changed.status, 200, "{changed:?}");
            until_all(&stands, &segment, status).await;
            until_all(&stands, &early, status).await;
        }
        assert_eq!(up.stand().get(&segment, &[]).await.header("content-type"), "video/iso.segment");
        // What else lies there is nobody's: another attempt's, and what is none's.
        for key in
            [format!("processed/{id}/a.mp4"), "processed/a.mp4".to_owned(), prefix.replace("-1/", "-2/a.mp4")]
        {
            put(&up, &key).await;
            let target = format!("/media/{key}");
            assert_eq!(root.ask(Method::GET, &target, &Value::Null).await.status, 404, "{key}");
        }

        let again = root.post(&format!("{target}/jobs"), &json!({})).await;
        assert_eq!(again.status, 201, "{again:?}");
        assert_eq!(root.post(&format!("{target}/jobs"), &json!({})).await.status, 409, "one at a time");
        let better = published(&up).await;
        until_all(&stands, &format!("/media/{better}master.m3u8"), 200).await;
        until_all(&stands, &segment, 404).await;
        assert_eq!(root.ask(Method::DELETE, &target, &Value::Null).await.status, 204);
        until_all(&stands, &format!("/media/{better}720p/1.m4s"), 404).await;
        until("all that it had is gone", async || (up.keys().await == ["processed/a.mp4"]).then_some(()))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploaders_name_profiles_and_only_owners_and_admins_see_jobs() {
    for up in Uploading::both(&ENV).await {
        let (ada, bob) = (asker(&up, "ada", Role::Creator).await, asker(&up, "bob", Role::Creator).await);
        let root = asker(&up, "root", Role::Admin).await;
        let (usual, small) = (ada.upload(1, "").await, ada.upload(2, "profile c21hbGw=").await);
        let jobs_of = |video: VideoId| format!("/api/videos/{video}/jobs");
        let first = ada.get(&jobs_of(usual)).await["jobs"][0].clone();
        assert_eq!((&first["profile"], &first["state"]), (&json!("default"), &json!("queued")));
        assert_eq!(ada.get(&jobs_of(small)).await["jobs"][0]["profile"], "small");
        let bad = [
            TUS,
            ("Upload-Length", "5"),
            ("Upload-Metadata", "profile IQ=="),
            ("Authorization", &ada.bearer),
        ];
        assert_eq!(up.ask("POST", "/api/uploads", &bad, b"").await.status, 400);

        let job = format!("/api/jobs/{}", first["id"].as_str().expect("text"));
        for target in [job.clone(), jobs_of(usual)] {
            let status = async |asker: &Asker<'_>| asker.ask(Method::GET, &target, &Value::Null).await.status;
            assert_eq!(
                (status(&ada).await, status(&root).await, status(&bob).await),
                (200, 200, 404),
                "{target}"
            );
            assert_eq!(up.stand().get(&target, &[]).await.status, 404, "{target}");
        }
        for action in ["cancel", "redrive", "hurry"] {
            assert_eq!(bob.post(&format!("{job}/{action}"), &Value::Null).await.status, 404, "{action}");
            assert_eq!(ada.ask(Method::GET, &format!("{job}/{action}"), &Value::Null).await.status, 405);
        }
        assert_eq!(bob.post(&jobs_of(usual), &json!({})).await.status, 404);
        assert_eq!(ada.ask(Method::GET, "/api/jobs", &Value::Null).await.status, 403);
        assert_eq!(up.stand().get("/api/jobs", &[]).await.status, 401);

        let states = async |query: &str| {
            let page = root.get(&format!("/api/jobs{query}")).await;
            let states = page["jobs"].as_array().expect("a list").iter().map(|job| job["state"].clone());
            (states.collect::<Vec<_>>(), page["next"].clone())
        };
        assert_eq!(states("").await, (vec![json!("queued"), json!("queued")], Value::Null));
        let (one, next) = states("?limit=1").await;
        assert_eq!(one.len(), 1);
        let (two, end) = states(&format!("?limit=1&after={}", next.as_str().expect("a next page"))).await;
        assert_eq!((two.len(), end), (1, Value::Null));
        for query in ["?state=x", "?after=x", "?limit=0"] {
            assert_eq!(
                root.ask(Method::GET, &format!("/api/jobs{query}"), &Value::Null).await.status,
                400,
                "{query}"
            );
        }

        let done = async |action: &str| ada.post(&format!("{job}/{action}"), &Value::Null).await.status;
        assert_eq!((done("redrive").await, done("hurry").await), (409, 409), "it is queued");
        let cancelled = ada.post(&format!("{job}/cancel"), &Value::Null).await;
        let cancelled: Value = serde_json::from_slice(&cancelled.body).expect("JSON");
        assert_eq!(cancelled["state"], "cancelled");
        assert_eq!(states("?state=queued").await.0.len(), 1);
        assert_eq!(done("redrive").await, 200);
        for (body, status) in [
            (json!({"profile": "A"}), 400),
            (json!({"rendition": ""}), 400),
            (json!({"priority": "x"}), 400),
            (json!({"what": 1}), 400),
            (json!({"profile": "small"}), 409),
        ] {
            let answer = ada.post(&jobs_of(usual), &body).await;
            assert_eq!(answer.status, status, "{body} {answer:?}");
        }
    }
}

/// As a worker tells it, and as people ask who want to know what is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_job_says_why_and_is_tried_again() {
    for up in Uploading::both(&ENV).await {
        let root = asker(&up, "root", Role::Admin).await;
        let id = root.upload(1, "").await;
        let job = begun(&up).await;
        let target = format!("/api/jobs/{}", job.id);
        let progress = seekway_catalog::Progress {
            phase: seekway_catalog::Phase::Transcoding,
            percent: 40,
            speed_milli: Some(1500),
            eta_seconds: Some(9),
        };
        up.catalog.jobs().set_progress(job.id, 1, progress).await.expect("notes");
        let shown = root.get(&target).await;
        assert_eq!((&shown["state"], &shown["worker"]), (&json!("running"), &json!("a worker")));
        assert_eq!(
            shown["progress"],
            json!({"phase": "transcoding", "percent": 40, "speed": 1.5, "eta_seconds": 9})
        );
        let (jobs, problem) = (up.catalog.jobs(), "It has no picture.");
        let failed = jobs.fail(job.id, 1, Failure::Input, problem, Some("ffmpeg said so")).await;
        assert_eq!(failed.expect("fails"), JobState::Dead);
        let shown = root.get(&target).await;
        assert_eq!((&shown["state"], &shown["failure"]), (&json!("dead"), &json!("input")));
        assert_eq!(
            (&shown["problem"], &shown["log"]),
            (&json!("It has no picture."), &json!("ffmpeg said so"))
        );
        let listed = root.get("/api/jobs?state=dead").await;
        assert_eq!((&listed["jobs"][0]["id"], listed["jobs"][0].get("log")), (&shown["id"], None));
        let video = root.get(&format!("/api/videos/{id}")).await;
        assert_eq!((&video["state"], &video["problem"]), (&json!("failed"), &json!("It has no picture.")));
        let line = |text: &str| text.lines().any(|line| line == "seekway_jobs{state=\"dead\"} 1");
        until("it is counted", async || {
            let mut admin = crate::support::wire::Wire::connect(up.stand().admin_address()).await;
            let page = admin.ask("GET", "/metrics", &[]).await;
            line(&String::from_utf8_lossy(&page.body)).then_some(())
        })
        .await;

        let command = |args: &[&str]| {
            let output = std::process::Command::new(env!("CARGO_BIN_EXE_gateway"))
                .arg("jobs")
                .args(args)
                .env_clear()
                .envs(up.settings().iter().map(|(name, value)| (name, value)))
                .output()
                .expect("it runs");
            (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).expect("text"))
        };
        let name = job.id.to_string();
        let (code, said) = command(&["list", "--state", "dead"]);
        assert!(code == Some(0) && said.contains(&name) && said.contains(&id.to_string()), "{said}");
        let (code, said) = command(&["show", &name]);
        assert!(
            code == Some(0) && said.contains("It has no picture.") && said.contains("ffmpeg said so"),
            "{said}"
        );
        assert_eq!(command(&["hurry", &name]).0, Some(1), "it does not wait");
        assert_eq!(command(&["cancel", &name]).0, Some(1), "it has ended");
        assert_eq!(command(&["redrive", &name]), (Some(0), format!("{name} is queued\n")));
        assert_eq!(command(&["show", "01930000-0000-7000-8000-000000000000"]).0, Some(64));
        let (code, said) = command(&["--help"]);
        assert!(code == Some(0) && said.contains("gateway jobs list --state dead"), "{said}");
        assert_eq!(root.get(&target).await["problem"], Value::Null);
        published(&up).await;
    }
}

/// Where nobody processes videos, there are no jobs, and none can be added.
#[tokio::test(flavor = "multi_thread")]
async fn without_workers_there_are_no_jobs() {
    let up = Uploading::embedded(&[ENV[0], ENV[1], ("SEEKWAY_TRANSCODING", "off")]).await;
    let root = asker(&up, "root", Role::Admin).await;
    let jobs = format!("/api/videos/{}/jobs", root.upload(1, "profile c21hbGw=").await);
    assert_eq!(root.get(&jobs).await["jobs"], json!([]));
    let answer = root.post(&jobs, &json!({})).await;
    assert_eq!(answer.status, 409, "{answer:?}");
    assert!(answer.problem()["detail"].as_str().expect("text").contains("--transcoding"));
}
