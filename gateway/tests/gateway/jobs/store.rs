//! What lies in the store because of jobs: it goes once nobody needs it, and not before.

use std::process::Command;

use seekway_catalog::{Failure, Jobs, Role};
use serde_json::Value;

use super::{ENV, asker, begun, published, put};
use crate::support::until;
use crate::uploads::stand::Uploading;

#[tokio::test(flavor = "multi_thread")]
async fn what_an_attempt_left_goes_and_what_comes_late_too() {
    for up in Uploading::both(&ENV).await {
        let root = asker(&up, "root", Role::Admin).await;
        root.upload(1, "").await;
        let kept = published(&up).await;
        root.upload(2, "").await;
        let job = begun(&up).await;
        let (early, late) = (format!("{}720p/1.m4s", job.prefix()), format!("{}720p/2.m4s", job.prefix()));
        put(&up, &early).await;
        up.catalog.jobs().fail(job.id, 1, Failure::Input, "It went wrong.", None).await.expect("fails");
        let gone = async |key: &str| {
            until("it goes", async || (!up.keys().await.iter().any(|other| other == key)).then_some(()))
                .await;
        };
        gone(&early).await;
        // A request that was under way when the attempt ended.
        put(&up, &late).await;
        gone(&late).await;
        // Whatever is said, what plays stays; the outbox is done in its order.
        let orphan = kept.replace("-1/", "-2/");
        put(&up, &format!("{orphan}a")).await;
        for prefix in [&kept, &orphan] {
            up.catalog.outbox().add(Jobs::LEFT, prefix).await.expect("adds");
        }
        gone(&format!("{orphan}a")).await;
        assert!(up.keys().await.contains(&format!("{kept}master.m3u8")));
    }
}

/// A worker that does not know yet that its video is deleted goes on for a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_video_takes_its_running_job_with_it() {
    for up in Uploading::both(&ENV).await {
        let root = asker(&up, "root", Role::Admin).await;
        let id = root.upload(1, "").await;
        let job = begun(&up).await;
        put(&up, &format!("{}a", job.prefix())).await;
        let target = format!("/api/videos/{id}");
        assert_eq!(root.ask(http::Method::DELETE, &target, &Value::Null).await.status, 204);
        until("its row goes", async || up.catalog.videos().get(id).await.is_err().then_some(())).await;
        let jobs = up.catalog.jobs();
        let late = jobs.succeed(job.id, 1, &super::outputs()).await;
        assert!(matches!(late, Err(seekway_catalog::Error::NotFound)), "{late:?}");
        put(&up, &format!("{}b", job.prefix())).await;
        until("nothing is left", async || up.keys().await.is_empty().then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_what_no_video_has_published_and_what_is_gone() {
    for up in Uploading::both(&ENV).await {
        let root = asker(&up, "root", Role::Admin).await;
        let id = root.upload(1, "").await;
        let kept = published(&up).await;
        root.upload(2, "").await;
        let running = begun(&up).await.prefix();
        let orphan = kept.replace("-1/", "-7/");
        for key in [
            format!("{running}a"),
            format!("{orphan}a"),
            format!("{orphan}b/c"),
            "processed/theirs".to_owned(),
        ] {
            put(&up, &key).await;
        }
        let doctor = |more: &[&str]| {
            let output = Command::new(env!("CARGO_BIN_EXE_gateway"))
                .args(["doctor", "--older-than", "0s"])
                .args(more)
                .env_clear()
                .envs(up.settings().iter().map(|(name, value)| (name, value)))
                .output()
                .expect("it runs");
            String::from_utf8([output.stdout, output.stderr].concat()).expect("text")
        };
        let said = doctor(&[]);
        assert!(said.contains(&orphan) && said.contains("1 findings"), "{said}");
        let master = seekway_storage::ObjectKey::new(&format!("{kept}master.m3u8")).expect("a key");
        up.store.delete(&master).await.expect("deletes");
        let said = doctor(&["--fix"]);
        assert!(
            said.contains(&orphan) && said.contains(master.as_str()) && said.contains("all mended"),
            "{said}"
        );
        let keys = up.keys().await;
        assert!(!keys.iter().any(|key| key.starts_with(&orphan)), "{keys:?}");
        assert!(
            keys.contains(&format!("{running}a")) && keys.contains(&"processed/theirs".to_owned()),
            "{keys:?}"
        );
        assert_eq!(up.catalog.jobs().of_video(id).await.expect("lists").len(), 2, "it is processed again");
    }
}
