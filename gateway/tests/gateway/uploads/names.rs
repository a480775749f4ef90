//! Names of files are words, and never places.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use seekway_catalog::VideoId;
use serde_json::{Value, json};

use super::direct::{put, say};
use super::form::{FORM, form};
use super::stand::{BYTES, TUS, Uploading, video};

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_a_path_leads_nowhere() {
    const NAME: &str = "../../x<b>";
    for up in Uploading::both(&[]).await {
        let bytes = video(85, 1000);
        let metadata = format!("filename {}", STANDARD.encode(NAME));
        let headers = [TUS, BYTES, ("Upload-Length", "1000"), ("Upload-Metadata", &metadata)];
        let answer = up.ask("POST", "/api/uploads", &headers, &bytes).await;
        let mut made = vec![Uploading::video_of(&answer)];
        let disposition = format!("attachment; filename=\"{NAME}\"");
        let headers = [("Upload-Complete", "?1"), ("Content-Disposition", disposition.as_str())];
        made.push(Uploading::video_of(&up.ask("POST", "/api/uploads", &headers, &bytes).await));
        let field = format!("name=\"file\"; filename=\"{NAME}\"");
        let answer = up.ask("POST", "/api/videos", &[FORM], &form(&[(&field, &bytes)])).await;
        let document: Value = serde_json::from_slice(&answer.body).expect("JSON");
        made.push(VideoId::parse(document["id"].as_str().expect("text")).expect("an id"));
        if up.is_s3 {
            let new = json!({"name": NAME, "length": bytes.len()});
            let (begun, _) = say(&up, "POST", "/api/uploads/direct", &new).await;
            let target = begun.header("location");
            let (_, signed) = say(&up, "POST", &format!("{target}/parts"), &json!({"numbers": [1]})).await;
            assert_eq!(put(&signed["parts"][0], &bytes).await.0, 200);
            let (answer, _) = say(&up, "POST", &format!("{target}/complete"), &json!({})).await;
            made.push(Uploading::video_of(&answer));
        }
        let mut keys = Vec::new();
        for id in made {
            let video = up.assert_video(id, &bytes).await;
            assert_eq!(video.title, NAME, "it is shown as it is");
            let key = video.source.key;
            // The day, and one name below it.
            assert!(key.starts_with("original/2") && key.ends_with("-x-b"), "{key}");
            assert!(key.split('/').count() == 5 && !key.contains(".."), "{key}");
            keys.push(key);
        }
        keys.sort();
        up.assert_clean(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
}
