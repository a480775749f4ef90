//! `gateway import` and `gateway doctor`, as an operator runs them.

use std::process::{Command, Output};

use seekway_catalog::{Filter, NewAccount, Role, Viewer, Visibility};
use seekway_storage::{Attributes, ObjectKey};
use tempfile::TempDir;

use crate::uploads::stand::{MIB, Uploading, video};

/// Keys as uploads make them.
const ORIGINAL: &str = "original/2020/01/01/0b5ef4b1-31a3-4d5e-9bd1-3f2c5a6b7c8d-A-film.mp4";
const ASSET: &str = "assets/1b5ef4b1-31a3-4d5e-9bd1-3f2c5a6b7c8d-x.png";
const REMAINDER: &str = "seekway-incoming/2b5ef4b1-31a3-4d5e-9bd1-3f2c5a6b7c8d/1";
const BEGUN: &str = "original/2020/01/01/3b5ef4b1-31a3-4d5e-9bd1-3f2c5a6b7c8d-y.mp4";

/// Runs the gateway's binary with the settings of a stand.
pub(crate) fn gateway(up: &Uploading, args: &[&str]) -> (Option<i32>, String) {
    gateway_with(up, args, &[])
}

/// The same with other settings in the place of some; an empty one is none.
pub(crate) fn gateway_with(up: &Uploading, args: &[&str], others: &[(&str, &str)]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(args)
        .env_clear()
        .envs(up.settings().iter().map(|(name, value)| (name, value)))
        .envs(others.iter().copied())
        .output()
        .expect("it runs");
    let said = [stdout, stderr].concat();
    (status.code(), String::from_utf8(said).expect("text"))
}

