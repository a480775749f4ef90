//! What the feed and webhooks promise.

use std::time::Duration;

use futures_util::future::{join, join_all};
use seekway_catalog::{
    AccountId, Catalog, DeliveryState, Error, EventKind, Failure, FeedEvent, Following, NewAttempt, NewJob,
    NewWebhook, Outcome, Patch, Pending, Role, VideoId, VideoState, Viewer, WebhookId, WebhookPatch,
    WebhookState, Webhooks,
};

use crate::stand::{Stand, account, new_video};
use crate::videos::video;

/// Longer than any test.
const LEASE_MS: i64 = 600_000;

/// Gives everything its place.
async fn advance(catalog: &Catalog) {
    while catalog.feed().advance(100).await.expect("advances") > 0 {}
}

async fn after(catalog: &Catalog, viewer: Viewer, place: Option<i64>, limit: u32) -> (Vec<FeedEvent>, i64) {
    match catalog.feed().after(viewer, place, limit).await.expect("lists") {
        Following::Events(events, last) => (events, last),
        Following::Lost(newest) => panic!("nothing is lost: {newest}"),
    }
}

fn kinds(events: &[FeedEvent]) -> Vec<&str> {
    events.iter().map(|event| event.kind.as_str()).collect()
}

async fn rename(catalog: &Catalog, id: VideoId, title: String) {
    catalog.videos().patch(id, Patch { title: Some(title), ..Patch::default() }).await.expect("changes");
}

pub(crate) async fn the_feed_tells_what_happened_to_whom_it_belongs(stand: &Stand) {
    let catalog = &stand.catalog;
    let (ann, bob) = (account(catalog, "feed-ann").await.id, account(catalog, "feed-bob").await.id);
    advance(catalog).await;
    let begin = Some(catalog.feed().newest().await.expect("counts"));
    let id = video(catalog, Some(ann), new_video("feed-told/1", 1)).await;
    video(catalog, Some(bob), new_video("feed-told/2", 1)).await;
    rename(catalog, id, "Other".to_owned()).await;
    let new = NewJob { video: id, profile: "default".to_owned(), rendition: None, priority: 1_000_000 };
    let job = catalog.jobs().add(&new).await.expect("adds");
    let claimed =
        catalog.jobs().claim("a worker", LEASE_MS, u64::MAX).await.expect("claims").expect("there is one");
    assert_eq!(claimed.id, job);
    catalog.jobs().start(job, claimed.attempt).await.expect("starts");
    catalog.jobs().fail(job, claimed.attempt, Failure::Input, "It is noise.", None).await.expect("fails");
    catalog.videos().delete(id).await.expect("deletes");
    let (nothing, _) = after(catalog, Viewer::Account(ann), begin, 100).await;
    assert_eq!(kinds(&nothing), [""; 0], "it has no place yet");
    advance(catalog).await;

    let (told, last) = after(catalog, Viewer::Account(ann), begin, 100).await;
    let all =
        ["video.created", "video.changed", "video.processing", "video.failed", "job.dead", "video.deleted"];
    assert_eq!(kinds(&told), all);
    assert!(told.iter().all(|event| event.video == Some(id) && event.owner == Some(ann)), "{told:?}");
    assert_eq!(told[1].title.as_deref(), Some("Other"));
    assert_eq!(told[3].problem.as_deref(), Some("It is noise."));
    assert_eq!((told[4].job, told[4].problem.as_deref()), (Some(job), Some("It is noise.")));
    assert_eq!(last, catalog.feed().newest().await.expect("counts"), "also past what is another's");
    let (first, place) = after(catalog, Viewer::Account(ann), begin, 2).await;
    assert_eq!((&first[..], place), (&told[..2], told[1].number));
    assert_eq!(after(catalog, Viewer::Account(ann), Some(place), 100).await.0, told[2..]);
    assert_eq!(kinds(&after(catalog, Viewer::Account(bob), begin, 100).await.0), ["video.created"]);
    assert_eq!(after(catalog, Viewer::Admin, begin, 100).await.0.len(), 7);
    assert_eq!(after(catalog, Viewer::Unowned, begin, 100).await.0, []);
    assert_eq!(after(catalog, Viewer::Anybody, begin, 100).await.0, []);
}

