//! What videos, assets, votes, the outbox and the change feed promise.

use futures_util::future::join_all;
use seekway_catalog::{
    AccountId, AssetKind, Assets, Catalog, Complete, Error, Filter, Finished, Made, NewAsset, NewVideo,
    Patch, Phase, Progress, Tally, Video, VideoId, VideoState, Videos, Viewer, Visibility, Vote,
};

use crate::stand::{Stand, account, new_upload, new_video};

/// Uploads nothing, which is a video too.
async fn finish(catalog: &Catalog, owner: Option<AccountId>, made: Made) -> Finished {
    let key = match &made {
        Made::Video(video) => &video.source.key,
        Made::Asset(asset) => &asset.source.key,
    };
    let mut new = new_upload(owner, key);
    new.length = Some(0);
    let uploads = catalog.uploads();
    let id = uploads.create(new, seekway_catalog::Quota::default()).await.expect("made").id;
    let epoch = uploads.begin_append(id, None).await.expect("may append").epoch;
    uploads.begin_completing(id, Complete::Writer(epoch)).await.expect("completes");
    uploads.finish(id, made).await.expect("finishes")
}

pub(crate) async fn video(catalog: &Catalog, owner: Option<AccountId>, new: NewVideo) -> VideoId {
    match finish(catalog, owner, Made::Video(new)).await {
        Finished::Video(id) => id,
        Finished::Asset(_) => panic!("a video became an asset"),
    }
}

fn titled(key: &str, title: &str, visibility: Visibility) -> NewVideo {
    NewVideo { title: title.to_owned(), visibility, ..new_video(key, 1) }
}

fn ids(videos: &[Video]) -> Vec<VideoId> {
    videos.iter().map(|video| video.id).collect()
}

pub(crate) async fn lists_show_what_somebody_may_see(stand: &Stand) {
    let catalog = &stand.catalog;
    let (ann, bob) = (account(catalog, "list-ann").await.id, account(catalog, "list-bob").await.id);
    let mut made = Vec::new();
    for (key, owner, visibility) in [
        ("list/1", ann, Visibility::Private),
        ("list/2", ann, Visibility::Unlisted),
        ("list/3", ann, Visibility::Public),
        ("list/4", bob, Visibility::Private),
        ("list/5", bob, Visibility::Public),
    ] {
        made.push(video(catalog, Some(owner), titled(key, "Listed", visibility)).await);
    }
    let seen = async |filter: Filter| {
        let filter = Filter { search: Some("listed".to_owned()), ..filter };
        let listed = ids(&catalog.videos().list(&filter, None, 100).await.expect("lists"));
        let mut places: Vec<_> = listed.iter().map(|id| made.iter().position(|one| one == id)).collect();
        places.sort();
        places.into_iter().map(|place| place.expect("one of these") + 1).collect::<Vec<_>>()
    };
    assert_eq!(seen(Filter::of(Viewer::Anybody)).await, [3, 5]);
    assert_eq!(seen(Filter::of(Viewer::Account(ann))).await, [1, 2, 3, 5]);
    assert_eq!(seen(Filter::of(Viewer::Admin)).await, [1, 2, 3, 4, 5]);
    let of_bob = Filter { owner: Some(bob), ..Filter::of(Viewer::Account(ann)) };
    assert_eq!(seen(of_bob).await, [5]);
    let private = Filter { visibility: Some(Visibility::Private), ..Filter::of(Viewer::Account(bob)) };
    assert_eq!(seen(private).await, [4]);
    let ready = Filter { state: Some(VideoState::Ready), ..Filter::of(Viewer::Admin) };
    assert_eq!(seen(ready).await, [0; 0]);
    catalog.videos().delete(made[2]).await.expect("deletes");
    let deleting = |viewer| Filter { state: Some(VideoState::Deleting), ..Filter::of(viewer) };
    for viewer in [Viewer::Anybody, Viewer::Unowned, Viewer::Account(ann), Viewer::Account(bob)] {
        assert_eq!(seen(deleting(viewer)).await, [0; 0], "{viewer:?}");
    }
    assert_eq!(seen(deleting(Viewer::Admin)).await, [3]);
    assert_eq!(seen(Filter::of(Viewer::Admin)).await, [1, 2, 4, 5], "not unless they are asked for");
}

