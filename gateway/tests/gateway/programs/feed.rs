//! `GET /api/events`, and that streams go on at any gateway.

use futures_util::future::join_all;
use seekway_catalog::{AccountId, AccountPatch, Role, VideoId};
use serde_json::{Value, json};

use super::{add, ask, json_of, rename, replica};
use crate::support::wire::{Wire, head};
use crate::support::{Stand, until};
use crate::uploads::ownership::somebody;
use crate::uploads::stand::Uploading;

const ENV: [(&str, &str); 2] = [("SEEKWAY_UPLOADS", "auto"), ("SEEKWAY_ACCOUNTS", "on")];

/// A stream of server-sent events.
struct Stream {
    wire: Wire,
    text: String,
}

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Heard {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) data: Value,
}

// === impl Stream ===

impl Stream {
    async fn begin(stand: &Stand, bearer: &str, target: &str, last: Option<&str>) -> Self {
        let mut headers = vec![("Accept", "text/event-stream"), ("Authorization", bearer)];
        headers.extend(last.map(|last| ("Last-Event-ID", last)));
        let mut wire = stand.connect().await;
        wire.send(head("GET", target, &headers)).await;
        Self { wire, text: String::new() }
    }

    /// Waits until the gateway has begun to answer.
    async fn is_heard(&mut self) {
        while !self.text.contains("retry: ") {
            self.more().await;
        }
    }

    async fn more(&mut self) {
        let piece = self.wire.some(64 * 1024).await;
        assert!(!piece.is_empty(), "it ended: {}", self.text);
        self.text.push_str(&String::from_utf8_lossy(&piece));
    }

    /// The next event.
    async fn next(&mut self) -> Heard {
        loop {
            if let Some(heard) = Heard::take(&mut self.text) {
                return heard;
            }
            self.more().await;
        }
    }
}

// === impl Heard ===

impl Heard {
    /// The first event of a stream's text that is there as a whole. What stands between are heads of chunks and comments.
    pub(super) fn take(text: &mut String) -> Option<Self> {
        let at = text.find("data: ")?;
        let end = at + text[at..].find("\n\n")? + 2;
        let block: String = text.drain(..end).collect();
        let field = |name: &str| block.lines().rev().find_map(|line| line.strip_prefix(name));
        let data = serde_json::from_str(field("data: ").expect("data")).expect("JSON");
        let text = |name: &str| field(name).unwrap_or_default().to_owned();
        Some(Self { id: text("id: "), kind: text("event: "), data })
    }
}

/// All that is kept of the feed after a place, and where it ends.
async fn pages(stand: &Stand, bearer: &str, after: Option<String>) -> (Vec<Value>, String) {
    let (mut events, mut after) = (Vec::new(), after.unwrap_or_default());
    loop {
        let page =
            ask(stand, bearer, "GET", &format!("/api/events?limit=7&after={after}"), &Value::Null).await;
        let page = json_of(&page, 200);
        assert_eq!(page["reset"], false);
        page["next"].as_str().expect("text").clone_into(&mut after);
        match page["events"].as_array().expect("a list") {
            none if none.is_empty() => return (events, after),
            some => events.extend(some.iter().cloned()),
        }
    }
}

/// Waits until all that has happened has its place.
async fn settled(up: &Uploading) {
    until("what happened has its place", async || {
        (up.catalog.feed().advance(100).await.expect("advances") == 0).then_some(())
    })
    .await;
}

