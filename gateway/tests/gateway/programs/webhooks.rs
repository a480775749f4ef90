//! `/api/webhooks`, and what receivers are told.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use seekway_catalog::{Role, VideoState, Viewer};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::receiver::{Receiver, Reply, Told};
use super::{add, ask, json_of, rename};
use crate::support::tools::root;
use crate::support::{Stand, until};
use crate::uploads::ownership::somebody;
use crate::uploads::stand::Uploading;

const ENV: [(&str, &str); 4] = [
    ("SEEKWAY_UPLOADS", "auto"),
    ("SEEKWAY_ACCOUNTS", "on"),
    ("SEEKWAY_WEBHOOKS_TO_PRIVATE", "true"),
    ("SEEKWAY_WEBHOOK_RETRY_AFTER", "10ms"),
];

/// A webhook as its owner has it.
struct Hook<'a> {
    stand: &'a Stand,
    bearer: String,
    path: String,
    secret: String,
}

// === impl Hook ===

impl<'a> Hook<'a> {
    async fn add(stand: &'a Stand, bearer: &str, new: &Value) -> Self {
        let made = json_of(&ask(stand, bearer, "POST", "/api/webhooks", new).await, 201);
        let text = |name: &str| made[name].as_str().expect("text").to_owned();
        Self {
            stand,
            bearer: bearer.to_owned(),
            path: format!("/api/webhooks/{}", text("id")),
            secret: text("secret"),
        }
    }

    async fn get(&self) -> Value {
        json_of(&ask(self.stand, &self.bearer, "GET", &self.path, &Value::Null).await, 200)
    }

    async fn post(&self, below: &str, status: u16) -> Value {
        let target = format!("{}/{below}", self.path);
        json_of(&ask(self.stand, &self.bearer, "POST", &target, &Value::Null).await, status)
    }

    async fn deliveries(&self) -> Vec<Value> {
        let target = format!("{}/deliveries", self.path);
        let page = json_of(&ask(self.stand, &self.bearer, "GET", &target, &Value::Null).await, 200);
        page["deliveries"].as_array().expect("a list").clone()
    }

    /// Waits until the newest delivery is as that says.
    async fn until(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        until(what, async || self.deliveries().await.into_iter().next().filter(&is)).await
    }
}

async fn told(receiver: &Receiver, path: &str, count: usize) -> Vec<Told> {
    until(&format!("{count} requests at {path}"), async || {
        Some(receiver.told(path)).filter(|told| told.len() >= count)
    })
    .await
}