pub(crate) async fn a_search_takes_words_as_they_are(stand: &Stand) {
    let catalog = &stand.catalog;
    let titles = ["Über 100 % Käse_Fondue", "Uber 1000 Kase Fondue", r"C:\video", "Καλημέρα ΚΟΣΜΕ"];
    for (index, title) in titles.iter().enumerate() {
        let key = format!("search/{index}");
        video(catalog, None, titled(&key, title, Visibility::Public)).await;
    }
    let found = async |search: &str| {
        let filter = Filter { search: Some(search.to_owned()), ..Filter::of(Viewer::Anybody) };
        let listed = catalog.videos().list(&filter, None, 10).await.expect("lists");
        listed.into_iter().map(|video| video.title).collect::<Vec<_>>()
    };
    assert_eq!(found("über").await, titles[..1]);
    assert_eq!(found("ÜBER fondue").await, titles[..1]);
    assert_eq!(found("100 %").await, titles[..1]);
    assert_eq!(found("e_f").await, titles[..1]);
    assert_eq!(found(r"C:\V").await, titles[2..3]);
    assert_eq!(found("κοσμε").await, titles[3..]);
    assert_eq!(found("fondue über").await, [""; 0], "in their order");
}

pub(crate) async fn pages_stay_the_same_while_others_are_added(stand: &Stand) {
    let catalog = &stand.catalog;
    let owner = account(catalog, "pages").await.id;
    let mut made = Vec::new();
    for index in 0..7 {
        made.push(
            video(catalog, Some(owner), titled(&format!("pages/{index}"), "Page", Visibility::Private)).await,
        );
    }
    let filter = Filter { owner: Some(owner), ..Filter::of(Viewer::Account(owner)) };
    let mut seen = Vec::new();
    loop {
        let page = catalog.videos().list(&filter, seen.last().copied(), 3).await.expect("lists");
        if page.is_empty() {
            break;
        }
        seen.extend(ids(&page));
        // One is added, and the one where this page ends goes.
        let key = format!("pages/more/{}", seen.len());
        video(catalog, Some(owner), titled(&key, "Page", Visibility::Private)).await;
        let last = *seen.last().expect("a page");
        catalog.videos().delete(last).await.expect("deletes");
        catalog.videos().gone(last).await.expect("goes");
    }
    made.sort();
    made.reverse();
    assert_eq!(seen, made, "newest first, each once");
}

pub(crate) async fn a_video_tells_what_happened_to_it(stand: &Stand) {
    let (catalog, videos) = (&stand.catalog, stand.catalog.videos());
    let id = video(catalog, None, new_video("events", 1)).await;
    videos.set_state(id, VideoState::Processing, None).await.expect("moves");
    for told in join_all((0..10).map(|_| videos.patch(id, Patch::default()))).await {
        told.expect("changes");
    }
    videos.set_probe(id, Some(1500), "{}").await.expect("notes");
    videos.set_state(id, VideoState::Failed, Some("broken")).await.expect("moves");
    let events = videos.events_after(id, 0, 100).await.expect("lists");
    let numbers: Vec<_> = events.iter().map(|event| event.number).collect();
    assert_eq!(numbers, (1..=14).collect::<Vec<_>>(), "without gaps, also when many tell at once");
    assert_eq!((events[0].kind.as_str(), events[1].kind.as_str()), ("uploaded", "processing"));
    assert_eq!(videos.newest_event(id).await.expect("asks"), Some(14));
    // Whoever was away goes on after the last one that it has seen.
    let rest = videos.events_after(id, 12, 100).await.expect("lists");
    let rest: Vec<_> = rest.iter().map(|event| (event.kind.as_str(), event.payload.as_str())).collect();
    assert_eq!(rest, [("probed", ""), ("failed", "broken")]);
    let now = videos.get(id).await.expect("there is one");
    assert_eq!(
        (now.state, now.problem.as_deref(), now.duration_ms),
        (VideoState::Failed, Some("broken"), Some(1500))
    );
    let illegal = videos.set_state(id, VideoState::Ready, None).await;
    assert!(
        matches!(illegal, Err(Error::IllegalTransition { from: "failed", to: "ready", .. })),
        "{illegal:?}"
    );
}

