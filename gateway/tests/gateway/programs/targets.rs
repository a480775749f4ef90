//! Where webhooks may be, and whom they believe.

use seekway_catalog::{NewWebhook, Role};
use seekway_loadtests::gateway::{Gateway, Launch};
use serde_json::json;
use tempfile::TempDir;

use super::ask;
use super::receiver::{Receiver, Reply};
use crate::support::{path_text, until};
use crate::tls::{self, Pair};
use crate::uploads::ownership::somebody;
use crate::uploads::stand::Uploading;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_to_addresses_that_are_not_everybodys() {
    let env = [("SEEKWAY_UPLOADS", "auto"), ("SEEKWAY_ACCOUNTS", "on"), ("SEEKWAY_WEBHOOKS_MAX", "2")];
    for up in Uploading::both(&env).await {
        let receiver = Receiver::start(|_, _| Reply::Status(200)).await;
        let port = receiver.address.port();
        let (ann, anns) = somebody(&up, "ann", Role::Creator).await;
        let add =
            async |url: &str| ask(up.stand(), &anns, "POST", "/api/webhooks", &json!({"url": url})).await;
        let endless = format!("https://example.org/{}", "x".repeat(2048));
        for (url, why) in [
            (format!("http://127.0.0.1:{port}/"), "everybody can reach"),
            (format!("http://[::1]:{port}/"), "everybody can reach"),
            ("http://169.254.169.254/latest/meta-data/".to_owned(), "everybody can reach"),
            ("http://user@example.org/".to_owned(), "no user name"),
            ("http://example.org:22/".to_owned(), "port"),
            ("ftp://example.org/".to_owned(), "http"),
            ("https://example.org/#x".to_owned(), "fragment"),
            (endless, "2048"),
        ] {
            let answer = add(&url).await;
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(answer.status == 400 && said.contains("`url`") && said.contains(why), "{url}: {said}");
        }
        let bad = [
            json!({"url": "https://example.org", "events": ["video.x"]}),
            json!({"url": "https://example.org", "description": "a\nb"}),
            json!({"url": "https://example.org", "secret": "x"}),
            json!({}),
        ];
        for bad in bad {
            assert_eq!(ask(up.stand(), &anns, "POST", "/api/webhooks", &bad).await.status, 400, "{bad}");
        }
        // Names are looked at when they are resolved, each time: what this one is in some other database is of no matter.
        let new = NewWebhook {
            url: format!("http://localhost:{port}/x"),
            description: String::new(),
            kinds: Vec::new(),
            hears_all: false,
            secret: vec![1; 32],
        };
        let id = up.catalog.webhooks().create(Some(ann), &new, 9).await.expect("adds").id;
        let event = up.catalog.webhooks().test(Some(ann), id).await.expect("tests");
        let delivery = until("it was tried", async || {
            let mut log = up.catalog.webhooks().deliveries(Some(ann), id, None, 1).await.expect("lists");
            log.pop().filter(|delivery| !delivery.attempts.is_empty())
        })
        .await;
        assert_eq!(delivery.event.id, event);
        assert_eq!(
            delivery.attempts[0].problem.as_deref(),
            Some("The host has no address that everybody can reach.")
        );
        assert!(receiver.told("/x").is_empty());

        assert_eq!(add("https://example.org/2").await.status, 201);
        let full = add("https://example.org/3").await;
        assert_eq!(full.status, 409, "{}", String::from_utf8_lossy(&full.body));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_receivers_with_a_good_certificate_are_told() {
    let (good, other) = (Pair::new(), Pair::new());
    // Gateways speak TLS, and answer what they are told with 405.
    let stands = [tls::stand(&good, &[]), tls::stand(&other, &[])];
    let folder = TempDir::new().expect("a folder");
    let up = Uploading::embedded_for_another(&folder).await;
    let trusted = good.certificate();
    let environment = up.settings().iter().map(|(name, value)| (name.as_str(), value.as_str())).chain([
        ("SEEKWAY_WEBHOOKS_TO_PRIVATE", "true"),
        ("SEEKWAY_TRANSCODING", "off"),
        // Where the system's certificates are (`rustls-native-certs`).
        ("SSL_CERT_FILE", path_text(&trusted)),
    ]);
    let launch = Launch {
        binary: env!("CARGO_BIN_EXE_gateway").into(),
        endpoint: String::new(),
        bucket: String::new(),
        environment: environment.map(|(name, value)| (name.into(), value.into())).collect(),
    };
    let _gateway = Gateway::start(&launch).await.unwrap_or_else(|error| panic!("{error}"));
    let mut attempts = Vec::new();
    for (stand, host) in [(&stands[0], "127.0.0.1"), (&stands[1], "127.0.0.1"), (&stands[0], "localhost")] {
        let new = NewWebhook {
            url: format!("https://{host}:{}/", stand.tls_address().port()),
            description: String::new(),
            kinds: Vec::new(),
            hears_all: false,
            secret: vec![1; 32],
        };
        let id = up.catalog.webhooks().create(None, &new, 9).await.expect("adds").id;
        up.catalog.webhooks().test(None, id).await.expect("tests");
        let delivery = until("it was tried", async || {
            let mut deliveries = up.catalog.webhooks().deliveries(None, id, None, 1).await.expect("lists");
            deliveries.pop().filter(|delivery| !delivery.attempts.is_empty())
        });
        let attempt = delivery.await.attempts.remove(0);
        attempts.push((attempt.status, attempt.problem.unwrap_or_default()));
    }
    assert_eq!(attempts[0], (Some(405), "It answered 405.".to_owned()));
    for (status, problem) in &attempts[1..] {
        assert!(status.is_none() && problem.starts_with("TLS failed: invalid peer certificate"), "{problem}");
    }
}