async fn somebody_with_videos(up: &Uploading) -> (AccountId, String, Vec<VideoId>) {
    let (ann, key) = somebody(up, "ann", Role::Creator).await;
    let mut videos = Vec::new();
    for nth in 0..3 {
        videos.push(add(up, Some(ann), &format!("v/{nth}")).await);
    }
    settled(up).await;
    (ann, key, videos)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_is_cut_goes_on_at_another_gateway() {
    const CHANGES: usize = 25;
    for up in Uploading::both(&ENV).await {
        let (_, key, videos) = somebody_with_videos(&up).await;
        let other = replica(&up);
        let stands = [up.stand(), &other];
        let (before, begin) = pages(up.stand(), &key, None).await;
        assert_eq!(before.len(), videos.len());
        let writing = join_all(videos.iter().map(|id| async {
            for nth in 0..CHANGES {
                rename(&up, *id, nth.to_string()).await;
            }
        }));
        let wanted = videos.len() * CHANGES;
        let listening = async {
            let mut random = fastrand::Rng::with_seed(7);
            let (mut last, mut heard) = (begin.clone(), Vec::new());
            while heard.len() < wanted {
                let stand = stands[random.usize(..2)];
                let mut stream = Stream::begin(stand, &key, "/api/events", Some(&last)).await;
                // Then it is cut, perhaps with an event half sent, or in the kernel.
                for _ in 0..random.usize(1..9).min(wanted - heard.len()) {
                    let event = stream.next().await;
                    last.clone_from(&event.id);
                    heard.push(event);
                }
            }
            heard
        };
        let (_, heard) = tokio::join!(writing, listening);
        let (all, _) = pages(&other, &key, Some(begin)).await;
        assert_eq!(all.len(), wanted, "and no more");
        let told: Vec<_> = heard.iter().map(|event| event.data.clone()).collect();
        assert!(told == all, "each once, in the same order:\n{told:?}\n{all:?}");
        assert!(heard.iter().all(|event| event.kind == event.data["type"]));
        for id in &videos {
            let id = id.to_string();
            let of_one = told.iter().filter(|event| event["data"]["video"] == *id);
            let titles: Vec<_> = of_one.map(|event| event["data"]["title"].clone()).collect();
            assert_eq!(titles, (0..CHANGES).map(|nth| json!(nth.to_string())).collect::<Vec<_>>());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_to_one_video_goes_on_at_another_gateway_too() {
    const CHANGES: usize = 30;
    for up in Uploading::both(&ENV).await {
        let (_, key, videos) = somebody_with_videos(&up).await;
        let other = replica(&up);
        let (id, stands) = (videos[0], [up.stand(), &other]);
        let writing = async {
            for nth in 0..CHANGES {
                rename(&up, id, nth.to_string()).await;
            }
        };
        let target = format!("/api/videos/{id}/events");
        let listening = async {
            let mut random = fastrand::Rng::with_seed(8);
            let (mut last, mut heard) = (None::<String>, Vec::new());
            while heard.len() <= CHANGES {
                let mut stream =
                    Stream::begin(stands[random.usize(..2)], &key, &target, last.as_deref()).await;
                for _ in 0..random.usize(1..9).min(CHANGES + 1 - heard.len()) {
                    let event = stream.next().await;
                    last = Some(event.id.clone());
                    heard.push(event.id);
                }
            }
            heard
        };
        let ((), heard) = tokio::join!(writing, listening);
        assert_eq!(heard, (1..=CHANGES + 1).map(|number| number.to_string()).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_hears_of_their_own() {
    for up in Uploading::both(&ENV).await {
        let (ann, anns, videos) = somebody_with_videos(&up).await;
        let (bob, bobs) = somebody(&up, "bob", Role::Viewer).await;
        let (_, root) = somebody(&up, "root", Role::Admin).await;
        let listen = async |key: &str| {
            let mut stream = Stream::begin(up.stand(), key, "/api/events", None).await;
            stream.is_heard().await;
            stream
        };
        let (mut of_ann, mut of_bob, mut of_root) =
            (listen(&anns).await, listen(&bobs).await, listen(&root).await);
        rename(&up, videos[0], "Ann's".to_owned()).await;
        add(&up, Some(bob), "v/bob").await;
        add(&up, None, "v/nobody").await;
        let first = of_ann.next().await;
        assert_eq!(first.data["data"]["title"], "Ann's", "from now on: {first:?}");
        assert_eq!(first.data["data"]["owner"], ann.to_string());
        assert_eq!(of_bob.next().await.data["data"]["title"], "v/bob");
        for title in ["Ann's", "v/bob", "v/nobody"] {
            assert_eq!(of_root.next().await.data["data"]["title"], title);
        }
        // Who hears of nothing has its place moved all the same, so that it does not fall behind what is kept.
        let (all, _) = pages(up.stand(), &bobs, None).await;
        assert_eq!(all.len(), 1, "{all:?}");
        let patch = AccountPatch { role: Some(Role::Creator), ..AccountPatch::default() };
        up.catalog.accounts().patch(bob, patch).await.expect("changes");

        let stranger = ask(up.stand(), "", "GET", "/api/events", &Value::Null).await;
        assert_eq!(stranger.status, 401);
        for bad in ["x", "7", "feed-", "feed-07", "feed--1"] {
            let headers = [("Accept", "text/event-stream"), ("Authorization", anns.as_str())];
            let target = format!("/api/events?after={bad}");
            let answer = up.stand().get(&target, &headers).await;
            assert_eq!(answer.status, 400, "{bad}");
            let headers = [headers[0], headers[1], ("Last-Event-ID", bad)];
            let answer = up.stand().get("/api/events", &headers).await;
            assert_eq!(answer.status, 400, "{bad}");
            assert!(String::from_utf8_lossy(&answer.body).contains("Last-Event-ID"));
            assert_eq!(ask(up.stand(), &anns, "GET", &target, &Value::Null).await.status, 400, "{bad}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_for_too_long_is_told_so() {
    for up in Uploading::both(&ENV).await {
        let (_, key, videos) = somebody_with_videos(&up).await;
        let (_, begin) = pages(up.stand(), &key, None).await;
        for nth in 0..3 {
            rename(&up, videos[0], nth.to_string()).await;
        }
        settled(&up).await;
        let mut stream = Stream::begin(up.stand(), &key, "/api/events", Some(&begin)).await;
        let place = stream.next().await.id;
        up.catalog.feed().trim(-1000).await.expect("trims");
        // Not the gateway that remembers them, but one that remembers what came later.
        let other = replica(&up);
        let mut now = Stream::begin(&other, &key, "/api/events", None).await;
        now.is_heard().await;
        rename(&up, videos[0], "later".to_owned()).await;
        assert_eq!(now.next().await.data["data"]["title"], "later");
        let mut late = Stream::begin(&other, &key, "/api/events", Some(&begin)).await;
        let reset = late.next().await;
        assert_eq!(reset.kind, "reset");
        let far = "feed-9000000000000000000";
        let page = ask(up.stand(), &key, "GET", &format!("/api/events?after={far}"), &Value::Null).await;
        let page = json_of(&page, 200);
        assert_eq!((&page["reset"], page["events"].as_array().map(Vec::len)), (&json!(true), Some(0)));
        assert_eq!(page["next"], reset.id);
        rename(&up, videos[0], "after".to_owned()).await;
        assert_eq!(late.next().await.data["data"]["title"], "after", "and nothing between");
        let mut later =
            Stream::begin(up.stand(), &key, &format!("/api/events?after={place}"), Some(&reset.id)).await;
        assert_eq!(later.next().await.data["data"]["title"], "after", "the header counts");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_reads_nothing_is_cut_and_goes_on_later() {
    const EVENTS: usize = 300;
    let env = [ENV[0], ENV[1], ("SEEKWAY_WRITE_STALL_TIMEOUT", "500ms")];
    for up in Uploading::both(&env).await {
        let (_, key, videos) = somebody_with_videos(&up).await;
        let (_, begin) = pages(up.stand(), &key, None).await;
        let mut slow = Wire::connect_narrow(up.stand().address()).await;
        let headers = [
            ("Accept", "text/event-stream"),
            ("Authorization", key.as_str()),
            ("Last-Event-ID", begin.as_str()),
        ];
        slow.send(head("GET", "/api/events", &headers)).await;
        let listeners = async |wanted: usize| {
            let line = format!("seekway_event_listeners {wanted}\n");
            until(&line, async || {
                let page = Wire::connect(up.stand().admin_address()).await.ask("GET", "/metrics", &[]).await;
                String::from_utf8_lossy(&page.body).contains(&line).then_some(())
            })
            .await;
        };
        listeners(1).await;
        // More than sockets hold.
        for nth in 0..EVENTS {
            rename(&up, videos[0], format!("{nth} {}", "x".repeat(20_000))).await;
        }
        listeners(0).await;
        let mut text = String::from_utf8_lossy(&slow.until_closed().await).into_owned();
        let (mut last, mut heard) = (begin, 0);
        while let Some(event) = Heard::take(&mut text) {
            (last, heard) = (event.id, heard + 1);
        }
        assert!(heard < EVENTS, "the rest was not kept for it");
        let mut stream = Stream::begin(up.stand(), &key, "/api/events", Some(&last)).await;
        for nth in heard..EVENTS {
            let event = stream.next().await;
            let title = event.data["data"]["title"].as_str().expect("text").to_owned();
            assert!(title.starts_with(&format!("{nth} ")), "{nth}: {title}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_gateway_in_order() {
    let mut up = Uploading::embedded(&ENV).await;
    let (_, key, _) = somebody_with_videos(&up).await;
    let mut stream = Stream::begin(up.stand(), &key, "/api/events", None).await;
    stream.is_heard().await;
    let gateway = up.take_gateway();
    gateway.drain();
    let rest = String::from_utf8_lossy(&stream.wire.until_closed().await).into_owned();
    assert!(rest.ends_with("0\r\n\r\n"), "{rest:?}");
    tokio::task::spawn_blocking(move || gateway.join()).await.expect("no panic");
}