pub(crate) async fn progress_is_of_videos_that_are_being_processed(stand: &Stand) {
    let (catalog, videos) = (&stand.catalog, stand.catalog.videos());
    let id = video(catalog, None, new_video("progress", 1)).await;
    let half = Progress {
        phase: Phase::Transcoding,
        percent: 50,
        speed_milli: Some(1_250),
        eta_seconds: Some(u32::MAX),
    };
    let early = videos.set_progress(id, half).await;
    assert!(matches!(early, Err(Error::Conflict(_))), "nobody is at it: {early:?}");
    assert_eq!(videos.get(id).await.expect("there is one").progress, None);

    videos.set_state(id, VideoState::Processing, None).await.expect("moves");
    assert_eq!(videos.set_progress(id, half).await.expect("notes"), 3);
    assert_eq!(videos.get(id).await.expect("there is one").progress, Some(half));
    let listed = videos.list(&Filter::of(Viewer::Admin), None, 1).await.expect("lists");
    assert_eq!((listed[0].id, listed[0].progress), (id, Some(half)));
    let kinds = async || {
        let events = videos.events_after(id, 0, 100).await.expect("lists");
        events.into_iter().map(|event| (event.number, event.kind)).collect::<Vec<_>>()
    };
    let named = |events: &[(i64, &str)]| {
        events.iter().map(|(number, kind)| (*number, (*kind).to_owned())).collect::<Vec<_>>()
    };
    videos.patch(id, Patch::default()).await.expect("changes");
    let more = Progress { phase: Phase::Publishing, percent: 255, speed_milli: None, eta_seconds: None };
    let told = join_all((0..5).map(|_| videos.set_progress(id, more))).await;
    let mut told: Vec<_> = told.into_iter().map(|number| number.expect("notes")).collect();
    told.sort_unstable();
    assert_eq!(told, [5, 6, 7, 8, 9]);
    assert_eq!(
        kinds().await,
        named(&[(1, "uploaded"), (2, "processing"), (4, "changed"), (9, "progress")]),
        "only the newest progress is kept"
    );
    let most = Progress { percent: 100, ..more };
    assert_eq!(videos.get(id).await.expect("there is one").progress, Some(most), "and no more");

    videos.set_state(id, VideoState::Ready, None).await.expect("moves");
    assert_eq!(videos.get(id).await.expect("there is one").progress, None);
    assert_eq!(
        kinds().await,
        named(&[(1, "uploaded"), (2, "processing"), (4, "changed"), (10, "ready")]),
        "no number is given twice"
    );
    assert!(matches!(videos.set_progress(id, half).await, Err(Error::Conflict(_))), "it is done");
}

