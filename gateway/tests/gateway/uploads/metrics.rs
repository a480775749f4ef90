//! What `/metrics` says of uploads.
#![expect(clippy::float_cmp, reason = "counts are whole numbers, which floats hold as they are")]

use serde_json::json;

use super::direct::{put, say};
use super::form::{FORM, form};
use super::stand::{MIB, TUS, Uploading, video};
use crate::metrics::{Page, page_with};

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_counted_by_the_way_they_came_in() {
    let up = Uploading::served(&[]).await;
    let bytes = video(90, 9 * MIB);
    up.upload(&bytes).await;
    // In two pieces.
    let mut pieces = Vec::new();
    for piece in bytes.chunks(5 * MIB) {
        let length = piece.len().to_string();
        let target = up.create(&[("Upload-Length", &length), ("Upload-Concat", "partial")]).await;
        assert_eq!(up.patch(&target, 0, piece).await.status, 204);
        pieces.push(target);
    }
    let concat = format!("final;{}", pieces.join(" "));
    let made = up.ask("POST", "/api/uploads", &[TUS, ("Upload-Concat", &concat)], b"").await;
    assert_eq!(made.status, 201, "{made:?}");
    // Not wanted any more, and not taken.
    let unwanted = up.create(&[("Upload-Length", "1000")]).await;
    assert_eq!(up.ask("DELETE", &unwanted, &[TUS], b"").await.status, 204);
    let page = b"<html>".repeat(100);
    let refused = up.create(&[("Upload-Length", "600")]).await;
    assert_eq!(up.patch(&refused, 0, &page).await.status, 415);
    // The other ways.
    let draft = [("Upload-Draft-Interop-Version", "8"), ("Upload-Complete", "?1")];
    assert_eq!(up.ask("POST", "/api/uploads", &draft, &bytes[..MIB]).await.status, 201);
    let fields = form(&[("name=\"file\"; filename=\"film.mp4\"", &bytes[..2 * MIB])]);
    assert_eq!(up.ask("POST", "/api/videos", &[FORM], &fields).await.status, 201);
    let new = json!({"name": "direct.mp4", "length": 3 * MIB});
    let (answer, _) = say(&up, "POST", "/api/uploads/direct", &new).await;
    let target = answer.header("location").to_owned();
    let early = say(&up, "POST", &format!("{target}/complete"), &json!({})).await;
    assert_eq!(early.0.status, 409);
    let (_, signed) = say(&up, "POST", &format!("{target}/parts"), &json!({"numbers": [1]})).await;
    assert_eq!(put(&signed["parts"][0], &bytes[..3 * MIB]).await.0, 200);
    assert_eq!(say(&up, "POST", &format!("{target}/complete"), &json!({})).await.0.status, 200);

    let page = Page::of(up.stand()).await;
    let each = |tus| {
        [("via=\"direct\"", 1.0), ("via=\"form\"", 1.0), ("via=\"resumable\"", 1.0), ("via=\"tus\"", tus)]
    };
    assert_eq!(page.nonzero("seekway_uploads_begun_total"), each(6.0));
    assert_eq!(
        page.nonzero("seekway_uploads_ended_total"),
        [
            ("via=\"direct\",outcome=\"completed\"", 1.0),
            ("via=\"form\",outcome=\"completed\"", 1.0),
            ("via=\"resumable\",outcome=\"completed\"", 1.0),
            ("via=\"tus\",outcome=\"completed\"", 2.0),
            ("via=\"tus\",outcome=\"joined\"", 2.0),
            ("via=\"tus\",outcome=\"refused\"", 1.0),
            ("via=\"tus\",outcome=\"terminated\"", 1.0),
        ]
    );
    assert_eq!(
        page.nonzero("seekway_upload_failures_total"),
        [("via=\"direct\",reason=\"refused\"", 1.0), ("via=\"tus\",reason=\"type\"", 1.0)]
    );
    let mib = |count: u32| f64::from(count << 20);
    assert_eq!(
        page.nonzero("seekway_upload_received_bytes_total"),
        [
            ("via=\"direct\"", mib(3)),
            ("via=\"form\"", mib(2)),
            ("via=\"resumable\"", mib(1)),
            ("via=\"tus\"", mib(18) + 600.0),
        ]
    );
    // Two of the first, one of each piece, two of what they became, one of each that was short.
    assert_eq!(page.get("seekway_upload_part_seconds_count"), 8.0);
    assert_eq!(page.nonzero("seekway_uploads_writing"), []);
    assert_eq!(page.get("seekway_upload_memory_in_use_bytes"), 0.0);
    assert_eq!(page.get("seekway_upload_memory_capacity_bytes"), mib(128));
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_under_way_and_their_memory_are_counted() {
    for up in Uploading::both(&[]).await {
        let target = up.create(&[("Upload-Length", "5000000")]).await;
        let mut wire = up.begin_patch(&target, 0, 5_000_000).await;
        wire.send(&video(91, MIB)).await;
        let page =
            page_with(up.stand(), "seekway_upload_received_bytes_total{via=\"tus\"}", 1_048_576.0).await;
        assert_eq!(page.nonzero("seekway_uploads_writing"), [("via=\"tus\"", 1.0)]);
        assert_eq!(page.get("seekway_upload_memory_in_use_bytes"), 5_000_000.0);
        // Another one leaves a buffer behind, for as long as somebody may want it.
        up.upload(&video(92, 16 * MIB)).await;
        let spare = Page::of(up.stand()).await.get("seekway_upload_memory_spare_bytes");
        assert!((8_388_608.0..=16_777_216.0).contains(&spare), "{spare}");
        drop(wire);
        let failed = "seekway_upload_failures_total{via=\"tus\",reason=\"interrupted\"}";
        page_with(up.stand(), failed, 1.0).await;
        let page = page_with(up.stand(), "seekway_upload_memory_spare_bytes", 0.0).await;
        assert_eq!(page.get("seekway_upload_memory_in_use_bytes"), 0.0);
        assert_eq!(page.nonzero("seekway_uploads_writing"), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_uploads_are_counted() {
    for up in Uploading::both(&[("SEEKWAY_UPLOAD_EXPIRY", "1s")]).await {
        up.create(&[("Upload-Length", "5000000")]).await;
        let expired = "seekway_uploads_ended_total{via=\"tus\",outcome=\"expired\"}";
        let page = page_with(up.stand(), expired, 1.0).await;
        assert_eq!(page.get("seekway_uploads_swept_total{left=\"expired\"}"), 1.0);
    }
}