pub(crate) async fn a_reader_of_the_feed_misses_nothing(stand: &Stand) {
    const CHANGES: usize = 10;
    let catalogs = [stand.another().await, stand.another().await, stand.another().await];
    let ann = account(&stand.catalog, "feed-all").await.id;
    let mut videos = Vec::new();
    for nth in 0..6 {
        videos.push(video(&stand.catalog, Some(ann), new_video(&format!("feed-all/{nth}"), 1)).await);
    }
    advance(&stand.catalog).await;
    let begin = stand.catalog.feed().newest().await.expect("counts");
    let writing = join_all(videos.iter().enumerate().map(|(nth, &id)| {
        let catalog = &catalogs[nth % catalogs.len()];
        async move {
            for change in 0..CHANGES {
                rename(catalog, id, change.to_string()).await;
            }
        }
    }));
    let wanted = videos.len() * CHANGES;
    // Each replica looks after the feed, and one of them reads it.
    let reading = join_all(catalogs.iter().map(|catalog| async move {
        let (mut seen, mut place) = (Vec::new(), begin);
        while seen.len() < wanted {
            catalog.feed().advance(3).await.expect("advances");
            let events;
            (events, place) = after(catalog, Viewer::Account(ann), Some(place), 3).await;
            seen.extend(events);
        }
        seen
    }));
    let both = join(writing, reading);
    let (_, seen) = tokio::time::timeout(Duration::from_mins(1), both).await.expect("they see every event");
    let (all, _) = after(&stand.catalog, Viewer::Account(ann), Some(begin), 1000).await;
    assert_eq!(all.len(), wanted, "each once");
    for seen in seen {
        assert_eq!(seen, all);
    }
    for id in videos {
        let of_one: Vec<_> = all.iter().filter(|event| event.video == Some(id)).collect();
        let titles: Vec<_> = of_one.iter().filter_map(|event| event.title.clone()).collect();
        assert_eq!(titles, (0..CHANGES).map(|change| change.to_string()).collect::<Vec<_>>());
    }
    for catalog in catalogs {
        catalog.close().await;
    }
}

pub(crate) async fn what_the_feed_has_lost_it_says(stand: &Stand) {
    let catalog = &stand.catalog;
    let ann = account(catalog, "feed-lost").await.id;
    let id = video(catalog, Some(ann), new_video("feed-lost/1", 1)).await;
    for nth in 0..5 {
        rename(catalog, id, nth.to_string()).await;
    }
    advance(catalog).await;
    let (all, newest) = after(catalog, Viewer::Account(ann), None, 100).await;
    assert_eq!(all.len(), 6);
    assert_eq!(catalog.feed().trim(3_600_000).await.expect("trims"), 0, "nothing is as old");
    assert!(catalog.feed().trim(-1000).await.expect("trims") >= 5);
    assert_eq!(after(catalog, Viewer::Account(ann), None, 100).await.0, all[5..], "the newest stays");
    let following =
        async |place| catalog.feed().after(Viewer::Account(ann), Some(place), 100).await.expect("lists");
    assert_eq!(following(all[1].number).await, Following::Lost(newest));
    assert_eq!(following(newest + 1).await, Following::Lost(newest), "nobody has been there");
    assert_eq!(following(all[4].number).await, Following::Events(all[5..].to_vec(), newest));
    rename(catalog, id, "after".to_owned()).await;
    advance(catalog).await;
    let (then, _) = after(catalog, Viewer::Account(ann), Some(newest), 100).await;
    assert!(then.len() == 1 && then[0].number > newest, "no number is given twice");
}

async fn webhook(catalog: &Catalog, account: Option<AccountId>, only: &[EventKind]) -> WebhookId {
    let new = NewWebhook {
        url: "https://example.org/hook".to_owned(),
        description: String::new(),
        kinds: only.to_vec(),
        hears_all: false,
        secret: b"secret".to_vec(),
    };
    catalog.webhooks().create(account, &new, 10).await.expect("made").id
}

fn attempt(status: Option<u16>) -> NewAttempt {
    let problem = status.is_none_or(|status| status != 200).then(|| "It failed.".to_owned());
    NewAttempt { duration_ms: 5, status, problem, answer: "said".to_owned() }
}

async fn claim(catalog: &Catalog, id: WebhookId, lease_ms: i64) -> Vec<Pending> {
    catalog.webhooks().claim(id, 10, lease_ms).await.expect("claims")
}