pub(crate) async fn a_deleted_video_is_gone_when_its_objects_are(stand: &Stand) {
    let (catalog, videos) = (&stand.catalog, stand.catalog.videos());
    let owner = account(catalog, "deleting").await.id;
    let id = video(catalog, Some(owner), titled("deleted", "Deleted", Visibility::Public)).await;
    assert!(matches!(videos.gone(id).await, Err(Error::Conflict(_))), "not before it is being deleted");
    let before = catalog.changes().last().await.expect("counts");
    videos.delete(id).await.expect("deletes");
    videos.delete(id).await.expect("again");
    let told = catalog.changes().after(before, 10).await.expect("lists");
    assert_eq!(told.iter().map(|change| change.key.as_str()).collect::<Vec<_>>(), ["deleted"]);
    assert_eq!(videos.access("deleted").await.expect("known").state, VideoState::Deleting);
    let all = Filter { owner: Some(owner), ..Filter::of(Viewer::Admin) };
    assert!(videos.list(&all, None, 10).await.expect("lists").is_empty());
    assert!(matches!(videos.patch(id, Patch::default()).await, Err(Error::NotFound)));
    let todo = catalog.outbox().claim(Videos::DELETED, 100, 60_000).await.expect("claims");
    assert_eq!(todo.iter().filter(|row| row.payload == id.to_string()).count(), 1);
    let before = catalog.changes().last().await.expect("counts");
    videos.gone(id).await.expect("goes");
    videos.gone(id).await.expect("again");
    let told = catalog.changes().after(before, 10).await.expect("lists");
    assert_eq!(told.iter().map(|change| change.key.as_str()).collect::<Vec<_>>(), ["deleted"]);
    for (key, is_named) in [("deleted", true), ("never deleted", false)] {
        assert_eq!(catalog.changes().named_lately(key).await.expect("asks"), is_named, "{key}");
    }
    assert!(matches!(videos.get(id).await, Err(Error::NotFound)));
    assert_eq!(videos.newest_event(id).await.expect("asks"), None);
    assert!(matches!(videos.access("deleted").await, Err(Error::NotFound)));
}

pub(crate) async fn assets_are_kept_beside_videos(stand: &Stand) {
    let catalog = &stand.catalog;
    let owner = account(catalog, "assets").await.id;
    let new = |key: &str| NewAsset {
        kind: AssetKind::Watermark,
        title: "Logo".to_owned(),
        source: new_video(key, 5).source,
    };
    let mut made = Vec::new();
    for key in ["asset/1", "asset/2"] {
        match finish(catalog, Some(owner), Made::Asset(new(key))).await {
            Finished::Asset(id) => made.push(id),
            Finished::Video(_) => panic!("an asset became a video"),
        }
    }
    let assets = catalog.assets();
    let newest = assets.of_account(Some(owner), None, 1).await.expect("lists");
    let oldest = assets.of_account(Some(owner), Some(newest[0].id), 5).await.expect("lists");
    let mut both = vec![newest[0].id, oldest[0].id];
    both.sort();
    made.sort();
    assert_eq!(both, made);
    assert_eq!((newest[0].kind, newest[0].owner), (AssetKind::Watermark, Some(owner)));
    let of_all = assets.page(None, 1).await.expect("lists");
    let rest = assets.page(Some(of_all[0].id), 1000).await.expect("lists");
    assert_eq!([of_all, rest].concat().iter().filter(|asset| made.contains(&asset.id)).count(), 2);
    assets.delete(newest[0].id).await.expect("deletes");
    assert_eq!(assets.of_account(Some(owner), None, 5).await.expect("lists").len(), 1);
    let todo = catalog.outbox().claim(Assets::DELETED, 100, 60_000).await.expect("claims");
    assert!(todo.iter().any(|row| row.payload == newest[0].id.to_string()));
    assets.gone(newest[0].id).await.expect("goes");
    assert!(matches!(assets.get(newest[0].id).await, Err(Error::NotFound)));
}

pub(crate) async fn an_account_votes_once(stand: &Stand) {
    let (catalog, votes) = (&stand.catalog, stand.catalog.votes());
    let id = video(catalog, None, new_video("votes", 1)).await;
    let (ann, bob) = (account(catalog, "votes-ann").await.id, account(catalog, "votes-bob").await.id);
    assert_eq!(votes.tally(id).await.expect("counts"), Tally::default());
    let cast = join_all((0..8).map(|_| votes.cast(id, ann, Vote::Up))).await;
    for cast in cast {
        cast.expect("casts");
    }
    votes.cast(id, bob, Vote::Up).await.expect("casts");
    votes.cast(id, bob, Vote::Down).await.expect("changes it");
    assert_eq!(votes.tally(id).await.expect("counts"), Tally { up: 1, down: 1 });
    votes.withdraw(id, ann).await.expect("takes it back");
    assert_eq!(votes.tally(id).await.expect("counts"), Tally { up: 0, down: 1 });
    let unknown = VideoId::parse("00000000-0000-7000-8000-000000000000").expect("an id");
    assert!(matches!(votes.cast(unknown, ann, Vote::Up).await, Err(Error::NotFound)));
}

