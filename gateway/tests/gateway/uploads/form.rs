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

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_behind_the_file_counts_or_is_refused() {
    for up in Uploading::both(&[]).await {
        let bytes = video(25, 1000);
        let file = ("name=\"file\"; filename=\"a.mp4\"", bytes.as_slice());
        let long = "ä".repeat(400);
        let (title, video_again) =
            (("name=\"title\"", long.as_bytes()), ("name=\"purpose\"", b"video".as_slice()));
        let post =
            async |fields: &[(&str, &[u8])]| up.ask("POST", "/api/videos", &[FORM], &form(fields)).await;
        let made = made(&post(&[file, video_again, title]).await);
        let made = up.assert_video(made, &bytes).await;
        assert_eq!(made.title, "ä".repeat(300));
        for late in [("name=\"purpose\"", b"intro".as_slice()), file] {
            let answer = post(&[file, late]).await;
            assert_eq!(answer.status, 400, "{answer:?}");
            let detail = answer.problem()["detail"].to_string();
            assert!(detail.contains("Nothing of it is kept"), "{detail}");
        }
        up.assert_clean(&[&made.source.key]).await;
        let intro = ("name=\"purpose\"", b"intro".as_slice());
        assert_eq!(post(&[intro, file, title]).await.status, 201);
        let assets = up.catalog.assets().of_account(None, None, 2).await.expect("lists");
        assert_eq!(assets.iter().map(|asset| asset.title.as_str()).collect::<Vec<_>>(), ["ä".repeat(300)]);
    }
}

/// What the form's reader keeps is bounded, wherever nothing ends.
#[tokio::test(flavor = "multi_thread")]
async fn forms_that_never_come_to_the_point_are_refused() {
    let up = Uploading::embedded(&[]).await;
    let head_of = |disposition: &str| format!("--XX\r\nContent-Disposition: form-data; {disposition}\r\n");
    let file = head_of("name=\"file\"; filename=\"a.mp4\"") + "\r\n";
    let small = String::from_utf8_lossy(b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2\r\n").into_owned();
    let fields = (head_of("name=\"x\"") + "\r\nx\r\n").repeat(20_000);
    for (what, beginning) in [
        ("a boundary", String::new()),
        ("a field's head", head_of("name=\"x\"") + "X: "),
        ("a head behind the file", file.clone() + &small + &head_of("name=\"x\"") + "X: "),
        ("fields", fields.clone()),
        ("fields behind the file", file.clone() + &small + &fields),
    ] {
        let mut body = beginning.into_bytes();
        body.resize(2 * MIB, b'x');
        let mut wire = up.stand().connect().await;
        wire.send(head("POST", "/api/videos", &[FORM, ("Content-Length", "999999999")])).await;
        let _ = wire.try_send(&body).await;
        let answer = wire.answer("POST").await;
        assert_eq!(answer.status, 400, "{what}: {answer:?}");
        let detail = answer.problem()["detail"].to_string();
        assert!(detail.contains("64 KiB"), "{what}: {detail}");
        up.assert_clean(&[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_stops_before_its_file_is_not_waited_for() {
    let up = Uploading::embedded(&[("SEEKWAY_UPLOAD_STALL_TIMEOUT", "1s")]).await;
    for sent in ["", "--XX\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nA ti"] {
        let mut wire = up.stand().connect().await;
        wire.send(head("POST", "/api/videos", &[FORM, ("Content-Length", "1000")])).await;
        wire.send(sent).await;
        let answer = wire.answer("POST").await;
        assert_eq!(answer.status, 400, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_too_long_is_refused_before_it_comes() {
    for (name, value, status) in
        [("SEEKWAY_UPLOAD_BYTES_MAX", "1MiB", 413), ("SEEKWAY_QUOTA_BYTES", "1MiB", 403)]
    {
        for up in Uploading::both(&[(name, value)]).await {
            let file = "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp4\"\r\n\r\n";
            let mut wire = up.stand().connect().await;
            wire.send(head("POST", "/api/videos", &[FORM, ("Content-Length", "1114113")])).await;
            wire.send(file).await;
            let answer = wire.answer("POST").await;
            assert_eq!(answer.status, status, "{answer:?}");
            let uploads = up.catalog.uploads().of_account(None, None, 10).await.expect("lists");
            assert!(uploads.is_empty(), "{uploads:?}");
        }
    }
}

/// A client whose connection has died sends the form again, and the gateway may not know yet that it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_form_takes_over_from_the_one_that_stalled() {
    for up in Uploading::both(&[]).await {
        let bytes = video(26, MIB);
        let body = form(&[("name=\"file\"; filename=\"a.mp4\"", &bytes)]);
        let length = body.len().to_string();
        let headers = [FORM, ("Idempotency-Key", "again"), ("Content-Length", length.as_str())];
        let first_bytes = body.len() - bytes.len() - b"\r\n--XX--\r\n".len();
        let begin = async || {
            let mut wire = up.stand().connect().await;
            wire.send(head("POST", "/api/videos", &headers)).await;
            wire.send(&body[..first_bytes]).await;
            wire
        };
        let epoch_is = async |epoch: u64| {
            let uploads = up.catalog.uploads().of_account(None, None, 1).await.expect("lists");
            uploads.first().is_some_and(|upload| upload.epoch == epoch).then_some(())
        };
        let mut stalled = begin().await;
        until("it is taken", async || epoch_is(1).await).await;
        let mut again = begin().await;
        until("it is taken over", async || epoch_is(2).await).await;
        let told = stalled.answer("POST").await;
        assert_eq!(told.status, 423, "{told:?}");
        again.send(&body[first_bytes..]).await;
        let made = made(&again.answer("POST").await);
        let key = up.assert_video(made, &bytes).await.source.key;
        up.assert_clean(&[&key]).await;
    }
}
