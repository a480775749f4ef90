//! Whose uploads are whose.

use seekway_catalog::{NewAccount, Role};
use sha2::{Digest, Sha256};

use super::form::{FORM, form};
use super::stand::{BYTES, TUS, Uploading, video};
use crate::support::until;

/// Somebody with an API key, as a header.
pub(crate) async fn somebody(up: &Uploading, name: &str, role: Role) -> (seekway_catalog::AccountId, String) {
    let new = NewAccount {
        address: format!("{name}@example.org"),
        name: name.to_owned(),
        password_hash: "$argon2id$".to_owned(),
        role,
    };
    let account = up.catalog.accounts().create(new).await.expect("an account").id;
    let key = format!("seekway_{name:0>43}");
    up.catalog.api_keys().create(account, "test", &Sha256::digest(&key)).await.expect("a key");
    (account, format!("Bearer {key}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_its_accounts_alone() {
    for up in Uploading::both(&[("SEEKWAY_UPLOADS", "auto"), ("SEEKWAY_ACCOUNTS", "on")]).await {
        let (ada, ada_key) = somebody(&up, "ada", Role::Creator).await;
        let (_, bob_key) = somebody(&up, "bob", Role::Creator).await;
        let (_, eve_key) = somebody(&up, "eve", Role::Viewer).await;
        let (_, root_key) = somebody(&up, "root", Role::Admin).await;
        let create = async |key: Option<&str>| {
            let headers: Vec<_> = [TUS, ("Upload-Length", "1000")]
                .into_iter()
                .chain(key.map(|key| ("Authorization", key)))
                .collect();
            up.ask("POST", "/api/uploads", &headers, b"").await
        };
        assert_eq!(create(None).await.status, 401, "strangers");
        assert_eq!(create(Some(&eve_key)).await.status, 403, "viewers");
        assert_eq!(create(Some("Bearer seekway_wrong")).await.status, 401);
        let target = create(Some(&ada_key)).await.header("location").to_owned();
        let bytes = video(70, 1000);
        let send = async |key: &str, offset: usize, bytes: &[u8]| {
            let offset = offset.to_string();
            let headers = [TUS, BYTES, ("Upload-Offset", offset.as_str()), ("Authorization", key)];
            up.ask("PATCH", &target, &headers, bytes).await
        };
        // It is as if it were not there.
        assert_eq!(send(&bob_key, 0, &bytes).await.status, 404);
        for method in ["HEAD", "DELETE", "GET"] {
            let headers = [TUS, ("Authorization", bob_key.as_str())];
            assert_eq!(up.ask(method, &target, &headers, b"").await.status, 404, "{method}");
        }
        assert_eq!(send(&ada_key, 0, &bytes[..500]).await.status, 204);
        let answer = send(&root_key, 500, &bytes[500..]).await;
        let made = up.assert_video(Uploading::video_of(&answer), &bytes).await;
        assert_eq!(made.owner, Some(ada), "whoever sends the rest");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_meanwhile_ends_nothing() {
    let env = [("SEEKWAY_UPLOADS", "auto"), ("SEEKWAY_ACCOUNTS", "on"), ("SEEKWAY_TOKEN_LIFETIME", "1s")];
    let up = Uploading::embedded(&env).await;
    let (_, key) = somebody(&up, "ada", Role::Creator).await;
    let headers = [("Authorization", key.as_str()), ("Content-Type", "application/json")];
    let issued = up.ask("POST", "/api/auth/tokens", &headers, b"{}").await;
    let issued: serde_json::Value = serde_json::from_slice(&issued.body).expect("JSON");
    let token = format!("Bearer {}", issued["token"].as_str().expect("text"));
    let bytes = video(72, 1000);
    let create = [TUS, ("Upload-Length", "1000"), ("Authorization", key.as_str())];
    let target = up.ask("POST", "/api/uploads", &create, b"").await.header("location").to_owned();
    let send = async |who: &str, bytes: &[u8]| {
        let headers = [TUS, BYTES, ("Upload-Offset", "0"), ("Authorization", who)];
        up.ask("PATCH", &target, &headers, bytes).await
    };
    until("it has expired", async || (send(&token, b"").await.status == 401).then_some(())).await;
    for method in ["HEAD", "GET", "DELETE"] {
        let headers = [TUS, ("Authorization", token.as_str())];
        assert_eq!(up.ask(method, &target, &headers, b"").await.status, 401, "{method}");
    }
    assert_eq!(send(&token, &bytes).await.status, 401);
    up.assert_video(Uploading::video_of(&send(&key, &bytes).await), &bytes).await;
}

/// Whose bucket it is says who may write into it.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_forbids_writing_has_nobody_begin_again() {
    let up = Uploading::served(&[("AWS_SECRET_ACCESS_KEY", "another")]).await;
    let bytes = video(71, 1000);
    let target = up.create(&[("Upload-Length", "1000")]).await;
    for _ in 0..2 {
        let answer = up.patch(&target, 0, &bytes).await;
        assert_eq!(answer.status, 502, "{answer:?}");
        assert_eq!(answer.problem()["detail"], "The store does not let us write.");
        assert_eq!(up.offset(&target).await, 0, "the upload is still there");
    }
    let answer =
        up.ask("POST", "/api/videos", &[FORM], &form(&[("name=\"file\"; filename=\"a.mp4\"", &bytes)])).await;
    assert_eq!(answer.status, 502, "{answer:?}");
    // Reading is another matter: nobody learns what there is.
    assert_eq!(up.stand().get("/media/films/a.mp4", &[]).await.status, 404);
}