pub(crate) async fn what_is_to_be_done_is_claimed_by_one(stand: &Stand) {
    const ROWS: usize = 150;
    let catalogs = [stand.another().await, stand.another().await, stand.another().await];
    for number in 0..ROWS {
        stand.catalog.outbox().add("claims", &number.to_string()).await.expect("adds");
    }
    let claimed = join_all((0..12).map(|index| {
        let outbox = catalogs[index % catalogs.len()].outbox();
        async move {
            let mut mine = Vec::new();
            loop {
                let rows = outbox.claim("claims", 4, 600_000).await.expect("claims");
                if rows.is_empty() {
                    return mine;
                }
                mine.extend(rows);
            }
        }
    }))
    .await;
    let mut payloads: Vec<usize> =
        claimed.iter().flatten().map(|row| row.payload.parse().expect("ours")).collect();
    payloads.sort_unstable();
    assert_eq!(payloads, (0..ROWS).collect::<Vec<_>>(), "each once");
    assert!(claimed.iter().flatten().all(|row| row.attempts == 1));

    // Whoever does not come back in time has it claimed by another.
    let outbox = stand.catalog.outbox();
    outbox.add("leases", "").await.expect("adds");
    let lost = outbox.claim("leases", 1, -1).await.expect("claims").remove(0);
    let taken = outbox.claim("leases", 1, 600_000).await.expect("claims").remove(0);
    assert_eq!((lost.number, taken.attempts), (taken.number, 2));
    assert!(!outbox.done(&lost).await.expect("asks"), "its lease was over");
    assert!(outbox.retry(&taken, -1).await.expect("asks"));
    let again = outbox.claim("leases", 1, 600_000).await.expect("claims").remove(0);
    assert!(outbox.done(&again).await.expect("asks"));
    assert!(outbox.claim("leases", 1, 0).await.expect("claims").is_empty());
    for catalog in catalogs {
        catalog.close().await;
    }
}

pub(crate) async fn the_change_feed_skips_nothing(stand: &Stand) {
    const CHANGES: usize = 10;
    let catalogs = [stand.another().await, stand.another().await, stand.another().await];
    let mut videos = Vec::new();
    for index in 0..6 {
        videos.push(video(&stand.catalog, None, new_video(&format!("feed/{index}"), 1)).await);
    }
    let begin = stand.catalog.changes().last().await.expect("counts");
    let writing = join_all(videos.iter().enumerate().map(|(index, &id)| {
        let catalog = &catalogs[index % catalogs.len()];
        async move {
            for visibility in [Visibility::Public, Visibility::Private].iter().cycle().take(CHANGES) {
                let patch = Patch { visibility: Some(*visibility), ..Patch::default() };
                catalog.videos().patch(id, patch).await.expect("changes");
            }
        }
    }));
    let reading = async {
        let (mut seen, mut number) = (Vec::new(), begin);
        while seen.len() < videos.len() * CHANGES {
            let changes = stand.catalog.changes().after(number, 3).await.expect("lists");
            number = changes.last().map_or(number, |change| change.number);
            seen.extend(changes);
        }
        seen
    };
    let limit = std::time::Duration::from_mins(1);
    let both = futures_util::future::join(writing, reading);
    let (_, seen) = tokio::time::timeout(limit, both).await.expect("a reader that follows sees every change");
    let all = stand.catalog.changes().after(begin, 1000).await.expect("lists");
    assert_eq!(seen, all);
    // A title is nobody's business.
    let last = stand.catalog.changes().last().await.expect("counts");
    let patch = Patch { title: Some("Other".to_owned()), ..Patch::default() };
    assert_eq!(stand.catalog.videos().patch(videos[0], patch).await.expect("changes").title, "Other");
    assert_eq!(stand.catalog.changes().last().await.expect("counts"), last);
    for catalog in catalogs {
        catalog.close().await;
    }
}
