//! `gateway import` and `gateway doctor`, as an operator runs them.

use std::process::{Command, Output};

use seekway_catalog::{Filter, NewAccount, Role, Viewer, Visibility};
use seekway_storage::{Attributes, ObjectKey};

use crate::uploads::stand::{MIB, Uploading, video};

/// Runs the gateway's binary with the settings of a stand.
fn gateway(up: &Uploading, args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(args)
        .env_clear()
        .envs(up.settings().iter().map(|(name, value)| (name, value)))
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
        // An upload under way has a multipart upload and a remainder.
        let bytes = video(3, 12 * MIB);
        let target = up.create(&[("Upload-Length", &bytes.len().to_string())]).await;
        assert_eq!(up.patch(&target, 0, &bytes[..10 * MIB]).await.status, 204);
        let before = up.keys().await;
        let (code, said) = gateway(&up, &["doctor", "--older-than", "0s"]);
        assert!(code == Some(0) && said.contains("agree"), "{said}");

        up.store.delete(&ObjectKey::new(&lost.source.key).expect("a key")).await.expect("deleted");
        for key in ["original/2020/01/01/x.mp4", "assets/x.png", "seekway-incoming/x/1", "films/theirs.mp4"] {
            put(&up, key, vec![1; 100]).await;
        }
        let attributes = Attributes::default();
        for key in ["original/2020/01/01/y.mp4", "films/theirs-too.mp4"] {
            let key = ObjectKey::new(key).expect("a key");
            up.store.create_multipart(&key, &attributes).await.expect("begun");
        }
        let (code, said) = gateway(&up, &["doctor"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("1 findings") && said.contains(&lost.id.to_string()),
            "the rest is young: {said}"
        );
        let (code, said) = gateway(&up, &["doctor", "--older-than", "0s"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("5 findings; gateway doctor --fix mends them"), "{said}");
        assert!(!said.contains("theirs") && !said.contains(&kept.source.key), "{said}");
        let (code, said) = gateway(&up, &["doctor", "--older-than", "0s", "--fix"]);
        assert!(code == Some(0) && said.contains("5 findings, all mended"), "{said}");
        let (code, said) = gateway(&up, &["doctor", "--older-than", "0s"]);
        assert!(code == Some(0) && said.contains("agree"), "{said}");

        let mut wanted = before;
        wanted.retain(|key| *key != lost.source.key);
        wanted.push("films/theirs.mp4".to_owned());
        wanted.sort_unstable();
        assert_eq!(up.keys().await, wanted);
        let answer = up.patch(&target, 10 * MIB, &bytes[10 * MIB..]).await;
        up.assert_video(Uploading::video_of(&answer), &bytes).await;
    }
}
