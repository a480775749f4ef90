//! Texts that a database may not take: PostgreSQL has no NUL in them.

use seekway_catalog::{Filter, Role, Viewer};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::uploads::form::{FORM, form};
use crate::uploads::ownership::somebody;
use crate::uploads::stand::{BYTES, TUS, Uploading, video};

const JSON: (&str, &str) = ("Content-Type", "application/json");

#[tokio::test(flavor = "multi_thread")]
async fn no_text_that_somebody_sends_is_the_servers_fault() {
    let env = [("SEEKWAY_UPLOADS", "auto"), ("SEEKWAY_ACCOUNTS", "on"), ("SEEKWAY_SIGN_UP", "on")];
    for up in Uploading::both(&env).await {
        let (root, key) = somebody(&up, "root", Role::Admin).await;
        up.catalog
            .sessions()
            .begin(root, &Sha256::digest("session"), "test", 3_600_000)
            .await
            .expect("begun");
        let (proof, session) = (("Authorization", &*key), ("Cookie", "seekway-session=session"));
        let bytes = video(1, 1000);
        let file = ("name=\"file\"; filename=\"a.mp4\"", bytes.as_slice());
        let title = ("name=\"title\"", b"b\0c".as_slice());
        // In Base64 "b\0c", "video/\0mp4", and "v" 300 times.
        let (title_64, type_64, long_64) = ("YgBj", "dmlkZW8vAG1wNA==", "dnZ2".repeat(100));
        let tus = |metadata: String| {
            [TUS, BYTES, ("Upload-Length", "1000"), proof]
                .map(owned)
                .into_iter()
                .chain([("Upload-Metadata".to_owned(), metadata)])
                .collect::<Vec<_>>()
        };
        let plain = |headers: &[(&str, &str)]| headers.iter().copied().map(owned).collect::<Vec<_>>();
        let sign_up = json!({"address": "b\0c@example.org", "password": "correct horse battery"});
        let named = json!({"address": "b@example.org", "name": "b\0c", "password": "correct horse battery"});
        let direct = |more: serde_json::Value| {
            let mut document = json!({"name": "a\0b.mp4", "title": "b\0c", "length": 1000});
            document.as_object_mut().expect("one").extend(more.as_object().expect("one").clone());
            document.to_string().into_bytes()
        };
        // Where objects are in a folder there is nothing to upload to directly.
        let (taken, refused) = if up.is_s3 { (201, 400) } else { (501, 501) };
        for (method, target, headers, body, expected) in [
            ("GET", "/api/videos?search=%00", plain(&[proof]), vec![], 400),
            ("GET", "/api/videos?search=a%00&owner=%00", plain(&[proof]), vec![], 400),
            ("GET", "/api/objects?prefix=%00", plain(&[proof]), vec![], 400),
            ("GET", "/api/auth/accounts?after=%00", plain(&[proof]), vec![], 400),
            ("GET", "/media/a%00b", plain(&[proof]), vec![], 400),
            ("POST", "/api/uploads", tus(format!("title {title_64}")), bytes.clone(), 201),
            ("POST", "/api/uploads", tus(format!("filename {title_64}")), bytes.clone(), 201),
            ("POST", "/api/uploads", tus(format!("filetype {type_64}")), bytes.clone(), 400),
            ("POST", "/api/uploads", tus(format!("filetype {long_64}")), bytes.clone(), 400),
            ("POST", "/api/videos", plain(&[FORM, proof]), form(&[title, file]), 201),
            ("POST", "/api/videos", plain(&[FORM, proof]), form(&[file, title]), 201),
            ("POST", "/api/uploads/direct", plain(&[JSON, proof]), direct(json!({})), taken),
            (
                "POST",
                "/api/uploads/direct",
                plain(&[JSON, proof]),
                direct(json!({"content_type": "a\0b"})),
                refused,
            ),
            (
                "POST",
                "/api/uploads/direct",
                plain(&[JSON, proof]),
                direct(json!({"content_type": "v".repeat(256)})),
                refused,
            ),
            (
                "POST",
                "/api/auth/keys",
                plain(&[JSON, session]),
                json!({"name": "b\0c"}).to_string().into(),
                400,
            ),
            ("POST", "/api/auth/sign-up", plain(&[JSON]), sign_up.to_string().into(), 400),
            ("POST", "/api/auth/sign-up", plain(&[JSON]), named.to_string().into(), 400),
            ("POST", "/api/auth/log-in", plain(&[JSON]), sign_up.to_string().into(), 400),
        ] {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
            let answer = up.ask(method, target, &headers, &body).await;
            let said = String::from_utf8_lossy(&answer.body);
            assert_eq!(answer.status, expected, "{method} {target} {headers:?}: {said}");
        }
        let videos = up.catalog.videos().list(&Filter::of(Viewer::Admin), None, 10).await.expect("a list");
        let mut titles: Vec<_> = videos.iter().map(|video| video.title.as_str()).collect();
        titles.sort_unstable();
        assert_eq!(titles, ["bc", "bc", "bc", "bc"]);
        let target = format!("/api/videos/{}", videos[0].id);
        let patch = json!({"title": "x\0"}).to_string();
        assert_eq!(up.ask("PATCH", &target, &[JSON, proof], patch.as_bytes()).await.status, 400);
    }
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}
