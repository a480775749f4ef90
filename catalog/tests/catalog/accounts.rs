//! What accounts, and what proves who they are, promise.

use futures_util::future::join_all;
use seekway_catalog::{AccountPatch, Error, NewAccount, NewSigningKey, Role};

use crate::stand::{Stand, account};

pub(crate) async fn an_address_has_one_account(stand: &Stand) {
    let accounts = stand.catalog.accounts();
    let new = |address: &str| NewAccount {
        address: address.to_owned(),
        name: "Ann".to_owned(),
        password_hash: "$argon2id$1".to_owned(),
        role: Role::Viewer,
    };
    let made = join_all(
        ["One@example.org", "one@EXAMPLE.org", " one@example.org"]
            .map(|address| accounts.create(new(address))),
    );
    let (made, refused): (Vec<_>, Vec<_>) = made.await.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (1, 2));
    assert!(refused.iter().all(|outcome| matches!(outcome, Err(Error::Conflict(_)))), "{refused:?}");
    let found = accounts.by_address("ONE@example.org").await.expect("found");
    assert_eq!(made[0].as_ref().expect("made"), &found);
    assert_eq!(accounts.get(found.id).await.expect("found"), found);
    let admin = AccountPatch { role: Some(Role::Admin), ..AccountPatch::default() };
    assert_eq!(accounts.patch(found.id, admin).await.expect("sets").role, Role::Admin);
    assert_eq!(accounts.get(found.id).await.expect("found").role, Role::Admin);
    assert!(matches!(accounts.by_address("two@example.org").await, Err(Error::NotFound)));
    assert!(accounts.exist().await.expect("asks"));

    let mut pages = Vec::new();
    while let page @ [_, ..] = accounts.list(pages.last().copied(), 2).await.expect("lists").as_slice() {
        pages.extend(page.iter().map(|account| account.id));
    }
    assert!(pages.is_sorted() && pages.contains(&found.id), "{pages:?}");
}

pub(crate) async fn sessions_end(stand: &Stand) {
    let (catalog, sessions) = (&stand.catalog, stand.catalog.sessions());
    let ann = account(catalog, "sessions").await.id;
    for (token, lifetime) in [(b"1", 600_000), (b"2", 600_000), (b"3", 600_000), (b"4", 0)] {
        sessions.begin(ann, token, "curl", lifetime).await.expect("begins");
    }
    let is_in = async |token: &[u8]| match sessions.find(token).await {
        Ok(session) => session.account == ann && session.role == Role::Creator,
        Err(Error::NotFound) => false,
        Err(error) => panic!("{error}"),
    };
    assert!(is_in(b"1").await && is_in(b"2").await && is_in(b"3").await);
    assert!(!is_in(b"4").await, "its time is over");
    sessions.end(b"1").await.expect("ends");
    sessions.end(b"1").await.expect("again");
    assert!(!is_in(b"1").await && is_in(b"2").await);
    sessions.end_all(ann).await.expect("ends");
    assert!(!is_in(b"2").await && !is_in(b"3").await);
    sessions.begin(ann, b"5", "curl", 600_000).await.expect("begins");
    catalog.accounts().set_password_hash(ann, "$argon2id$2").await.expect("sets");
    assert!(!is_in(b"5").await, "a new password ends all of them");
}

pub(crate) async fn api_keys_can_be_revoked(stand: &Stand) {
    let (catalog, keys) = (&stand.catalog, stand.catalog.api_keys());
    let ann = account(catalog, "keys").await.id;
    let key = keys.create(ann, "encoder", b"hash").await.expect("made");
    assert_eq!(key.last_used_ms, None);
    let owner = keys.find(b"hash").await.expect("known");
    assert_eq!((owner.account, owner.role), (ann, Role::Creator));
    assert!(keys.of_account(ann).await.expect("lists")[0].last_used_ms.is_some());
    assert_eq!(keys.owner(key.id).await.expect("known"), ann);
    keys.revoke(key.id).await.expect("revokes");
    keys.revoke(key.id).await.expect("again");
    assert!(matches!(keys.find(b"hash").await, Err(Error::NotFound)));
    assert!(keys.of_account(ann).await.expect("lists")[0].revoked_ms.is_some());
}

pub(crate) async fn one_replica_makes_the_next_signing_key(stand: &Stand) {
    let catalogs = [stand.another().await, stand.another().await];
    let pair =
        |id: String| NewSigningKey { public_key: format!("public {id}"), private_key: String::new(), id };
    // This one retires at once, and is believed all the same.
    let keys = stand.catalog.signing_keys();
    let retired = keys.valid(0, 900_000, || pair("retired".to_owned())).await.expect("there is one");
    assert!(!retired[0].may_sign());
    let asked = join_all((0..10).map(|index| {
        let keys = catalogs[index % 2].signing_keys();
        async move {
            let valid =
                keys.valid(600_000, 900_000, || pair(format!("next {index}"))).await.expect("there are two");
            valid.into_iter().map(|key| key.id).collect::<Vec<_>>()
        }
    }));
    let asked = asked.await;
    assert!(asked.iter().all(|ids| *ids == [asked[0][0].as_str(), "retired"]), "{asked:?}");
    let valid = keys.valid(0, 0, || pair("too early".to_owned())).await.expect("there are two");
    assert!(valid[0].may_sign() && valid[0].id == asked[0][0] && valid.len() == 2, "{valid:?}");
    for catalog in catalogs {
        catalog.close().await;
    }
}

pub(crate) async fn attempts_count_one_by_one(stand: &Stand) {
    let catalogs = [stand.another().await, stand.another().await];
    let counted = join_all((0..20).map(|index| {
        let attempts = catalogs[index % 2].login_attempts();
        async move { attempts.count("address 1", 600_000).await.expect("counts") }
    }));
    let mut counts: Vec<u64> = counted.await.iter().map(|(count, _)| *count).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=20).collect::<Vec<_>>());
    let attempts = stand.catalog.login_attempts();
    let (count, ends_in_ms) = attempts.count("address 1", 600_000).await.expect("counts");
    assert_eq!(count, 21);
    assert!((1..=600_000).contains(&ends_in_ms), "{ends_in_ms}");
    attempts.forget("address 1").await.expect("forgets");
    for (subject, window_ms, expected) in
        [("address 1", 600_000, 1), ("address 1", 600_000, 2), ("address 2", 600_000, 1), ("address 1", 0, 1)]
    {
        let (count, _) = attempts.count(subject, window_ms).await.expect("counts");
        assert_eq!(count, expected, "{subject} in {window_ms} ms");
    }
    for catalog in catalogs {
        catalog.close().await;
    }
}
