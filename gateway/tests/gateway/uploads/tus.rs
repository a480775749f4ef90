//! tus 1.0, request by request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::stand::{BYTES, MIB, TUS, Uploading, video};
use crate::support::until;

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_pieces_of_any_size_becomes_a_video() {
    for up in Uploading::both(&[]).await {
        let bytes = video(1, 19 * MIB + 7);
        let length = bytes.len().to_string();
        // `holiday.mp4`, `Holiday`
        let metadata = "filename aG9saWRheS5tcDQ=,title SG9saWRheQ==";
        let target = up.create(&[("Upload-Length", &length), ("Upload-Metadata", metadata)]).await;
        let mut offset = 0;
        // Less than a sniff wants, a remainder, a longer one, parts of any length, the rest.
        for piece in [100, 3 * MIB, 1, MIB, 12 * MIB, bytes.len()] {
            let end = bytes.len().min(offset + piece);
            let answer = up.patch(&target, offset, &bytes[offset..end]).await;
            assert_eq!((answer.status, answer.header("upload-offset")), (204, end.to_string().as_str()));
            assert_eq!(answer.header("tus-resumable"), "1.0.0");
            assert_eq!(answer.has("upload-expires"), end < bytes.len());
            assert_eq!(up.offset(&target).await, end);
            offset = end;
        }
        let answer = up.ask("HEAD", &target, &[TUS], b"").await;
        assert_eq!((answer.header("upload-length"), answer.header("upload-metadata")), (&*length, metadata));
        assert_eq!(answer.header("cache-control"), "no-store");
        let made = up.assert_video(Uploading::video_of(&answer), &bytes).await;
        assert!(made.source.sha256.is_some(), "all of it came through in order");
        assert_eq!((made.title.as_str(), made.source.container.as_deref()), ("Holiday", Some("mp4")));
        assert!(made.source.key.starts_with("original/2") && made.source.key.ends_with("-holiday.mp4"));
        up.assert_clean(&[&made.source.key]).await;
        // What the client repeats because it lost the answer is no second video.
        let again = up.patch(&target, bytes.len(), b"").await;
        assert_eq!(again.status, 204, "{again:?}");
        assert_eq!(up.patch(&target, 0, b"x").await.status, 403, "nothing can be added");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_a_cut_is_kept() {
    for up in Uploading::both(&[]).await {
        let bytes = video(2, 14 * MIB);
        let target = up.create(&[("Upload-Length", &bytes.len().to_string())]).await;
        let mut offset = 0;
        for cut in [50, 2 * MIB, 6 * MIB, 3 * MIB] {
            let mut wire = up.begin_patch(&target, offset, bytes.len() - offset).await;
            wire.send(&bytes[offset..offset + cut]).await;
            // Bytes in the kernel when a connection is reset are lost: an orderly end, as of a closed laptop's browser.
            drop(wire);
            let kept = offset + cut;
            until("all of it is kept", async || (up.offset(&target).await == kept).then_some(())).await;
            offset = kept;
        }
        let answer = up.patch(&target, offset, &bytes[offset..]).await;
        let made = up.assert_video(Uploading::video_of(&answer), &bytes).await;
        assert!(made.source.sha256.is_some());
        up.assert_clean(&[&made.source.key]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_that_are_not_the_uploads_are_conflicts() {
    for up in Uploading::both(&[]).await {
        let bytes = video(4, 100_000);
        let target = up.create(&[("Upload-Length", "100000")]).await;
        assert_eq!(up.patch(&target, 0, &bytes[..5000]).await.status, 204);
        for wrong in [0, 4999, 5001, 100_000] {
            let answer = up.patch(&target, wrong, &bytes[5000..6000]).await;
            assert_eq!((answer.status, answer.header("upload-offset")), (409, "5000"), "{wrong}");
            assert_eq!(answer.header("tus-resumable"), "1.0.0");
            answer.problem();
        }
        assert_eq!(up.offset(&target).await, 5000);
        let too_much = up.patch(&target, 5000, &vec![0; 95_001]).await;
        assert_eq!(too_much.status, 413, "{too_much:?}");
        assert_eq!(up.offset(&target).await, 5000);
        let answer = up.patch(&target, 5000, &bytes[5000..]).await;
        up.assert_video(Uploading::video_of(&answer), &bytes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_committed_against_its_checksum() {
    for up in Uploading::both(&[]).await {
        let bytes = video(5, 11 * MIB);
        let target = up.create(&[("Upload-Length", &bytes.len().to_string())]).await;
        let send = async |offset: usize, end: usize, checksum: &str| {
            let text = offset.to_string();
            let headers = [TUS, BYTES, ("Upload-Offset", text.as_str()), ("Upload-Checksum", checksum)];
            up.ask("PATCH", &target, &headers, &bytes[offset..end]).await
        };
        let wrong = format!("sha1 {}", STANDARD.encode(Sha1::digest(b"something else")));
        // A whole part of it is in the store by then.
        let answer = send(0, 10 * MIB, &wrong).await;
        assert_eq!((answer.status, answer.problem()["title"].as_str()), (460, Some("Checksum Mismatch")));
        assert_eq!(up.offset(&target).await, 0);
        assert_eq!(send(0, 1000, "crc32 AAAA").await.status, 400);
        let mut offset = 0;
        for (end, checksum) in [
            (9 * MIB, format!("sha256 {}", STANDARD.encode(Sha256::digest(&bytes[..9 * MIB])))),
            (10 * MIB, format!("sha1 {}", STANDARD.encode(Sha1::digest(&bytes[9 * MIB..10 * MIB])))),
            (11 * MIB, format!("md5 {}", STANDARD.encode(Md5::digest(&bytes[10 * MIB..])))),
        ] {
            let wrong = send(offset, end, &wrong).await;
            assert_eq!((wrong.status, up.offset(&target).await), (460, offset));
            let answer = send(offset, end, &checksum).await;
            assert_eq!((answer.status, answer.header("upload-offset")), (204, end.to_string().as_str()));
            offset = end;
        }
        let answer = up.ask("HEAD", &target, &[TUS], b"").await;
        let made = up.assert_video(Uploading::video_of(&answer), &bytes).await;
        up.assert_clean(&[&made.source.key]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_can_be_told_later_and_bytes_at_once() {
    for up in Uploading::both(&[]).await {
        let bytes = video(6, 70_000);
        let headers = [TUS, BYTES, ("Upload-Defer-Length", "1")];
        let answer = up.ask("POST", "/api/uploads", &headers, &bytes[..30_000]).await;
        assert_eq!((answer.status, answer.header("upload-offset")), (201, "30000"));
        let target = answer.header("location").to_owned();
        let answer = up.ask("HEAD", &target, &[TUS], b"").await;
        assert_eq!(answer.header("upload-defer-length"), "1");
        assert!(!answer.has("upload-length"));
        let tell = async |offset: &str, length: &str, body: &[u8]| {
            let headers = [TUS, BYTES, ("Upload-Offset", offset), ("Upload-Length", length)];
            up.ask("PATCH", &target, &headers, body).await
        };
        assert_eq!(tell("30000", "29999", b"").await.status, 409, "less than there is");
        assert_eq!(tell("30000", "70000", &bytes[30_000..70_000]).await.status, 204);
        let answer = up.ask("HEAD", &target, &[TUS], b"").await;
        up.assert_video(Uploading::video_of(&answer), &bytes).await;
        // The length may come when all bytes are there, and a small file in one request.
        let answer = up.ask("POST", "/api/uploads", &headers, &bytes).await;
        let second = answer.header("location").to_owned();
        let headers = [TUS, BYTES, ("Upload-Offset", "70000"), ("Upload-Length", "70000")];
        let answer = up.ask("PATCH", &second, &headers, b"").await;
        up.assert_video(Uploading::video_of(&answer), &bytes).await;
        let headers = [TUS, BYTES, ("Upload-Length", "70000")];
        let answer = up.ask("POST", "/api/uploads", &headers, &bytes).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        up.assert_video(Uploading::video_of(&answer), &bytes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_upload_leaves_nothing() {
    for up in Uploading::both(&[]).await {
        let bytes = video(7, 10 * MIB);
        let target = up.create(&[("Upload-Length", "99999999")]).await;
        assert_eq!(up.patch(&target, 0, &bytes).await.status, 204);
        assert!(!up.keys().await.is_empty(), "a remainder is there");
        assert_eq!(up.ask("DELETE", &target, &[TUS], b"").await.status, 204);
        up.assert_clean(&[]).await;
        for method in ["HEAD", "DELETE"] {
            assert_eq!(up.ask(method, &target, &[TUS], b"").await.status, 404, "{method}");
        }
        assert_eq!(up.patch(&target, 0, b"x").await.status, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_are_concatenated_in_the_order_that_is_said() {
    for up in Uploading::both(&[]).await {
        let bytes = video(8, 15 * MIB + 5);
        // The second one begins with nothing that is a video's.
        let cuts = [0, 9 * MIB, 9 * MIB + 3, bytes.len()];
        let mut targets = Vec::new();
        for piece in cuts.windows(2).rev().map(|cut| &bytes[cut[0]..cut[1]]) {
            let length = piece.len().to_string();
            let target = up.create(&[("Upload-Length", &length), ("Upload-Concat", "partial")]).await;
            let half = piece.len() / 2;
            assert_eq!(up.patch(&target, 0, &piece[..half]).await.status, 204);
            let early = format!("final;{target}");
            let early = up.ask("POST", "/api/uploads", &[TUS, ("Upload-Concat", &early)], b"").await;
            assert_eq!(early.status, 400, "half a piece: {early:?}");
            assert_eq!(up.patch(&target, half, &piece[half..]).await.status, 204);
            let answer = up.ask("HEAD", &target, &[TUS], b"").await;
            assert_eq!(
                (answer.header("upload-concat"), answer.header("upload-offset")),
                ("partial", &*length)
            );
            targets.insert(0, target);
        }
        let concat = format!("final;{}", targets.join(" "));
        let with_length = [TUS, ("Upload-Concat", concat.as_str()), ("Upload-Length", "5")];
        assert_eq!(up.ask("POST", "/api/uploads", &with_length, b"").await.status, 400);
        let answer = up.ask("POST", "/api/uploads", &[TUS, ("Upload-Concat", &concat)], b"").await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let target = answer.header("location").to_owned();
        let made = up.assert_video(Uploading::video_of(&answer), &bytes).await;
        assert!(made.source.sha256.is_some());
        let answer = up.ask("HEAD", &target, &[TUS], b"").await;
        assert_eq!(answer.header("upload-concat"), concat);
        assert_eq!(answer.header("upload-length"), bytes.len().to_string());
        assert_eq!(up.patch(&target, bytes.len() + 1, b"x").await.status, 403);
        up.assert_clean(&[&made.source.key]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_video_is_refused_before_it_is_kept() {
    for up in Uploading::both(&[("SEEKWAY_UPLOAD_TYPES", "mp4,png")]).await {
        let mut webm = vec![0x1a, 0x45, 0xdf, 0xa3, 0x87, 0x42, 0x82, 0x84];
        webm.extend(b"webm");
        for (what, mut bytes) in [
            ("a playlist", b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n/etc/passwd\n".to_vec()),
            ("a page", b"<html><script>alert(1)</script>".to_vec()),
            ("a container that is not allowed here", webm),
            ("a picture", b"\x89PNG\r\n\x1a\n".to_vec()),
        ] {
            bytes.resize(10 * MIB, b' ');
            // `a.mp4`, `video/mp4`
            let metadata = ("Upload-Metadata", "filename YS5tcDQ=,filetype dmlkZW8vbXA0");
            let target = up.create(&[("Upload-Length", &bytes.len().to_string()), metadata]).await;
            let answer = up.patch(&target, 0, &bytes).await;
            assert_eq!(answer.status, 415, "{what}: {answer:?}");
            assert!(answer.problem()["detail"].as_str().expect("text").contains("mp4"), "{answer:?}");
            up.assert_clean(&[]).await;
            let told = up.ask("HEAD", &target, &[TUS], b"").await;
            assert_eq!(told.status, 422, "the client learns why: {told:?}");
        }
        // A watermark is a picture, and nothing else.
        let bytes = [b"\x89PNG\r\n\x1a\n".as_slice(), &[7; 1000]].concat();
        let purpose = ("Upload-Metadata", "purpose d2F0ZXJtYXJr,filename bG9nby5wbmc=");
        let target = up.create(&[("Upload-Length", &bytes.len().to_string()), purpose]).await;
        let answer = up.patch(&target, 0, &bytes).await;
        assert!(answer.header("content-location").starts_with("/api/assets/"), "{answer:?}");
        let keys = up.keys().await;
        assert!(
            keys.len() == 1 && keys[0].starts_with("assets/") && keys[0].ends_with("-logo.png"),
            "{keys:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_make_no_sense_are_told_so() {
    let up = Uploading::embedded(&[("SEEKWAY_UPLOAD_BYTES_MAX", "1MiB")]).await;
    let create = async |headers: &[(&str, &str)]| up.ask("POST", "/api/uploads", headers, b"").await;
    for (headers, status) in [
        (&[("Upload-Length", "5")][..], 412),
        (&[("Tus-Resumable", "0.2.2"), ("Upload-Length", "5")], 412),
        (&[TUS], 400),
        (&[TUS, ("Upload-Length", "-5")], 400),
        (&[TUS, ("Upload-Length", "5e3")], 400),
        (&[TUS, ("Upload-Length", "99999999999999999999999")], 400),
        (&[TUS, ("Upload-Length", "5"), ("Upload-Defer-Length", "1")], 400),
        (&[TUS, ("Upload-Defer-Length", "2")], 400),
        (&[TUS, ("Upload-Length", "5"), ("Upload-Metadata", "a ?")], 400),
        (&[TUS, ("Upload-Length", "0")], 422),
        (&[TUS, ("Upload-Length", "1048577")], 413),
        (&[TUS, ("Upload-Concat", "final;/api/uploads/nothing")], 400),
        (&[TUS, ("Upload-Concat", "final;/api/uploads/00000000-0000-4000-8000-000000000000")], 404),
    ] {
        let answer = create(headers).await;
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
        assert!(!answer.problem()["detail"].as_str().expect("text").is_empty());
    }
    let target = up.create(&[("Upload-Defer-Length", "1")]).await;
    for (method, headers, status) in [
        ("PATCH", &[TUS, ("Upload-Offset", "0")][..], 415),
        ("PATCH", &[TUS, BYTES], 400),
        ("PATCH", &[BYTES, ("Upload-Offset", "0")], 412),
        ("PUT", &[TUS], 405),
        ("POST", &[TUS], 405),
        ("POST", &[TUS, ("X-HTTP-Method-Override", "HEAD")], 200),
    ] {
        let answer = up.ask(method, &target, headers, b"").await;
        assert_eq!(answer.status, status, "{method} {headers:?}: {answer:?}");
    }
    let long = up.patch(&target, 0, &vec![0; MIB + 1]).await;
    assert_eq!(long.status, 413, "{long:?}");
    for missing in
        ["/api/uploads/00000000-0000-4000-8000-000000000000", "/api/uploads/x", "/api/uploads/../x"]
    {
        assert_eq!(up.ask("HEAD", missing, &[TUS], b"").await.status, 404, "{missing}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_creation_is_one_upload() {
    for up in Uploading::both(&[]).await {
        let headers = [TUS, ("Upload-Length", "1000"), ("Idempotency-Key", "abc")];
        let first = up.ask("POST", "/api/uploads", &headers, b"").await;
        let again = up.ask("POST", "/api/uploads", &headers, b"").await;
        assert_eq!((first.status, again.status), (201, 201));
        assert_eq!(first.header("location"), again.header("location"));
        let other = [TUS, ("Upload-Length", "1001"), ("Idempotency-Key", "abc")];
        let other = up.ask("POST", "/api/uploads", &other, b"").await;
        assert_eq!(other.status, 409, "{other:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_learn_what_they_may_do() {
    let up = Uploading::embedded(&[]).await;
    let preflight = [("Origin", "https://site.example"), ("Access-Control-Request-Method", "PATCH")];
    let answer = up.ask("OPTIONS", "/api/uploads", &preflight, b"").await;
    assert_eq!(answer.status, 204);
    assert_eq!((answer.header("tus-version"), answer.header("tus-resumable")), ("1.0.0", "1.0.0"));
    assert!(answer.header("tus-extension").split(',').any(|name| name == "concatenation"));
    assert_eq!(answer.header("tus-max-size"), (64_u64 << 30).to_string());
    assert_eq!(answer.header("tus-checksum-algorithm"), "sha256,sha1,md5");
    let allowed = answer.header("access-control-allow-headers").to_owned();
    for name in ["Upload-Offset", "Tus-Resumable", "Upload-Metadata", "Upload-Checksum", "Content-Type"] {
        assert!(allowed.split(", ").any(|allowed| allowed == name), "{name} in {allowed}");
    }
    assert!(answer.header("access-control-allow-methods").contains("PATCH"));
    let answer = up.ask("POST", "/api/uploads", &[TUS, ("Upload-Length", "9"), preflight[0]], b"").await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert!(answer.header("access-control-expose-headers").contains("Location"));
}

/// Where only this machine may upload, neither a page of another site nor a proxy's client does.
#[tokio::test(flavor = "multi_thread")]
async fn uploading_is_for_this_machine_by_default() {
    let up = Uploading::embedded(&[("SEEKWAY_UPLOADS", "auto")]).await;
    let create = [TUS, ("Upload-Length", "9")];
    let ask = async |more: &[(&str, &str)]| {
        let mut wire = up.stand().connect().await;
        let head = more
            .iter()
            .chain(&create)
            .fold(String::new(), |head, (name, value)| head + name + ": " + value + "\r\n");
        wire.send(format!("POST /api/uploads HTTP/1.1\r\n{head}\r\n")).await;
        wire.answer("POST").await.status
    };
    assert_eq!(ask(&[("Host", "localhost")]).await, 201);
    assert_eq!(ask(&[("Host", "localhost:8080"), ("Origin", "http://localhost:8080")]).await, 201);
    assert_eq!(ask(&[("Host", "localhost"), ("Origin", "https://evil.example")]).await, 403);
    assert_eq!(ask(&[("Host", "evil.example")]).await, 403);
    assert_eq!(ask(&[("Host", "localhost"), ("X-Forwarded-For", "192.0.2.1")]).await, 403);
}