async fn put(up: &Uploading, key: &str, bytes: Vec<u8>) {
    let key = ObjectKey::new(key).expect("a key");
    let body = Box::pin(futures_util::stream::once(async { Ok(bytes.into()) }));
    up.store.put(&key, &Attributes::default(), body).await.expect("stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_bucket_is_taken_in_without_moving_a_byte() {
    for up in Uploading::both(&[]).await {
        let bytes = video(1, MIB);
        for (key, bytes) in [
            ("films/1999/The Film.mp4", bytes.clone()),
            ("films/b.mkv.part", video(2, 5000)),
            ("films/notes.txt", b"no video".to_vec()),
            ("other/c.mp4", video(3, 5000)),
            ("original/2020/01/01/d.mp4", video(4, 5000)),
        ] {
            put(&up, key, bytes).await;
        }
        let admin = NewAccount {
            address: "a@example.com".to_owned(),
            name: "A".to_owned(),
            role: Role::Admin,
            password_hash: String::new(),
        };
        let admin = up.catalog.accounts().create(admin).await.expect("created");
        let place = up.place("films/");
        let args = ["import", &place, "--owner", "a@example.com", "--visibility", "public"];
        let (code, said) = gateway(&up, &args);
        assert_eq!(code, Some(0), "{said}");
        assert!(
            said.contains("2 videos added, 0 known before, 1 objects are no videos, 0 could not"),
            "{said}"
        );
        let (code, said) = gateway(&up, &args);
        assert!(code == Some(0) && said.contains("0 videos added, 2 known before"), "{said}");

        let videos = up.catalog.videos().list(&Filter::of(Viewer::Anybody), None, 10).await.expect("a list");
        let film = videos.iter().find(|video| video.title == "The Film").expect("it is there");
        assert_eq!((videos.len(), film.owner, film.source.size), (2, Some(admin.id), MIB as u64));
        assert_eq!(
            (film.visibility, film.source.key.as_str()),
            (Visibility::Public, "films/1999/The Film.mp4")
        );
        assert_eq!(film.source.container.as_deref(), Some("mp4"));
        assert_eq!(up.stand().get("/media/films/1999/The%20Film.mp4", &[]).await.body, bytes);

        for (args, wanted) in [
            (vec!["import", "s3://another-bucket/films"], "S3_BUCKET"),
            (vec!["import", &place, "--owner", "nobody@example.com"], "nobody@example.com"),
            (vec!["import", &place, "--visibility", "everybody"], "private, unlisted or public"),
            (vec!["import"], "WHERE"),
            (vec!["import", &place, "--", "--cache-memory-bytes", "x"], "CACHE_MEMORY_BYTES"),
        ] {
            if wanted == "S3_BUCKET" && !up.is_s3 {
                continue;
            }
            let (code, said) = gateway(&up, &args);
            assert!(code == Some(64) && said.contains(wanted), "{args:?}: {code:?} {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_what_nobody_has_and_mends_only_what_it_may() {
    for up in Uploading::both(&[]).await {
        let (kept, lost) = (up.upload(&video(1, 6 * MIB)).await, up.upload(&video(2, MIB)).await);
        let (kept, lost) = (up.catalog.videos().get(kept).await, up.catalog.videos().get(lost).await);
        let (kept, lost) = (kept.expect("a video"), lost.expect("a video"));
        let png = b"\x89PNG\r\n\x1a\n and the rest of a picture";
        let length = png.len().to_string();
        let watermark = [("Upload-Length", length.as_str()), ("Upload-Metadata", "purpose d2F0ZXJtYXJr")];
        assert_eq!(up.patch(&up.create(&watermark).await, 0, png).await.status, 204);
        // An upload under way has a multipart upload and a remainder.
        let bytes = video(3, 12 * MIB);
        let target = up.create(&[("Upload-Length", &bytes.len().to_string())]).await;
        assert_eq!(up.patch(&target, 0, &bytes[..10 * MIB]).await.status, 204);
        let before = up.keys().await;
        let (code, said) = gateway(&up, &["doctor", "--older-than", "0s"]);
        assert!(code == Some(0) && said.contains("agree"), "{said}");

        up.store.delete(&ObjectKey::new(&lost.source.key).expect("a key")).await.expect("deleted");
        let logo = up.catalog.assets().of_account(None, None, 2).await.expect("a list").remove(0);
        up.store.delete(&ObjectKey::new(&logo.source.key).expect("a key")).await.expect("deleted");
        // Other programs may write below the same prefixes.
        let theirs = ["assets/theirs.png", "films/theirs.mp4", "original/2020/01/01/theirs.mp4"];
        for key in [ORIGINAL, ASSET, REMAINDER].iter().chain(&theirs) {
            put(&up, key, vec![1; 100]).await;
        }
        let attributes = Attributes::default();
        for key in [BEGUN, "films/theirs-too.mp4", "original/theirs-too.mp4"] {
            let key = ObjectKey::new(key).expect("a key");
            up.store.create_multipart(&key, &attributes).await.expect("begun");
        }
        let (code, said) = gateway(&up, &["doctor"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("2 findings")
                && said.contains(&lost.id.to_string())
                && said.contains(&logo.id.to_string()),
            "the rest is young: {said}"
        );
        let (code, said) = gateway(&up, &["doctor", "--older-than", "0s"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("6 findings; gateway doctor --fix mends them"), "{said}");
        assert!(!said.contains("theirs") && !said.contains(&kept.source.key), "{said}");
        let (code, said) = gateway(&up, &["doctor", "--older-than", "0s", "--fix"]);
        assert!(code == Some(0) && said.contains("6 findings, all mended"), "{said}");
        let (code, said) = gateway(&up, &["doctor", "--older-than", "0s"]);
        assert!(code == Some(0) && said.contains("agree"), "{said}");

        let mut wanted = before;
        wanted.retain(|key| ![&lost.source.key, &logo.source.key].contains(&key));
        wanted.extend(theirs.map(str::to_owned));
        wanted.sort_unstable();
        assert_eq!(up.keys().await, wanted);
        let answer = up.patch(&target, 10 * MIB, &bytes[10 * MIB..]).await;
        up.assert_video(Uploading::video_of(&answer), &bytes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_deletes_nothing_where_database_and_store_are_strangers() {
    for up in Uploading::both(&[]).await {
        for seed in 0..4 {
            up.upload(&video(seed, 5000)).await;
        }
        let before = up.keys().await;
        let fix = ["doctor", "--older-than", "0s", "--fix"];
        let refused = async |why: &str, others: &[(&str, &str)]| {
            let (code, said) = gateway_with(&up, &fix, others);
            assert!(code == Some(1) && said.contains(why) && said.contains("--force"), "{code:?} {said}");
            assert_eq!(up.keys().await, before);
            let videos = up.catalog.videos().list(&Filter::of(Viewer::Admin), None, 10).await;
            assert_eq!(videos.expect("a list").len(), 4, "{why}");
        };
        let folder = TempDir::new().expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let empty = format!("sqlite:{}", path("empty.db"));
        refused("the database knows no video", &[("DATABASE_URL", &empty)]).await;
        if up.is_s3 {
            let another = Uploading::served_for_another().await;
            let bucket = another.place("");
            let bucket = bucket.trim_start_matches("s3://").trim_end_matches('/');
            refused("4 of 4 videos and assets have no object", &[("S3_BUCKET", bucket)]).await;
            // It would make an empty database.
            let (code, said) = gateway_with(&up, &fix, &[("DATABASE_URL", "")]);
            assert!(code == Some(64) && said.contains("DATABASE_URL"), "{code:?} {said}");
        } else {
            refused("4 of 4 videos and assets have no object", &[("LOCAL_STORAGE_DIR", &path("other"))])
                .await;
        }
        // The store has been another gateway's, too.
        for nth in 0..5 {
            put(&up, &ORIGINAL.replace("2020", &format!("201{nth}")), vec![1; 100]).await;
        }
        let (code, said) = gateway(&up, &fix);
        assert!(
            code == Some(1) && said.contains("nothing in the database has 5 of 9 objects"),
            "{code:?} {said}"
        );
        let (code, said) = gateway(&up, &[&fix[..], &["--force"]].concat());
        assert!(code == Some(0) && said.contains("5 findings, all mended"), "{code:?} {said}");
        assert_eq!(up.keys().await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_database_is_made_anew_of_what_lies_in_the_store() {
    for up in Uploading::both(&[]).await {
        put(&up, ORIGINAL, video(1, 5000)).await;
        put(&up, ASSET, video(2, 5000)).await;
        let upload = up.create(&[("Upload-Length", "5000")]).await;
        let (code, said) = gateway(&up, &["import", &up.place("")]);
        assert!(code == Some(0) && said.contains("0 videos added"), "only where it is asked for: {said}");
        let args = ["import", &up.place("original/")];
        let (code, said) = gateway(&up, &args);
        assert!(code == Some(0) && said.contains("1 videos added, 0 known before"), "{said}");
        assert_eq!(up.patch(&upload, 0, &video(3, 5000)).await.status, 204);
        let (code, said) = gateway(&up, &args);
        assert!(code == Some(0) && said.contains("0 videos added, 2 known before"), "{said}");
        let videos = up.catalog.videos().list(&Filter::of(Viewer::Admin), None, 10).await.expect("a list");
        let film = videos.iter().find(|video| video.source.key == ORIGINAL).expect("it is there");
        assert_eq!(film.title, "A-film");
        let (code, said) = gateway(&up, &["doctor", "--older-than", "0s"]);
        assert!(code == Some(1) && said.contains("1 findings") && said.contains(ASSET), "{said}");
    }
}
