//! What an account may store, and have under way.

use futures_util::future::join_all;
use seekway_catalog::{Abort, AccountPatch, Allowed, Concat, Error, Held, NewUpload, Quota};

use crate::stand::{Stand, account, new_upload};
use crate::uploads::{begin, commit};

pub(crate) async fn quotas_hold_when_many_ask_at_once(stand: &Stand) {
    let catalog = &stand.catalog;
    let others = [stand.another().await, stand.another().await];
    let owner = account(catalog, "quota").await.id;
    let sized = |key: String, length| NewUpload { length, ..new_upload(Some(owner), &key) };
    let allowed = Quota { bytes: Some(1000), uploads: Some(30) };
    let made = join_all((0..20).map(|index| {
        let catalog = [catalog, &others[0], &others[1]][index % 3];
        let new = sized(format!("quota/{index}"), Some(100));
        async move { catalog.uploads().create(new, allowed).await }
    }))
    .await;
    let (made, refused): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 10, "{refused:?}");
    assert!(
        refused.iter().all(|outcome| matches!(outcome, Err(Error::Quota { limit: 1000, .. }))),
        "{refused:?}"
    );

    // Who does not say how much is stopped when it is too much.
    let unknown =
        catalog.uploads().create(sized("quota/unknown".to_owned(), None), allowed).await.expect("made");
    let epoch = begin(catalog, unknown.id).await.epoch;
    let refused = catalog.uploads().may_grow_to(unknown.id, epoch, 1).await;
    assert!(matches!(refused, Err(Error::Quota { wanted: 1001, limit: 1000, .. })), "{refused:?}");
    let refused = commit(catalog, unknown.id, epoch, 1).await;
    assert!(matches!(refused, Err(Error::Quota { wanted: 1001, limit: 1000, .. })), "{refused:?}");
    let refused = catalog.uploads().set_length(unknown.id, epoch, 1).await;
    assert!(matches!(refused, Err(Error::Quota { .. })), "{refused:?}");

    // An account's own quota goes before what all may have.
    let held = catalog.uploads().held(Some(owner)).await.expect("sums");
    assert_eq!(held, Held { bytes: 1000, uploads: 11 });
    let accounts = catalog.accounts();
    let (bytes, count) = (Some(Allowed::AtMost(1001)), Some(Allowed::AtMost(12)));
    accounts.patch(owner, AccountPatch { bytes, ..AccountPatch::default() }).await.expect("sets");
    let set = accounts.patch(owner, AccountPatch { uploads: count, ..AccountPatch::default() }).await;
    let quota = set.expect("sets").quota;
    assert_eq!(quota, Quota { bytes: Some(1001), uploads: Some(12) }, "each by itself");
    catalog.uploads().create(sized("quota/more".to_owned(), Some(1)), allowed).await.expect("made");
    let refused = catalog.uploads().create(sized("quota/too-many".to_owned(), Some(0)), allowed).await;
    assert!(matches!(refused, Err(Error::Quota { wanted: 13, limit: 12, .. })), "{refused:?}");
    for stale in others {
        stale.close().await;
    }
}

pub(crate) async fn what_is_put_together_needs_no_room_twice(stand: &Stand) {
    let (catalog, uploads) = (&stand.catalog, stand.catalog.uploads());
    let owner = account(catalog, "pieces").await.id;
    let allowed = Quota { bytes: Some(250), uploads: None };
    let make = async |key: &str, length, concat| {
        let new = NewUpload { length, concat, ..new_upload(Some(owner), &format!("pieces/{key}")) };
        uploads.create(new, allowed).await
    };
    let held = async || uploads.held(Some(owner)).await.expect("sums");
    let mut pieces = Vec::new();
    for key in ["1", "2"] {
        pieces.push(make(key, Some(100), Some(Concat::Partial)).await.expect("made").id);
    }
    let whole = make("whole", None, Some(Concat::Final(pieces.clone()))).await.expect("made").id;
    assert_eq!(held().await, Held { bytes: 200, uploads: 3 }, "nobody knows its length yet");
    let epoch = begin(catalog, whole).await.epoch;
    let too_long = uploads.set_length(whole, epoch, 251).await;
    assert!(matches!(too_long, Err(Error::Quota { wanted: 251, .. })), "{too_long:?}");
    uploads.set_length(whole, epoch, 200).await.expect("sets");
    assert_eq!(held().await, Held { bytes: 200, uploads: 3 });
    let other = make("other", Some(51), None).await;
    assert!(matches!(other, Err(Error::Quota { wanted: 251, .. })), "{other:?}");
    // Somebody else's stays theirs, and what failed stands for nothing.
    let stranger = account(catalog, "pieces-stranger").await.id;
    let theirs = NewUpload {
        length: Some(1),
        concat: Some(Concat::Final(pieces)),
        ..new_upload(Some(stranger), "pieces/x")
    };
    uploads.create(theirs, allowed).await.expect("made");
    uploads.begin_abort(whole, Abort::Refused("no video".to_owned())).await.expect("aborts");
    assert_eq!(held().await, Held { bytes: 200, uploads: 2 });
}