pub(crate) async fn webhooks_are_their_owners(stand: &Stand) {
    let catalog = &stand.catalog;
    let ann = Some(account(catalog, "hook-ann").await.id);
    let bob = Some(account(catalog, "hook-bob").await.id);
    let id = webhook(catalog, ann, &[EventKind::VideoReady]).await;
    let hooks = catalog.webhooks();
    let made = hooks.get(ann, id).await.expect("finds");
    assert_eq!((made.kinds, made.state), (vec!["video.ready".to_owned()], WebhookState::Enabled));
    for other in [bob, None] {
        assert!(matches!(hooks.get(other, id).await, Err(Error::NotFound)));
        assert!(matches!(hooks.patch(other, id, WebhookPatch::default()).await, Err(Error::NotFound)));
        assert!(matches!(hooks.rotate(other, id, b"x", 1).await, Err(Error::NotFound)));
        assert!(matches!(hooks.delete(other, id).await, Err(Error::NotFound)));
        assert!(matches!(hooks.test(other, id).await, Err(Error::NotFound)));
        assert!(matches!(hooks.deliveries(other, id, None, 1).await, Err(Error::NotFound)));
        assert_eq!(
            hooks.of_account(other).await.expect("lists").iter().filter(|one| one.id == id).count(),
            0
        );
    }
    let patch =
        WebhookPatch { url: Some("http://b/".to_owned()), kinds: Some(Vec::new()), ..Default::default() };
    let changed = hooks.patch(ann, id, patch).await.expect("changes");
    assert_eq!((changed.url.as_str(), changed.kinds.len()), ("http://b/", 0));
    let most = NewWebhook {
        url: String::new(),
        description: String::new(),
        kinds: Vec::new(),
        hears_all: false,
        secret: Vec::new(),
    };
    let many = join_all((0..8).map(|_| hooks.create(ann, &most, 3))).await;
    assert_eq!(many.iter().filter(|made| made.is_ok()).count(), 2, "whoever asks at once");
    assert!(
        many.iter().filter_map(|made| made.as_ref().err()).all(|error| matches!(error, Error::Quota { .. }))
    );
    hooks.delete(ann, id).await.expect("deletes");
    assert!(matches!(hooks.get(ann, id).await, Err(Error::NotFound)));
}

pub(crate) async fn few_tests_of_a_webhook_wait(stand: &Stand) {
    let hooks = stand.catalog.webhooks();
    let ann = Some(account(&stand.catalog, "hook-tests").await.id);
    let id = webhook(&stand.catalog, ann, &[]).await;
    for nth in 0..Webhooks::TESTS_MAX {
        hooks.test(ann, id).await.expect("tests");
        if nth == 3 {
            advance(&stand.catalog).await;
        }
    }
    assert!(matches!(hooks.test(ann, id).await, Err(Error::Conflict(_))));
    let pending = hooks.claim(id, 1, LEASE_MS).await.expect("claims");
    hooks.record(&pending[0], &attempt(Some(200)), Outcome::Delivered, LEASE_MS).await.expect("records");
    hooks.test(ann, id).await.expect("there is room for one");
}

pub(crate) async fn each_webhook_is_told_of_what_it_wants(stand: &Stand) {
    let catalog = &stand.catalog;
    let (ann, bob) = (account(catalog, "told-ann").await.id, account(catalog, "told-bob").await.id);
    let all = webhook(catalog, Some(ann), &[]).await;
    let ready = webhook(catalog, Some(ann), &[EventKind::VideoReady, EventKind::VideoFailed]).await;
    let other = webhook(catalog, Some(bob), &[]).await;
    let everything = webhook(catalog, Some(bob), &[EventKind::VideoFailed]).await;
    let patch = WebhookPatch { hears_all: Some(true), ..WebhookPatch::default() };
    catalog.webhooks().patch(Some(bob), everything, patch).await.expect("changes");
    let told = async |id, account| {
        let deliveries = catalog.webhooks().deliveries(Some(account), id, None, 100).await.expect("lists");
        let kinds = deliveries.into_iter().rev().map(|delivery| delivery.event.kind);
        kinds.collect::<Vec<_>>()
    };
    let id = video(catalog, Some(ann), new_video("told/1", 1)).await;
    catalog.videos().set_state(id, VideoState::Failed, Some("x")).await.expect("moves");
    let tested = catalog.webhooks().test(Some(ann), ready).await.expect("tests");
    advance(catalog).await;
    assert_eq!(told(all, ann).await, ["video.created", "video.failed"]);
    assert_eq!(told(ready, ann).await, ["video.failed", "webhook.test"]);
    let log = catalog.webhooks().deliveries(Some(ann), ready, None, 1).await.expect("lists");
    assert_eq!((log[0].event.id, log[0].event.webhook), (tested, Some(ready)));
    let next = catalog.webhooks().deliveries(Some(ann), ready, Some(tested), 9).await.expect("lists");
    assert_eq!(next.len(), 1, "pages go on after an event");
    assert_eq!(told(other, bob).await, [""; 0]);
    assert_eq!(told(everything, bob).await, [""; 0], "no admin");

    let role = seekway_catalog::AccountPatch { role: Some(Role::Admin), ..Default::default() };
    catalog.accounts().patch(bob, role).await.expect("changes");
    let disabled = WebhookPatch { state: Some(WebhookState::Disabled), ..WebhookPatch::default() };
    catalog.webhooks().patch(Some(ann), all, disabled).await.expect("disables");
    assert!(matches!(catalog.webhooks().test(Some(ann), all).await, Err(Error::Conflict(_))));
    catalog.videos().set_state(id, VideoState::Processing, None).await.expect("moves");
    catalog.videos().set_state(id, VideoState::Failed, Some("y")).await.expect("moves");
    advance(catalog).await;
    assert_eq!(told(everything, bob).await, ["video.failed"]);
    assert_eq!(told(all, ann).await.len(), 2, "nothing more");
    let log = catalog.webhooks().deliveries(Some(ann), all, None, 9).await.expect("lists");
    assert!(log.iter().all(|delivery| delivery.state == DeliveryState::Failed), "what waited is given up");
    assert!(claim(catalog, all, LEASE_MS).await.is_empty());
}

