//! What programs and machines are promised.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ED25519, UnparsedPublicKey};
use seekway_catalog::{AccountPatch, NewVideo, Role, Source, Visibility};
use serde_json::{Value, json};

use super::desk::{ADDRESS, Asking, Databases, Desk, PASSWORD, log_in, parsed, sign_up, somebody};
use crate::support::{Stand, until};

fn decoded(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

async fn token(stand: &Stand, session: &str) -> String {
    let answer = Asking::of(stand).with("Cookie", session).post("/api/auth/tokens", &json!({})).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    parsed(&answer)["token"].as_str().expect("text").to_owned()
}

async fn jwks(stand: &Stand) -> Vec<Value> {
    let answer = Asking::of(stand).get("/api/auth/jwks.json").await;
    assert_eq!(answer.header("cache-control"), "public, max-age=300");
    parsed(&answer)["keys"].as_array().expect("a list").clone()
}

async fn bearer(stand: &Stand, token: &str) -> u16 {
    Asking::of(stand).with("Authorization", &format!("Bearer {token}")).get("/api/auth/me").await.status
}

pub(crate) async fn tokens_are_checked_by_the_published_keys(desk: &Desk) {
    let stand = desk.gateway(&[("SEEKWAY_TOKEN_LIFETIME", "5m")]);
    let session = somebody(&stand, ADDRESS).await;
    let token = token(&stand, &session).await;
    // As anybody would who knows RFC 7519, 7517 and 8037, and nothing of us.
    let parts: Vec<&str> = token.split('.').collect();
    let json = |part: &str| serde_json::from_slice::<Value>(&decoded(part)).expect("JSON");
    let (header, claims) = (json(parts[0]), json(parts[1]));
    assert_eq!(header["alg"], "EdDSA");
    let keys = jwks(&stand).await;
    let key = keys.iter().find(|key| key["kid"] == header["kid"]).expect("it is published");
    assert_eq!((&key["kty"], &key["crv"], &key["use"]), (&json!("OKP"), &json!("Ed25519"), &json!("sig")));
    assert!(key.get("d").is_none(), "the private half is nobody's");
    let public = UnparsedPublicKey::new(&ED25519, decoded(key["x"].as_str().expect("text")));
    let signed = format!("{}.{}", parts[0], parts[1]);
    public.verify(signed.as_bytes(), &decoded(parts[2])).expect("the signature fits");
    assert_eq!((&claims["iss"], &claims["role"]), (&json!("seekway"), &json!("creator")));
    let lived = claims["exp"].as_u64().expect("a time") - claims["iat"].as_u64().expect("a time");
    assert_eq!(lived, 300);

    // Every replica takes it, in the words of RFC 6750 in any case.
    let other = desk.gateway(&[]);
    assert_eq!(bearer(&other, &token).await, 200);
    let authorization = format!("bearer  {token}");
    let me = Asking::of(&other).with("Authorization", &authorization).get("/api/auth/me").await;
    assert_eq!(parsed(&me)["id"], claims["sub"]);
    // It makes no other, and no keys.
    let asking = || Asking::of(&other).with("Authorization", &authorization);
    assert_eq!(asking().post("/api/auth/tokens", &json!({})).await.status, 400);
    assert_eq!(asking().post("/api/auth/keys", &json!({ "name": "x" })).await.status, 403);
    for wrong in [&token[..token.len() - 4], "x.y.z", ""] {
        let authorization = format!("Bearer {wrong}");
        let refused = Asking::of(&other).with("Authorization", &authorization).get("/api/auth/me").await;
        assert_eq!(refused.status, 401, "{wrong}");
        assert!(refused.header("www-authenticate").contains("invalid_token"), "{refused:?}");
    }
    // Who sends a wrong one does not mean the session beside it.
    let both = Asking::of(&stand).with("Authorization", "Bearer x.y.z").with("Cookie", &session);
    assert_eq!(both.get("/api/auth/me").await.status, 401);
}

pub(crate) async fn tokens_expire(desk: &Desk) {
    let stand = desk.gateway(&[("SEEKWAY_TOKEN_LIFETIME", "1s")]);
    let session = somebody(&stand, ADDRESS).await;
    let token = token(&stand, &session).await;
    until("it has expired", async || (bearer(&stand, &token).await == 401).then_some(())).await;
    assert_eq!(Asking::of(&stand).with("Cookie", &session).get("/api/auth/me").await.status, 200);
}

pub(crate) async fn signing_keys_rotate(desk: &Desk) {
    let env = [("SEEKWAY_TOKEN_KEY_LIFETIME", "1ms")];
    let before = desk.gateway(&env);
    let session = somebody(&before, ADDRESS).await;
    let first = token(&before, &session).await;
    // Whoever asks later finds that the first has retired.
    let after = desk.gateway(&env);
    let second = token(&after, &session).await;
    let kid = |token: &str| {
        let header = decoded(token.split('.').next().expect("a header"));
        serde_json::from_slice::<Value>(&header).expect("JSON")["kid"].clone()
    };
    assert_ne!(kid(&first), kid(&second));
    let published = jwks(&after).await;
    for token in [&first, &second] {
        assert!(published.iter().any(|key| key["kid"] == kid(token)), "both are published");
        assert_eq!(bearer(&after, token).await, 200, "and believed");
    }
    // A replica that has not heard of the second yet asks when it meets it.
    until("it has asked", async || (bearer(&before, &second).await == 200).then_some(())).await;
}

pub(crate) async fn machines_have_keys_that_can_be_revoked(desk: &Desk) {
    let stand = desk.gateway(&[]);
    let (ann, bob) = (somebody(&stand, ADDRESS).await, somebody(&stand, "bob@example.org").await);
    let made =
        Asking::of(&stand).with("Cookie", &ann).post("/api/auth/keys", &json!({ "name": "encoder" })).await;
    assert_eq!(made.status, 201, "{made:?}");
    let made = parsed(&made);
    let (id, key) = (made["id"].as_str().expect("text"), made["key"].as_str().expect("text"));
    assert!(key.starts_with("seekway_"), "scanners recognise it: {key}");
    assert_eq!(bearer(&stand, key).await, 200);
    let list = async |session: &str| {
        parsed(&Asking::of(&stand).with("Cookie", session).get("/api/auth/keys").await)["keys"].clone()
    };
    let listed = list(&ann).await;
    assert_eq!((&listed[0]["name"], listed[0].get("key")), (&json!("encoder"), None), "it is told once");
    assert!(listed[0]["last_used_ms"].is_i64() && listed[0]["revoked_ms"].is_null(), "{listed}");
    assert_eq!(list(&bob).await, json!([]));

    // A key acts for its owner, but cannot make others, nor outlive being revoked by a token of its own making.
    let authorization = format!("Bearer {key}");
    let machine = || Asking::of(&stand).with("Authorization", &authorization);
    assert_eq!(machine().post("/api/auth/keys", &json!({ "name": "more" })).await.status, 403);
    assert_eq!(machine().post("/api/auth/tokens", &json!({})).await.status, 201);

    // What is somebody else's is not there, but for admins.
    let target = format!("/api/auth/keys/{id}");
    assert_eq!(Asking::of(&stand).with("Cookie", &bob).delete(&target).await.status, 404);
    assert_eq!(bearer(&stand, key).await, 200);
    assert_eq!(Asking::of(&stand).with("Cookie", &ann).delete(&target).await.status, 204);
    assert_eq!(bearer(&stand, key).await, 401);
    assert!(list(&ann).await[0]["revoked_ms"].is_i64());
}

pub(crate) async fn roles_say_what_somebody_may_do(desk: &Desk) {
    let stand = desk.gateway(&[]);
    let (ann, root) = (somebody(&stand, ADDRESS).await, somebody(&stand, "root@example.org").await);
    let catalog = desk.catalog().await;
    let id = async |address| catalog.accounts().by_address(address).await.expect("known").id;
    let admin = AccountPatch { role: Some(Role::Admin), ..AccountPatch::default() };
    catalog.accounts().patch(id("root@example.org").await, admin).await.expect("sets");
    let as_who = |session| Asking::of(&stand).with("Cookie", session);
    let everybody = "/api/auth/accounts";
    let anns = format!("{everybody}/{}", id(ADDRESS).await);
    let patch = async |session, target: &str, role: &str| {
        let body = json!({ "role": role }).to_string();
        as_who(session).send("PATCH", target, Some("application/json"), &body).await
    };
    let refused = patch(&ann, &anns, "admin").await;
    assert_eq!((refused.status, &refused.problem()["detail"]), (403, &json!("This needs the role admin.")));
    assert_eq!(as_who(&ann).get(everybody).await.status, 403);
    let listed = parsed(&as_who(&root).get(everybody).await);
    assert_eq!(listed["accounts"].as_array().map(Vec::len), Some(2));
    assert!(listed["accounts"][0].get("password_hash").is_none(), "{listed}");

    // It holds for the session that is under way.
    for role in ["viewer", "admin"] {
        assert_eq!(patch(&root, &anns, role).await.status, 200);
        assert_eq!(parsed(&as_who(&ann).get("/api/auth/me").await)["role"], role);
    }
    assert_eq!(as_who(&ann).get(everybody).await.status, 200);
    assert_eq!(patch(&root, &anns, "emperor").await.status, 400);
    assert_eq!(patch(&ann, &anns, "viewer").await.status, 400, "nobody's own");
    let nobodys = format!("{everybody}/00000000-0000-7000-8000-000000000000");
    assert_eq!(patch(&root, &nobodys, "viewer").await.status, 404);
    // An admin's key to what is somebody else's.
    let key = as_who(&ann).post("/api/auth/keys", &json!({ "name": "encoder" })).await;
    let target = format!("/api/auth/keys/{}", parsed(&key)["id"].as_str().expect("text"));
    assert_eq!(as_who(&root).delete(&target).await.status, 204);
}

pub(crate) async fn quotas_are_an_admins_to_set(desk: &Desk) {
    let env = [("SEEKWAY_QUOTA_BYTES", "1MiB"), ("SEEKWAY_UPLOADS_MAX", "7")];
    let stand = desk.gateway(&env);
    let (ann, root) = (somebody(&stand, ADDRESS).await, somebody(&stand, "root@example.org").await);
    let catalog = desk.catalog().await;
    let id = async |address| catalog.accounts().by_address(address).await.expect("known").id;
    let root_id = id("root@example.org").await;
    let admin = AccountPatch { role: Some(Role::Admin), ..AccountPatch::default() };
    catalog.accounts().patch(root_id, admin).await.expect("sets");
    let as_who = |session| Asking::of(&stand).with("Cookie", session);
    let target = |id| format!("/api/auth/accounts/{id}");
    let anns = target(id(ADDRESS).await);
    let patch = async |session, target: &str, body: serde_json::Value| {
        as_who(session).send("PATCH", target, Some("application/json"), &body.to_string()).await
    };
    let allowed = async || {
        let me = parsed(&as_who(&ann).get("/api/auth/me").await);
        assert_eq!((&me["bytes"]["used"], &me["uploads"]["used"]), (&json!(0), &json!(0)));
        (me["bytes"]["allowed"].clone(), me["uploads"]["allowed"].clone())
    };
    assert_eq!(allowed().await, (json!(1 << 20), json!(7)), "as others");
    assert_eq!(patch(&ann, &anns, json!({"quota_bytes": 5})).await.status, 403);
    let shown = patch(&root, &anns, json!({"quota_bytes": 1_u64 << 50})).await;
    assert_eq!(parsed(&shown)["quota_bytes"], 1_u64 << 50, "{shown:?}");
    assert_eq!(allowed().await, (json!(1_u64 << 50), json!(7)), "what is left out stays");
    let both = json!({"role": "viewer", "quota_uploads": 0, "quota_bytes": null});
    let shown = parsed(&patch(&root, &anns, both).await);
    assert_eq!((&shown["role"], &shown["quota_bytes"]), (&json!("viewer"), &json!(null)));
    assert_eq!(allowed().await, (json!(1 << 20), json!(0)));
    for wrong in [json!(-1), json!(1.5), json!("10GiB"), json!(1_u64 << 53)] {
        assert_eq!(patch(&root, &anns, json!({ "quota_bytes": wrong })).await.status, 400, "{wrong}");
    }
    assert_eq!(patch(&root, &target(root_id), json!({"quota_bytes": 9})).await.status, 200, "their own, too");
}

pub(crate) async fn a_database_away() {
    let mut databases = Databases::postgres();
    let desk = databases.next();
    let stand = desk.gateway(&[]);
    stand.put_pattern("film.mp4", 1000, 1);
    let session = somebody(&stand, ADDRESS).await;
    let asking = || Asking::of(&stand).with("Cookie", &session);
    assert_eq!(asking().get("/media/film.mp4").await.status, 200);
    let catalog = desk.catalog().await;
    let owner = catalog.accounts().by_address(ADDRESS).await.expect("known").id;
    stand.put_pattern("own.mp4", 1000, 2);
    let source = Source {
        key: "own.mp4".to_owned(),
        etag: "\"1\"".to_owned(),
        version: None,
        size: 1000,
        sha256: None,
        content_type: None,
        container: None,
    };
    let new = NewVideo { title: "Own".to_owned(), visibility: Visibility::Private, source, profile: None };
    catalog.videos().add(Some(owner), &new).await.expect("added");
    assert_eq!(asking().get("/media/own.mp4").await.header("cache-control"), "private, no-cache");
    databases.server().kill();
    for _ in 0..2 {
        assert_eq!(asking().get("/media/own.mp4").await.status, 200, "whose it is, too");
    }
    assert_eq!(asking().get("/media/film.mp4").await.status, 200, "who may see it is known already");
    // It may be a private video, which only the database knows.
    assert_eq!(asking().get("/media/another.mp4").await.status, 503);
    let refused = asking().get("/api/auth/me").await;
    assert_eq!((refused.status, refused.has("retry-after")), (503, true), "{refused:?}");
    refused.problem();
    assert_eq!(log_in(&stand, ADDRESS, PASSWORD).await.status, 503);
    assert_eq!(sign_up(&stand, "bob@example.org", PASSWORD).await.status, 503);
    databases.server().restart().expect("PostgreSQL starts again");
    until("it is back", async || (asking().get("/api/auth/me").await.status == 200).then_some(())).await;
}