/// Has a program look at requests: a line of JSON each. What it says of them.
fn judged(program: &str, script: &Path, secret: &str, told: &[Told]) -> String {
    let piped = Stdio::piped();
    let mut judge =
        Command::new(program).arg(script).stdin(piped).stdout(Stdio::piped()).spawn().expect("runs");
    let mut lines = judge.stdin.take().expect("it is piped");
    for one in told {
        let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        let headers: serde_json::Map<_, _> =
            names.iter().map(|name| ((*name).to_owned(), json!(one.header(name)))).collect();
        let body = std::str::from_utf8(&one.body).expect("text");
        writeln!(lines, "{}", json!({"secret": secret, "headers": headers, "body": body})).expect("it reads");
    }
    drop(lines);
    let output = judge.wait_with_output().expect("it ends");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Has the specification's own library look at requests.
fn assert_believed(secret: &str, told: &[Told]) {
    assert!(
        root().join("tests/webhooks/node_modules").exists(),
        "the library is missing; run scripts/setup test"
    );
    let script = root().join("tests/webhooks/verify.mjs");
    assert_eq!(judged("node", &script, secret, told), format!("ok {}\n", told.len()));
}

/// What the documentation shows in a language.
fn shown(language: &str) -> String {
    let text = std::fs::read_to_string(root().join("docs/events.md")).expect("it is there");
    let (_, rest) = text.split_once(&format!("```{language}\n")).expect("there is an example");
    rest.split("```").next().expect("it ends").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_documentation_shows_tells_ours_from_others() {
    const JS: &str = r#"
import { createInterface } from "node:readline";
for await (const line of createInterface({ input: process.stdin })) {
  const { secret, headers, body } = JSON.parse(line);
  try { console.log(verified(secret, headers, body).type); } catch (error) { console.log(error.message); }
}"#;
    const PYTHON: &str = r#"
import sys
for line in sys.stdin:
    told = json.loads(line)
    try:
        print(verified(told["secret"], told["headers"], told["body"])["type"])
    except ValueError as error:
        print(error)
"#;
    let up = Uploading::embedded(&ENV).await;
    let receiver = Receiver::start(|_, _| Reply::Status(200)).await;
    let (_, anns) = somebody(&up, "ann", Role::Creator).await;
    let hook = Hook::add(up.stand(), &anns, &json!({"url": receiver.url("/x")})).await;
    hook.post("secret", 200).await;
    hook.post("test", 202).await;
    let good = told(&receiver, "/x", 1).await.pop().expect("one");
    let mut changed = good.clone();
    changed.body = String::from_utf8_lossy(&good.body).replace("test", "ready").into();
    let mut old = good.clone();
    old.headers.insert("webhook-timestamp", "1000000000".parse().expect("a value"));
    let told = [good, changed, old];
    let folder = TempDir::new().expect("a folder");
    for (program, language, more, name) in
        [("node", "js", JS, "x.mjs"), ("python3", "python", PYTHON, "x.py")]
    {
        let script = folder.path().join(name);
        std::fs::write(&script, shown(language) + more).expect("written");
        let said = judged(program, &script, &hook.secret, &told);
        assert_eq!(said, "webhook.test\nit is not ours\nit is too old, or too new\n", "{language}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_with_a_signature_that_libraries_believe() {
    for up in Uploading::both(&ENV).await {
        let receiver = Receiver::start(|_, _| Reply::Status(204)).await;
        let (ann, anns) = somebody(&up, "ann", Role::Creator).await;
        let (_, bobs) = somebody(&up, "bob", Role::Creator).await;
        let (_, root) = somebody(&up, "root", Role::Admin).await;
        let new = json!({"url": receiver.url("/all?a=b"), "description": "Ann's"});
        let all = Hook::add(up.stand(), &anns, &new).await;
        let new =
            json!({"url": receiver.url("/ready"), "events": ["video.ready", "video.failed", "video.ready"]});
        let ready = Hook::add(up.stand(), &anns, &new).await;
        Hook::add(up.stand(), &bobs, &json!({"url": receiver.url("/bob")})).await;
        let everything = json!({"url": receiver.url("/root"), "scope": "all", "events": ["video.failed"]});
        assert_eq!(ask(up.stand(), &bobs, "POST", "/api/webhooks", &everything).await.status, 403);
        Hook::add(up.stand(), &root, &everything).await;

        let id = add(&up, Some(ann), "v/1").await;
        up.catalog.videos().set_state(id, VideoState::Failed, Some("It is noise.")).await.expect("moves");
        let at_all = told(&receiver, "/all", 2).await;
        let at_ready = told(&receiver, "/ready", 1).await;
        let at_root = told(&receiver, "/root", 1).await;
        let failed = at_ready[0].event();
        assert_eq!(failed["type"], "video.failed");
        let data = json!({"owner": ann.to_string(), "video": id.to_string(), "title": "v/1", "problem": "It is noise."});
        assert_eq!(failed["data"], data);
        assert_eq!(at_root[0].body, at_ready[0].body, "the same event is the same everywhere");
        let kinds: HashSet<_> = at_all.iter().map(|told| told.event()["type"].to_string()).collect();
        assert_eq!(kinds.len(), 2, "{kinds:?}");
        for told in &at_all {
            assert_eq!(told.header("content-type"), "application/json");
            assert_eq!(told.event()["id"], told.id());
            assert!(told.is_signed_with(&all.secret) && !told.is_signed_with(&ready.secret));
        }
        assert_believed(&all.secret, &at_all);
        assert_believed(&ready.secret, &at_ready);

        // The one before signs, too, after the secret is another.
        let rotated = ready.post("secret", 200).await;
        let newer = rotated["secret"].as_str().expect("text");
        assert_ne!(newer, ready.secret);
        assert!(rotated["previous_secret_until"].is_string());
        let tested = ready.post("test", 202).await;
        let test = told(&receiver, "/ready", 2).await.pop().expect("two");
        assert_eq!(
            (test.id(), test.event()["type"].as_str()),
            (tested["event"].as_str().expect("text"), Some("webhook.test"))
        );
        for secret in [newer, &ready.secret] {
            assert_believed(secret, std::slice::from_ref(&test));
        }
        let log = ready.until("it is delivered", |delivery| delivery["state"] == "delivered").await;
        let attempt = &log["attempts"][0];
        assert_eq!((&log["event"]["id"], &log["next_attempt"]), (&tested["event"], &Value::Null));
        assert_eq!(
            (&attempt["number"], &attempt["status"], &attempt["problem"]),
            (&json!(1), &json!(204), &Value::Null)
        );
        assert!(receiver.told("/bob").is_empty(), "it was not his");

        // What is somebody's is there for nobody else, admins neither; and a secret is told once.
        let event = tested["event"].as_str().expect("text");
        let below = ["", "/secret", "/test", "/deliveries", &format!("/deliveries/{event}/redeliver")];
        for (bearer, status) in [(bobs.as_str(), 404), (root.as_str(), 404), ("", 401)] {
            for below in below {
                let method = if ["", "/deliveries"].contains(&below) { "GET" } else { "POST" };
                let answer =
                    ask(up.stand(), bearer, method, &format!("{}{below}", ready.path), &Value::Null).await;
                assert_eq!(answer.status, status, "{below}");
            }
            for method in ["PATCH", "DELETE"] {
                assert_eq!(
                    ask(up.stand(), bearer, method, &ready.path, &json!({})).await.status,
                    status,
                    "{method}"
                );
            }
        }
        let list = json_of(&ask(up.stand(), &anns, "GET", "/api/webhooks", &Value::Null).await, 200);
        assert_eq!(list["webhooks"].as_array().map(Vec::len), Some(2));
        assert!(!list.to_string().contains("whsec_"));
        assert_eq!(ready.get().await["events"], json!(["video.ready", "video.failed"]));
        assert_eq!(ask(up.stand(), &anns, "DELETE", &ready.path, &Value::Null).await.status, 204);
        assert_eq!(ask(up.stand(), &anns, "GET", &ready.path, &Value::Null).await.status, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_tried_again_under_the_same_name() {
    for up in Uploading::both(&ENV).await {
        let receiver = Receiver::start(|path, nth| match (path, nth) {
            ("/flaky", 0) => Reply::Status(500),
            ("/flaky", 1) => Reply::With(302, "location", "/elsewhere"),
            ("/later", 0) => Reply::With(503, "retry-after", "7200"),
            ("/gone", _) => Reply::Status(410),
            _ => Reply::Status(200),
        })
        .await;
        let (ann, anns) = somebody(&up, "ann", Role::Creator).await;
        let hook = async |path| {
            // Not of what becomes of the others.
            let new = json!({"url": receiver.url(path), "events": ["webhook.test"]});
            Hook::add(up.stand(), &anns, &new).await
        };
        let flaky = hook("/flaky").await;
        flaky.post("test", 202).await;
        let told = told(&receiver, "/flaky", 3).await;
        assert!(told.iter().all(|one| one.id() == told[0].id() && one.is_signed_with(&flaky.secret)));
        let log = flaky.until("it is delivered", |delivery| delivery["state"] == "delivered").await;
        let attempts = log["attempts"].as_array().expect("a list");
        let statuses: Vec<_> = attempts.iter().map(|attempt| attempt["status"].clone()).collect();
        assert_eq!(statuses, [500, 302, 200]);
        assert_eq!(attempts[1]["problem"], "It answered 302; redirects are not followed.");
        assert_eq!(attempts[0]["answer"], "said  this");
        assert!(receiver.told("/elsewhere").is_empty());
        assert_eq!(flaky.get().await["failing_since"], Value::Null);

        // A receiver that wants to be left alone is, unless its owner asks.
        let later = hook("/later").await;
        let event = later.post("test", 202).await["event"].as_str().expect("text").to_owned();
        let waits = later.until("it was tried", |delivery| delivery["attempts"] != json!([])).await;
        let next = httpdate_of(&waits["next_attempt"]);
        assert!(next - httpdate_of(&waits["updated"]) >= 7199, "{waits}");
        assert!(later.get().await["failing_since"].is_string());
        later.post(&format!("deliveries/{event}/redeliver"), 202).await;
        let done = later.until("it is delivered", |delivery| delivery["state"] == "delivered").await;
        assert_eq!(done["attempts"].as_array().map(Vec::len), Some(2));

        // One that is gone is told nothing more, and its owner hears of it.
        let gone = hook("/gone").await;
        gone.post("test", 202).await;
        until("it is disabled", async || (gone.get().await["enabled"] == false).then_some(())).await;
        assert!(gone.get().await["problem"].as_str().is_some_and(|why| why.contains("410")));
        assert_eq!(gone.deliveries().await[0]["state"], "failed");
        gone.post("test", 409).await;
        let id = gone.path.rsplit('/').next().expect("an id").to_owned();
        until("it is told of", async || {
            let following = up.catalog.feed().after(Viewer::Account(ann), None, 100).await.expect("lists");
            let seekway_catalog::Following::Events(events, _) = following else { panic!("nothing is lost") };
            let is_it = |event: &seekway_catalog::FeedEvent| {
                event.kind == "webhook.disabled" && event.webhook.is_some_and(|hook| hook.to_string() == id)
            };
            events.iter().any(is_it).then_some(())
        })
        .await;
        let patched = ask(
            up.stand(),
            &anns,
            "PATCH",
            &gone.path,
            &json!({"enabled": true, "url": receiver.url("/new")}),
        )
        .await;
        assert_eq!(json_of(&patched, 200)["problem"], Value::Null);
        gone.post("test", 202).await;
        self::told(&receiver, "/new", 1).await;
        let page = crate::support::wire::Wire::connect(up.stand().admin_address())
            .await
            .ask("GET", "/metrics", &[])
            .await;
        let page = String::from_utf8_lossy(&page.body).into_owned();
        assert!(page.contains("seekway_webhook_attempts_total{outcome=\"again\"} 3\n"), "{page}");
    }
}

/// Seconds of a time as the API writes it.
fn httpdate_of(value: &Value) -> i64 {
    let text = value.as_str().expect("a time");
    let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().expect("a number");
    // Within a month, which the tests never leave by more than hours.
    number(8..10) * 86_400 + number(11..13) * 3600 + number(14..16) * 60 + number(17..19)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_keeps_no_other_waiting() {
    const EVENTS: usize = 30;
    for up in Uploading::both(&ENV).await {
        let receiver =
            Receiver::start(|path, _| if path == "/hangs" { Reply::Hang } else { Reply::Status(200) }).await;
        let (ann, anns) = somebody(&up, "ann", Role::Creator).await;
        Hook::add(up.stand(), &anns, &json!({"url": receiver.url("/hangs")})).await;
        let good = Hook::add(up.stand(), &anns, &json!({"url": receiver.url("/good")})).await;
        let id = add(&up, Some(ann), "v/1").await;
        for nth in 1..EVENTS {
            rename(&up, id, nth.to_string()).await;
        }
        let told = told(&receiver, "/good", EVENTS).await;
        let names: HashSet<_> = told.iter().map(Told::id).collect();
        assert_eq!((told.len(), names.len()), (EVENTS, EVENTS), "each once");
        assert!(told.iter().all(|told| told.is_signed_with(&good.secret)));
        assert!(receiver.told("/hangs").len() <= 4, "it has its own few places");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_come_is_none() {
    let mut env = ENV.to_vec();
    env.push(("SEEKWAY_WEBHOOK_TIMEOUT", "100ms"));
    let up = Uploading::embedded(&env).await;
    let receiver = Receiver::start(|_, nth| if nth == 0 { Reply::Hang } else { Reply::Status(200) }).await;
    let (_, anns) = somebody(&up, "ann", Role::Creator).await;
    let hook = Hook::add(up.stand(), &anns, &json!({"url": receiver.url("/x")})).await;
    hook.post("test", 202).await;
    let log = hook.until("it is delivered", |delivery| delivery["state"] == "delivered").await;
    assert_eq!(log["attempts"][0]["status"], Value::Null);
    assert_eq!(log["attempts"][0]["problem"], "There was no answer within 100ms.");
    // And one that nobody gives.
    let nobody = receiver.url("/x");
    drop(receiver);
    until("nobody listens", async || {
        tokio::net::TcpStream::connect(&nobody[7..nobody.len() - 2]).await.err()
    })
    .await;
    let event = hook.post("test", 202).await["event"].clone();
    let is_tried = |one: &Value| one["event"]["id"] == event && one["attempts"] != json!([]);
    let log = hook.until("it was tried", is_tried).await;
    assert!(
        log["attempts"][0]["problem"]
            .as_str()
            .is_some_and(|why| why.starts_with("The receiver cannot be reached")),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_adds_one_and_sees_what_it_was_told() {
    // Whoever works at this machine needs no account.
    let env = [ENV[0], ENV[2], ENV[3], ("SEEKWAY_LISTEN", "127.0.0.1:0")];
    let up = Uploading::embedded(&env).await;
    let receiver = Receiver::start(|_, nth| Reply::Status(if nth == 0 { 500 } else { 200 })).await;
    let script = root().join("tests/browser/webhooks.mjs");
    let url = format!("http://localhost:{}/", up.stand().address().port());
    let mut browser = tokio::process::Command::new("node");
    browser.arg(script).arg(url).arg(receiver.url("/x")).kill_on_drop(true);
    let output = browser.output().await.expect("node runs; scripts/setup test installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(receiver.told("/x").len(), 2);
}