pub(crate) async fn a_delivery_is_tried_until_it_is_done(stand: &Stand) {
    let catalog = &stand.catalog;
    let hooks = catalog.webhooks();
    let ann = account(catalog, "deliver-ann").await.id;
    let id = webhook(catalog, Some(ann), &[EventKind::WebhookTest]).await;
    hooks.rotate(Some(ann), id, b"newer", 3_600_000).await.expect("rotates");
    let event = hooks.test(Some(ann), id).await.expect("tests");
    advance(catalog).await;
    let is_due = async || hooks.waiting(1000).await.expect("lists").into_iter().find(|due| due.webhook == id);
    assert!(is_due().await.is_some_and(|due| !due.is_failing));

    let many = join_all((0..8).map(|_| claim(catalog, id, LEASE_MS))).await.concat();
    assert_eq!(many.len(), 1, "one gets it");
    let first = &many[0];
    assert_eq!((first.event.id, first.claim, first.attempt), (event, 1, 1));
    assert_eq!(first.secrets, [b"newer".to_vec(), b"secret".to_vec()]);
    let again = Outcome::Again(0);
    hooks.record(first, &attempt(Some(500)), again, LEASE_MS).await.expect("records");
    assert!(is_due().await.is_some_and(|due| due.is_failing));

    // Whoever vanishes has it claimed again, and is too late then.
    let vanished = claim(catalog, id, 0).await;
    let second = claim(catalog, id, LEASE_MS).await;
    assert_eq!((second[0].claim, second[0].attempt), (3, 3));
    let late = hooks.record(&vanished[0], &attempt(Some(200)), Outcome::Delivered, LEASE_MS).await;
    assert!(matches!(late, Err(Error::Superseded)), "{late:?}");
    let recorded = hooks.record(&second[0], &attempt(Some(200)), Outcome::Delivered, LEASE_MS).await;
    assert_eq!(recorded.expect("records").state, DeliveryState::Delivered);
    assert!(is_due().await.is_none());
    let log = hooks.deliveries(Some(ann), id, None, 9).await.expect("lists");
    let attempts: Vec<_> = log[0].attempts.iter().map(|one| (one.number, one.status)).collect();
    assert_eq!(attempts, [(1, Some(500)), (3, Some(200))]);
    assert_eq!(hooks.get(Some(ann), id).await.expect("finds").failing_since_ms, None);

    let asked = hooks.redeliver(Some(ann), id, event).await.expect("asks again");
    assert_eq!(asked.state, DeliveryState::Waiting);
    let third = claim(catalog, id, LEASE_MS).await;
    assert_eq!((third[0].event.id, third[0].claim, third[0].attempt), (event, 4, 1));
    let gone = hooks.record(&third[0], &attempt(Some(410)), Outcome::Gone, LEASE_MS).await.expect("records");
    assert_eq!(gone.state, DeliveryState::Failed);
    assert!(gone.disabled.is_some());
    assert_eq!(hooks.get(Some(ann), id).await.expect("finds").state, WebhookState::Disabled);
    assert!(matches!(hooks.redeliver(Some(ann), id, event).await, Err(Error::Conflict(_))));
    advance(catalog).await;
    let (told, _) = after(catalog, Viewer::Account(ann), None, 1000).await;
    assert_eq!(
        told.last().map(|event| (event.kind.as_str(), event.webhook)),
        Some(("webhook.disabled", Some(id)))
    );

    let enabled = WebhookPatch { state: Some(WebhookState::Enabled), ..WebhookPatch::default() };
    assert_eq!(hooks.patch(Some(ann), id, enabled).await.expect("enables").problem, None);
    hooks.redeliver(Some(ann), id, event).await.expect("asks again");
    let failing = claim(catalog, id, LEASE_MS).await;
    hooks.record(&failing[0], &attempt(None), again, LEASE_MS).await.expect("records");
    let failing = claim(catalog, id, LEASE_MS).await;
    let disabled = hooks.record(&failing[0], &attempt(None), again, -1).await.expect("records");
    assert!(disabled.disabled.is_some() && disabled.state == DeliveryState::Waiting);
    let log = hooks.deliveries(Some(ann), id, None, 9).await.expect("lists");
    assert_eq!(log[0].state, DeliveryState::Failed, "with its webhook");
}
