//! Videos over the API, and who may see them, with SQLite and a local folder, and with PostgreSQL and SeaweedFS.

use std::fmt::Write as _;

use seekway_catalog::{NewVideo, Phase, Progress, Source, VideoId, VideoState, Visibility};
use seekway_storage::{Attributes, ObjectKey};
use serde_json::{Value, json};

use crate::support::wire::{Answer, Wire, head};
use crate::support::{Stand, path_text, until};
use crate::uploads::stand::{MIB, TUS, Uploading, video};

/// Only this machine may upload; what it uploads is nobody's else.
const LOCAL: [(&str, &str); 1] = [("SEEKWAY_UPLOADS", "auto")];

/// Somebody at this machine.
struct Local<'a>(&'a Stand);

// === impl Local ===

impl Local<'_> {
    async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Wire {
        let mut wire = self.0.connect().await;
        let mut head =
            format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").expect("a String takes all text");
        }
        wire.send(format!("{head}\r\n")).await;
        // It may be answered before all of it is sent.
        let _ = wire.try_send(body).await;
        wire
    }

    async fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.send(method, target, headers, body).await.answer(method).await
    }

    async fn get(&self, target: &str) -> Value {
        let answer = self.ask("GET", target, &[], b"").await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{answer:?}");
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    async fn patch(&self, target: &str, document: &Value) -> Answer {
        let body = document.to_string();
        self.ask("PATCH", target, &[("Content-Type", "application/json")], body.as_bytes()).await
    }

    /// Uploads a small video with this title.
    async fn upload(&self, seed: u64, title: &str) -> VideoId {
        let bytes = video(seed, MIB);
        let metadata = format!("title {}", base64(title));
        let headers = [
            TUS,
            ("Upload-Length", &bytes.len().to_string()),
            ("Upload-Metadata", &metadata),
            ("Content-Type", "application/offset+octet-stream"),
        ];
        let answer = self.ask("POST", "/api/uploads", &headers, &bytes).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        Uploading::video_of(&answer)
    }
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn titles(page: &Value) -> Vec<&str> {
    let videos = page["videos"].as_array().expect("a list");
    videos.iter().map(|video| video["title"].as_str().expect("text")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn videos_are_listed_searched_and_changed() {
    for up in Uploading::both(&LOCAL).await {
        let local = Local(up.stand());
        let mut ids = Vec::new();
        for (seed, title) in
            [(1, "Holiday by the Sea"), (2, "50 % off_road"), (3, "ÜBER Land"), (4, "sea of holidays")]
        {
            ids.push(local.upload(seed, title).await);
        }
        let all = local.get("/api/videos").await;
        assert_eq!(titles(&all), ["sea of holidays", "ÜBER Land", "50 % off_road", "Holiday by the Sea"]);
        assert_eq!(all["next"], Value::Null);
        let mut seen = Vec::new();
        let mut target = "/api/videos?limit=3".to_owned();
        loop {
            let page = local.get(&target).await;
            seen.extend(titles(&page).into_iter().map(str::to_owned));
            let Some(next) = page["next"].as_str() else { break };
            target = format!("/api/videos?limit=3&after={next}");
        }
        assert_eq!(seen, titles(&all));
        for (query, found) in [
            ("search=sea", vec!["sea of holidays", "Holiday by the Sea"]),
            ("search=holiday+sea", vec!["Holiday by the Sea"]),
            ("search=%25", vec!["50 % off_road"]),
            ("search=_road", vec!["50 % off_road"]),
            ("search=%C3%BCber", vec!["ÜBER Land"]),
            ("visibility=public", vec![]),
            ("state=uploaded&limit=1", vec!["sea of holidays"]),
            ("state=ready", vec![]),
        ] {
            assert_eq!(titles(&local.get(&format!("/api/videos?{query}")).await), found, "{query}");
        }

        let target = format!("/api/videos/{}", ids[0]);
        let one = local.get(&target).await;
        let id = ids[0].to_string();
        assert_eq!((one["id"].as_str(), one["state"].as_str()), (Some(&*id), Some("uploaded")));
        assert_eq!((one["visibility"].as_str(), one["size"].as_u64()), (Some("private"), Some(MIB as u64)));
        assert_eq!((one["container"].as_str(), one["owner"].is_null()), (Some("mp4"), true));
        let changed = local.patch(&target, &json!({"title": "At the sea", "visibility": "unlisted"})).await;
        assert_eq!(changed.status, 200, "{changed:?}");
        let one = local.get(&target).await;
        assert_eq!(serde_json::from_slice::<Value>(&changed.body).expect("JSON"), one);
        assert_eq!(
            (one["title"].as_str(), one["visibility"].as_str()),
            (Some("At the sea"), Some("unlisted"))
        );
        assert_eq!(local.patch(&target, &json!({})).await.status, 200, "nothing is a change, too");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_told_what_is_wrong() {
    let up = Uploading::embedded(&LOCAL).await;
    let local = Local(up.stand());
    let target = format!("/api/videos/{}", local.upload(1, "one").await);
    let json = [("Content-Type", "application/json")];
    let long = format!(r#"{{"title": "{}"}}"#, "x".repeat(301));
    let endless = vec![b' '; 65 * 1024];
    for (headers, body, status, said) in [
        (&json[..], &b"{"[..], 400, "EOF"),
        (&json[..], br#"{"titel": "x"}"#, 400, "titel"),
        (&json[..], br#"{"title": "  "}"#, 400, "300"),
        (&json[..], long.as_bytes(), 400, "300"),
        (&json[..], br#"{"title": "a\nb"}"#, 400, "one line"),
        (&json[..], br#"{"visibility": "everybody"}"#, 400, "unlisted"),
        (&json[..], br#"["title"]"#, 400, "wanted"),
        (&json[..], &endless, 413, "64 KiB"),
        (&[][..], br#"{"title": "x"}"#, 415, "application/json"),
    ] {
        let answer = local.ask("PATCH", &target, headers, body).await;
        assert_eq!(answer.status, status, "{answer:?}");
        let detail = answer.problem()["detail"].to_string();
        assert!(detail.contains(said), "{detail}");
    }
    for (query, said) in [
        ("limit=0", "from 1 to 100"),
        ("limit=101", "from 1 to 100"),
        ("after=x", "`next`"),
        ("owner=x", "`me`"),
        ("owner=me", "`me`"),
        ("visibility=x", "unlisted"),
        ("state=x", "uploaded"),
        ("search=%zz", "percent-encoded"),
    ] {
        let answer = local.ask("GET", &format!("/api/videos?{query}"), &[], b"").await;
        assert_eq!(answer.status, 400, "{query}");
        let detail = answer.problem()["detail"].to_string();
        assert!(detail.contains(said), "{query}: {detail}");
    }
    let nobody = "/api/videos/01930000-0000-7000-8000-000000000000";
    for (method, target) in
        [("GET", nobody), ("DELETE", nobody), ("GET", "/api/videos/x"), ("GET", "/api/videos/x/events")]
    {
        assert_eq!(local.ask(method, target, &[], b"").await.status, 404, "{method} {target}");
    }
    let put = local.ask("PUT", &target, &[], b"").await;
    assert_eq!((put.status, put.header("allow")), (405, "GET, HEAD, PATCH, DELETE"));
    assert_eq!(local.get(&target).await["title"], "one", "nothing of it changed anything");
}

/// The second gateway shares the first one's store and database.
#[tokio::test(flavor = "multi_thread")]
async fn a_private_video_is_its_owners_and_every_replica_hears_of_a_change() {
    let up = Uploading::embedded(&LOCAL).await;
    let (local, media) = (Local(up.stand()), up.stand().media());
    let id = local.upload(1, "one").await;
    let bytes = video(1, MIB);
    let made = up.catalog.videos().get(id).await.expect("it is there");
    let (media_target, video_target) = (format!("/media/{}", made.source.key), format!("/api/videos/{id}"));
    let url = format!("sqlite:{}", media.with_file_name("seekway.db").display());
    let env = [("LOCAL_STORAGE_DIR", path_text(&media)), ("DATABASE_URL", &*url), ("SEEKWAY_UPLOADS", "off")];
    let replica = Stand::start(&env, &[], None, tempfile::TempDir::new().expect("a folder"));

    let own = local.ask("GET", &media_target, &[], b"").await;
    assert_eq!((own.status, own.body == bytes), (200, true));
    assert_eq!(own.header("cache-control"), "private, no-cache");
    let unseen = async |why: &str| {
        for stand in [up.stand(), &replica] {
            let answer = stand.get(&media_target, &[]).await;
            assert_eq!(answer.status, 404, "{why}");
            assert_eq!(answer.problem()["detail"], "There is no such object.");
            assert_eq!(stand.get(&video_target, &[]).await.status, 404, "{why}");
            assert_eq!(stand.ask("DELETE", &video_target, &[]).await.status, 404, "{why}");
        }
    };
    unseen("it is private").await;
    for visibility in ["public", "unlisted"] {
        assert_eq!(local.patch(&video_target, &json!({ "visibility": visibility })).await.status, 200);
        for stand in [up.stand(), &replica] {
            let seen = async || {
                let answer = stand.get(&media_target, &[("Range", "bytes=5-9")]).await;
                (answer.status == 206).then_some(answer)
            };
            let answer = until("the change is heard of", seen).await;
            assert_eq!(answer.body, &bytes[5..10]);
            assert_ne!(answer.header("cache-control"), "private, no-cache");
            assert_eq!(stand.get(&video_target, &[]).await.status, 200);
            assert_eq!(stand.ask("DELETE", &video_target, &[]).await.status, 403, "seen, but not theirs");
            let page = stand.get("/api/videos", &[]).await;
            let page: Value = serde_json::from_slice(&page.body).expect("JSON");
            assert_eq!(titles(&page).len(), usize::from(visibility == "public"), "unlisted is not listed");
        }
        assert_eq!(local.patch(&video_target, &json!({"visibility": "private"})).await.status, 200);
        for stand in [up.stand(), &replica] {
            until("the change is heard of", async || {
                (stand.get(&media_target, &[]).await.status == 404).then_some(())
            })
            .await;
        }
        unseen("it is private again").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_video_is_served_or_not_by_where_it_lies() {
    let up = Uploading::embedded(&LOCAL).await;
    for key in ["films/a.mp4", "original/2026/01/01/a.mp4", "assets/a.png", "seekway-incoming/x/1"] {
        up.stand().put_pattern(key, 1000, 7);
        let expected = if key.starts_with("films/") { 200 } else { 404 };
        for _ in 0..2 {
            assert_eq!(up.stand().get(&format!("/media/{key}"), &[]).await.status, expected, "{key}");
            let local = Local(up.stand()).ask("GET", &format!("/media/{key}"), &[], b"").await;
            assert_eq!(local.status, expected, "{key}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_listed_for_whoever_may_know_of_them() {
    for up in Uploading::both(&LOCAL).await {
        let local = Local(up.stand());
        let mut keys = Vec::new();
        for (seed, visibility) in [(1, "private"), (2, "unlisted"), (3, "public")] {
            let id = local.upload(seed, visibility).await;
            let target = format!("/api/videos/{id}");
            assert_eq!(local.patch(&target, &json!({ "visibility": visibility })).await.status, 200);
            keys.push(up.catalog.videos().get(id).await.expect("it is there").source.key);
        }
        let bytes = video(4, 1000);
        let headers = [TUS, ("Upload-Length", "2000"), ("Content-Type", "application/offset+octet-stream")];
        assert_eq!(local.ask("POST", "/api/uploads", &headers, &bytes).await.status, 201);
        assert!(
            up.keys().await.iter().any(|key| key.starts_with("seekway-incoming/")),
            "there is a remainder"
        );
        let listed = |page: &Value| {
            let objects = page["objects"].as_array().expect("a list").iter();
            objects.map(|object| object["key"].as_str().expect("text").to_owned()).collect::<Vec<_>>()
        };
        let seen = async || {
            let page = up.stand().get("/api/objects", &[]).await;
            let listed = listed(&serde_json::from_slice(&page.body).expect("JSON"));
            (listed == keys[2..]).then_some(())
        };
        until("strangers see what is public, and nothing else", seen).await;
        keys.sort_unstable();
        assert_eq!(listed(&local.get("/api/objects").await), keys);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_video_goes_with_its_object() {
    for up in Uploading::both(&LOCAL).await {
        let local = Local(up.stand());
        let (gone, stays) = (local.upload(1, "gone").await, local.upload(2, "stays").await);
        let key = up.catalog.videos().get(gone).await.expect("it is there").source.key;
        let target = format!("/api/videos/{gone}");
        assert_eq!(local.ask("GET", &format!("/media/{key}"), &[], b"").await.status, 200);
        let answer = local.ask("DELETE", &target, &[], b"").await;
        assert_eq!((answer.status, answer.body.len()), (204, 0));
        assert_eq!(local.ask("GET", &target, &[], b"").await.status, 404);
        assert_eq!(titles(&local.get("/api/videos").await), ["stays"]);
        until("nobody can play it", async || {
            (local.ask("GET", &format!("/media/{key}"), &[], b"").await.status == 404).then_some(())
        })
        .await;
        let left = up.catalog.videos().get(stays).await.expect("it is there").source.key;
        until("its object and its row go", async || {
            let is_gone =
                matches!(up.catalog.videos().get(gone).await, Err(seekway_catalog::Error::NotFound));
            (is_gone && up.keys().await == [left.clone()]).then_some(())
        })
        .await;
        assert_eq!(local.ask("DELETE", &target, &[], b"").await.status, 404, "it is gone");
    }
}

/// Its key is one of those that are served as they are where no video has them.
#[tokio::test(flavor = "multi_thread")]
async fn an_imported_video_that_was_deleted_is_not_played_from_memory() {
    for up in Uploading::both(&[LOCAL[0], ("METADATA_TTL", "1h")]).await {
        let local = Local(up.stand());
        let bytes = video(1, MIB);
        let mut ids = Vec::new();
        for key in ["films/a.mp4", "films/b.mp4"] {
            let body = Box::pin(futures_util::stream::once(std::future::ready(Ok(bytes.clone().into()))));
            let stored = ObjectKey::new(key).expect("a key");
            up.store.put(&stored, &Attributes::default(), body).await.expect("stored");
            let source = Source {
                key: key.to_owned(),
                etag: "\"1\"".to_owned(),
                version: None,
                size: MIB as u64,
                sha256: None,
                content_type: None,
                container: None,
            };
            let new =
                NewVideo { title: key.to_owned(), visibility: Visibility::Private, source, profile: None };
            ids.push(up.catalog.videos().add(None, &new).await.expect("added").expect("new"));
            until("its owner plays it", async || {
                (local.ask("GET", &format!("/media/{key}"), &[], b"").await.body == bytes).then_some(())
            })
            .await;
            assert_eq!(up.stand().get(&format!("/media/{key}"), &[]).await.status, 404);
        }
        assert_eq!(local.ask("DELETE", &format!("/api/videos/{}", ids[0]), &[], b"").await.status, 204);
        until("it is gone", async || up.catalog.videos().get(ids[0]).await.is_err().then_some(())).await;
        // Changes are heard of in their order.
        let public = json!({"visibility": "public"});
        assert_eq!(local.patch(&format!("/api/videos/{}", ids[1]), &public).await.status, 200);
        until("the feed is read", async || {
            (up.stand().get("/media/films/b.mp4", &[]).await.status == 200).then_some(())
        })
        .await;
        for _ in 0..2 {
            assert_eq!(up.stand().get("/media/films/a.mp4", &[]).await.status, 404);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn assets_are_their_owners_alone() {
    for up in Uploading::both(&LOCAL).await {
        let local = Local(up.stand());
        let png = b"\x89PNG\r\n\x1a\n and the rest of a picture".to_vec();
        for (name, purpose) in [("logo.png", "watermark"), ("other.png", "watermark")] {
            let form = [
                b"--x\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n".to_vec(),
                purpose.as_bytes().to_vec(),
                format!(
                    "\r\n--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n"
                )
                .into(),
                png.clone(),
                b"\r\n--x--\r\n".to_vec(),
            ];
            let kind = [("Content-Type", "multipart/form-data; boundary=x")];
            let answer = local.ask("POST", "/api/videos", &kind, &form.concat()).await;
            assert_eq!(answer.status, 201, "{answer:?} {}", String::from_utf8_lossy(&answer.body));
        }
        let page = local.get("/api/assets?limit=1").await;
        let asset = &page["assets"][0];
        assert_eq!(
            (asset["kind"].as_str(), asset["size"].as_u64()),
            (Some("watermark"), Some(png.len() as u64))
        );
        let rest = local.get(&format!("/api/assets?after={}", page["next"].as_str().expect("more"))).await;
        assert_eq!((rest["assets"].as_array().map(Vec::len), rest["next"].is_null()), (Some(1), true));
        let (id, url) = (asset["id"].as_str().expect("text"), asset["url"].as_str().expect("text"));
        let target = format!("/api/assets/{id}");
        assert_eq!(local.get(&target).await, *asset);
        assert_eq!(local.ask("GET", url, &[], b"").await.body, png);
        for (method, path, status) in
            [("GET", "/api/assets", 401), ("GET", &*target, 404), ("DELETE", &target, 404), ("GET", url, 404)]
        {
            assert_eq!(up.stand().ask(method, path, &[]).await.status, status, "a stranger: {method} {path}");
        }
        assert_eq!(local.ask("DELETE", &target, &[], b"").await.status, 204);
        assert_eq!(local.ask("GET", &target, &[], b"").await.status, 404);
        until("its object is gone", async || (up.keys().await.len() == 1).then_some(())).await;
    }
}

/// What an event of this kind says in a stream's text.
#[track_caller]
fn data_of(text: &str, kind: &str) -> Value {
    let (_, data) = text.split_once(&format!("event: {kind}\ndata: ")).expect("there is one");
    serde_json::from_str(data.lines().next().expect("a line")).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_to_a_video_is_told_and_told_again_from_any_event_on() {
    for mut up in Uploading::both(&LOCAL).await {
        let local = Local(up.stand());
        let id = local.upload(1, "one").await;
        let target = format!("/api/videos/{id}/events");
        let mut stream = local.send("GET", &target, &[], b"").await;
        let read = async |stream: &mut Wire, wanted: &str| {
            let mut text = String::new();
            while !(text.contains(wanted) && text.ends_with("\n\n\r\n")) {
                let piece = stream.some(64 * 1024).await;
                assert!(!piece.is_empty(), "it ended: {text}");
                text.push_str(&String::from_utf8_lossy(&piece));
            }
            text
        };
        let text = read(&mut stream, "uploaded").await;
        assert!(
            text.starts_with("HTTP/1.1 200 ") && text.contains("content-type: text/event-stream\r\n"),
            "{text}"
        );
        assert!(text.contains("id: 1\nevent: uploaded\ndata: {"), "{text}");
        up.catalog.videos().set_state(id, VideoState::Processing, None).await.expect("allowed");
        assert_eq!(local.get(&format!("/api/videos/{id}")).await["progress"], Value::Null);
        let at = async |percent, speed_milli| {
            let phase = Phase::Transcoding;
            let progress = Progress { phase, percent, speed_milli, eta_seconds: Some(90) };
            up.catalog.videos().set_progress(id, progress).await.expect("told");
        };
        at(40, Some(1_500)).await;
        let text = read(&mut stream, "eta_seconds").await;
        assert!(
            text.contains("id: 2\nevent: processing\n") && text.contains("id: 3\nevent: progress\n"),
            "{text}"
        );
        let shown = json!({"phase": "transcoding", "percent": 40, "speed": 1.5, "eta_seconds": 90});
        assert_eq!(data_of(&text, "progress")["progress"], shown);
        assert_eq!(local.get(&format!("/api/videos/{id}")).await["progress"], shown);

        // Who was away hears of the newest progress alone, by whichever replica, and then of what comes.
        at(41, None).await;
        let mut later = local.send("GET", &target, &[("Last-Event-ID", "2")], b"").await;
        let text = read(&mut later, "eta_seconds").await;
        assert!(!text.contains("processing") && text.contains("id: 4\n"), "{text}");
        let shown = json!({"phase": "transcoding", "percent": 41, "speed": null, "eta_seconds": 90});
        assert_eq!(data_of(&text, "progress")["progress"], shown);
        up.catalog.videos().set_state(id, VideoState::Ready, None).await.expect("allowed");
        for stream in [&mut stream, &mut later] {
            let text = read(stream, "\"ready\"").await;
            assert!(text.contains("id: 5\nevent: ready\n"), "{text}");
            assert!(data_of(&text, "ready").get("progress").is_none(), "{text}");
        }
        assert_eq!(local.get(&format!("/api/videos/{id}")).await["progress"], Value::Null);
        for bad in ["-1", "x", "9999999999999999999999"] {
            let answer = local.ask("GET", &target, &[("Last-Event-ID", bad)], b"").await;
            assert_eq!(answer.status, 400, "{bad}");
        }
        // A gateway that drains ends the stream in an orderly way, as a client sees by the last chunk.
        let gateway = up.take_gateway();
        gateway.drain();
        let rest = String::from_utf8_lossy(&stream.until_closed().await).into_owned();
        assert!(rest.ends_with("0\r\n\r\n"), "{rest:?}");
        drop(later);
        tokio::task::spawn_blocking(move || gateway.join()).await.expect("no panic");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_end_for_whoever_may_no_longer_see_the_video() {
    for up in Uploading::both(&LOCAL).await {
        let local = Local(up.stand());
        let id = local.upload(1, "one").await;
        let video = format!("/api/videos/{id}");
        let target = format!("{video}/events");
        assert_eq!(local.patch(&video, &json!({"visibility": "unlisted"})).await.status, 200);
        let mut own = local.send("GET", &target, &[], b"").await;
        let mut strangers = up.stand().connect().await;
        strangers.send(head("GET", &target, &[("Last-Event-ID", "1")])).await;
        let read = async |stream: &mut Wire, wanted: &str| {
            let mut text = String::new();
            while !text.contains(wanted) {
                let piece = stream.some(64 * 1024).await;
                assert!(!piece.is_empty(), "it ended: {text}");
                text.push_str(&String::from_utf8_lossy(&piece));
            }
        };
        read(&mut own, "id: 2\n").await;
        read(&mut strangers, "id: 2\n").await;
        assert_eq!(local.patch(&video, &json!({"visibility": "private", "title": "two"})).await.status, 200);
        read(&mut own, "id: 3\n").await;
        let end = async |stream: &mut Wire| {
            let mut rest = String::new();
            while !rest.ends_with("0\r\n\r\n") {
                let piece = stream.some(64 * 1024).await;
                assert!(!piece.is_empty(), "it broke off: {rest}");
                rest.push_str(&String::from_utf8_lossy(&piece));
                assert!(!rest.contains("id: "), "it goes on: {rest}");
            }
        };
        end(&mut strangers).await;
        assert_eq!(local.ask("DELETE", &video, &[], b"").await.status, 204);
        end(&mut own).await;
    }
}
