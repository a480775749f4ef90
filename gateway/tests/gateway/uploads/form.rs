//! A plain form, as `curl -F` and simple pages send it.

use super::stand::{MIB, Uploading, video};
use crate::support::tools::stdout_of;
use crate::support::until;
use crate::support::wire::{Answer, head};

pub(crate) const FORM: (&str, &str) = ("Content-Type", "multipart/form-data; boundary=XX");

/// A form's body of these parts: each a head, and what is in it.
pub(crate) fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (disposition, bytes) in parts {
        body.extend(format!("--XX\r\nContent-Disposition: form-data; {disposition}\r\n\r\n").bytes());
        body.extend_from_slice(bytes);
        body.extend(b"\r\n");
    }
    body.extend(b"--XX--\r\n");
    body
}

#[track_caller]
fn made(answer: &Answer) -> seekway_catalog::VideoId {
    assert_eq!(answer.status, 201, "{answer:?}");
    let document: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(document["url"], answer.header("location"));
    seekway_catalog::VideoId::parse(document["id"].as_str().expect("text")).expect("an id")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_becomes_a_video_whatever_the_order_of_its_fields() {
    for up in Uploading::both(&[]).await {
        let bytes = video(20, 9 * MIB);
        let file = ("name=\"file\"; filename=\"a film.mp4\"", bytes.as_slice());
        let title = ("name=\"title\"", "Ein Film äöü".as_bytes());
        let other = ("name=\"comment\"", b"nobody asked".as_slice());
        let mut keys = Vec::new();
        for (fields, expected) in [
            (&[title, file][..], "Ein Film äöü"),
            (&[other, file, title], "Ein Film äöü"),
            (&[file], "a film.mp4"),
        ] {
            let made = made(&up.ask("POST", "/api/videos", &[FORM], &form(fields)).await);
            let video = up.assert_video(made, &bytes).await;
            assert_eq!(video.title, expected);
            assert!(video.source.sha256.is_some());
            keys.push(video.source.key);
        }
        keys.sort();
        up.assert_clean(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_uploads_a_form() {
    let up = Uploading::embedded(&[]).await;
    let bytes = video(21, 3 * MIB);
    let file = tempfile::Builder::new().suffix(".mp4").tempfile().expect("a file");
    std::fs::write(file.path(), &bytes).expect("written");
    let url = format!("http://{}/api/videos", up.stand().address());
    let field = format!("file=@{}", file.path().display());
    let told = stdout_of("curl", &["-sS", "--fail-with-body", "-F", &field, "-F", "title=By curl", &url]);
    let document: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    let id = seekway_catalog::VideoId::parse(document["id"].as_str().expect("text")).expect("an id");
    assert_eq!(up.assert_video(id, &bytes).await.title, "By curl");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_breaks_off_leaves_nothing() {
    for up in Uploading::both(&[]).await {
        let body = form(&[("name=\"file\"; filename=\"a.mp4\"", &video(22, 12 * MIB))]);
        let length = body.len().to_string();
        // In the file, and in what would have been the form's last line.
        for sent in [10 * MIB, body.len() - 3] {
            let mut wire = up.stand().connect().await;
            wire.send(head("POST", "/api/videos", &[FORM, ("Content-Length", &length)])).await;
            wire.send(&body[..sent]).await;
            drop(wire);
            until("all of it is deleted", async || {
                let uploads = up.catalog.uploads().of_account(None, None, 10).await.expect("lists");
                uploads.is_empty().then_some(())
            })
            .await;
            up.assert_clean(&[]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_that_make_no_sense_are_told_so() {
    let up = Uploading::embedded(&[("SEEKWAY_UPLOAD_BYTES_MAX", "1MiB")]).await;
    let file = "name=\"file\"; filename=\"a.mp4\"";
    let small = video(23, 1000);
    let ask = async |body: Vec<u8>| up.ask("POST", "/api/videos", &[FORM], &body).await.status;
    assert_eq!(ask(form(&[("name=\"title\"", b"no file")])).await, 400);
    assert_eq!(ask(form(&[(file, b"")])).await, 422);
    assert_eq!(ask(form(&[(file, b"<html>")])).await, 415);
    assert_eq!(ask(form(&[(file, &video(23, 2 * MIB))])).await, 413);
    assert_eq!(ask(form(&[("name=\"title\"", &[b'x'; 5000]), (file, &small)])).await, 400);
    assert_eq!(ask(form(&[("name=\"purpose\"", b"trailer"), (file, &small)])).await, 400);
    assert_eq!(ask(b"no form at all".to_vec()).await, 400);
    // Whole requests whose forms have no end, before the file and in it.
    for end in [b"--X".len(), form(&[(file, &small)]).len() - 20] {
        let answer = up.ask("POST", "/api/videos", &[FORM], &form(&[(file, &small)])[..end]).await;
        assert_eq!(answer.status, 400);
        let detail = answer.problem()["detail"].to_string();
        assert!(detail.contains("Nothing of it is kept"), "{answer:?}");
    }
    let json = [("Content-Type", "application/json")];
    assert_eq!(up.ask("POST", "/api/videos", &json, b"{}").await.status, 415);
    up.assert_clean(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_form_is_one_video() {
    for up in Uploading::both(&[]).await {
        let bytes = video(24, MIB);
        let body = form(&[("name=\"file\"; filename=\"a.mp4\"", &bytes)]);
        let headers = [FORM, ("Idempotency-Key", "once")];
        let first = made(&up.ask("POST", "/api/videos", &headers, &body).await);
        assert_eq!(made(&up.ask("POST", "/api/videos", &headers, &body).await), first);
        let key = up.assert_video(first, &bytes).await.source.key;
        up.assert_clean(&[&key]).await;
    }
}
