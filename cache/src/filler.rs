//! The filler: the task that brings a fill's bytes from the store.
//!
//! It belongs to nobody but the cache, so it outlives any one reader. A body that breaks is resumed at the
//! byte where it broke, from the same version, and readers do not notice. When all readers have left, a
//! fill that is nearly done has [`FINISH`] to do so, since the rest costs less than starting over; another goes
//! on for [`GRACE`], in case a seek comes back. Then they stop.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use seekway_storage::ByteStream;
use tokio::time::{Instant, sleep};
use tracing::{Instrument, debug, debug_span, warn};

use crate::Inner;
use crate::error::Error;
use crate::fill::{Fill, FillWriter, Follower, Upstream};
use crate::memory::{self, Kept, READ, UNREAD};
use crate::metadata::OpenObject;
use crate::redis::Next;
use crate::segment::SegmentRef;

/// How long an abandoned fill goes on.
pub(crate) const GRACE: Duration = Duration::from_millis(250);
/// How long one goes on that is nearly done: longer is a store that hangs.
const FINISH: Duration = Duration::from_secs(1);
/// An abandoned fill that seems to need no longer than this is nearly done.
const NEARLY_DONE: Duration = Duration::from_millis(20);
/// Breaks in a row, without a byte in between, that a fill survives.
const BREAKS_IN_A_ROW_MAX: u32 = 3;
/// Breaks that a fill survives in all: an origin that sends a few bytes at a time is broken, too.
const BREAKS_MAX: u32 = 20;
/// The first pause after a break; each one after it is twice as long.
const BACKOFF: Duration = Duration::from_millis(20);

/// Starts the task of a new fill for its first follower.
pub(crate) fn spawn(
    inner: &Arc<Inner>,
    object: &Arc<OpenObject>,
    writer: FillWriter<Error>,
) -> Follower<Error> {
    let follower = writer.fill().attach().expect("a fill that just started is running");
    spawn_with(inner, object, writer, None);
    follower
}

/// The same for whoever comes first. `body` is the fill's first answer where it is already open.
pub(crate) fn spawn_with(
    inner: &Arc<Inner>,
    object: &Arc<OpenObject>,
    writer: FillWriter<Error>,
    body: Option<ByteStream>,
) {
    inner.counters.fills_started.increment();
    let span = debug_span!("fill", key = %object.identity.key, range = ?writer.fill().range());
    inner.tasks.spawn(run(inner.clone(), object.clone(), writer, body).instrument(span));
}

async fn run(
    inner: Arc<Inner>,
    object: Arc<OpenObject>,
    mut writer: FillWriter<Error>,
    body: Option<ByteStream>,
) {
    let (fill, started) = (writer.fill().clone(), Instant::now());
    let outcome = tokio::select! {
        outcome = bring(&inner, &object, &mut writer, body) => Some(outcome),
        () = abandoned(&inner, &fill) => None,
        () = inner.cancel.cancelled() => None,
    };
    match outcome {
        Some(Ok(())) => {
            inner.counters.fill_times.observe(started.elapsed());
            writer.finish();
        }
        Some(Err(error)) => {
            inner.counters.fills_failed.increment();
            let key = &object.identity.key;
            if error.version_changed() || error.is_not_found() {
                debug!(%key, "the object has changed");
                inner.metadata.forget(&object.identity);
            } else {
                warn!(%key, range = ?fill.range(), landed = writer.landed(), error = %error.chain(), "fill failed");
            }
            writer.fail(Error::Store(error));
        }
        None => {
            inner.counters.fills_stopped.increment();
            drop(writer);
        }
    }
    // Only now: whoever looks for a running fill and finds none must find the segments in memory.
    inner.fills.remove(&object.identity, &fill);
    drop(fill);
    inner.fills.give_way(&inner.budget);
}

/// Lands all of the fill's bytes, from the shared tier where it has them or will soon, else from the store.
async fn bring(
    inner: &Inner,
    object: &OpenObject,
    writer: &mut FillWriter<Error>,
    mut body: Option<ByteStream>,
) -> Result<(), seekway_storage::Error> {
    let end = writer.fill().range().end;
    let mut pass = inner.redis.as_ref().map(|redis| redis.pass(&object.identity));
    while writer.landed() < end {
        let next = match &mut pass {
            Some(pass) if body.is_none() => pass.next(writer.landed()..end).await,
            _ => Next::Fetch(end),
        };
        match next {
            Next::Land(segments) => {
                for segment in segments {
                    inner.counters.redis_segments_read.increment();
                    inner.counters.redis_read_bytes.add(segment.len() as u64);
                    land(inner, object, writer, &segment, Upstream::Redis);
                }
            }
            Next::Fetch(end) => fetch(inner, object, writer, end, body.take()).await?,
        }
    }
    Ok(())
}

/// Lands the bytes up to `end` from the store, resuming as often as the limits allow. `body` is its first answer
/// where that is already open.
async fn fetch(
    inner: &Inner,
    object: &OpenObject,
    writer: &mut FillWriter<Error>,
    end: u64,
    mut body: Option<ByteStream>,
) -> Result<(), seekway_storage::Error> {
    let start = writer.landed();
    let (mut breaks, mut breaks_in_a_row) = (0, 0);
    loop {
        let before = writer.landed();
        let opened = if let Some(body) = body.take() {
            Ok(body)
        } else {
            let asked = Instant::now();
            let opened = inner.store.get(&object.identity.key, before..end, Some(&object.object)).await;
            if opened.is_ok() {
                inner.store_answered(asked);
            }
            opened.map(|get| get.body)
        };
        let error = match opened {
            Ok(body) => match pump(inner, object, writer, end, body).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            },
            // The store has its own retries for requests that never got an answer.
            Err(error) if before == start => return Err(error),
            Err(error) => error,
        };
        breaks += 1;
        breaks_in_a_row = if writer.landed() > before { 1 } else { breaks_in_a_row + 1 };
        if !error.is_retryable() || breaks_in_a_row > BREAKS_IN_A_ROW_MAX || breaks > BREAKS_MAX {
            return Err(error);
        }
        inner.counters.fills_resumed.increment();
        debug!(error = %error.chain(), landed = writer.landed(), "resuming a broken body");
        sleep(BACKOFF.mul_f64(f64::from(1 << breaks_in_a_row) * (0.5 + fastrand::f64() / 2.0))).await;
    }
}

async fn pump(
    inner: &Inner,
    object: &OpenObject,
    writer: &mut FillWriter<Error>,
    end: u64,
    mut body: ByteStream,
) -> Result<(), seekway_storage::Error> {
    let mut missing = end - writer.landed();
    while missing > 0 {
        let Some(chunk) = body.next().await.transpose()? else {
            return Err(seekway_storage::Error::Protocol(format!("the body ended {missing} bytes early")));
        };
        // A run that was cut short at a segment someone else brings has a longer body than it needs.
        let take = usize::try_from(missing).map_or(chunk.len(), |missing| missing.min(chunk.len()));
        land(inner, object, writer, &chunk[..take], Upstream::Store);
        inner.counters.store_bytes.add(chunk.len() as u64);
        missing -= take as u64;
    }
    Ok(())
}

/// Lands `bytes`, and keeps the segments that they complete.
fn land(inner: &Inner, object: &OpenObject, writer: &mut FillWriter<Error>, bytes: &[u8], from: Upstream) {
    for (index, segment) in writer.land(bytes, from) {
        let place = SegmentRef { identity: &object.identity, index };
        let shared_since = match from {
            Upstream::Redis => memory::now(),
            Upstream::Store if writer.fill().was_followed() => READ,
            Upstream::Store => UNREAD,
        };
        inner.counters.memory_inserts.increment();
        inner.memory.insert(place.to_key(), segment.clone(), shared_since);
        // After the insert: another replica's request looks at the fill first, and then into memory.
        if let Some(redis) = &inner.redis
            && from == Upstream::Store
            && writer.fill().is_shared()
        {
            // Memory may have refused it.
            let kept = inner.memory.get(place).unwrap_or_else(|| Kept::new(segment, READ));
            redis.write_once(place, &kept);
        }
    }
}

/// Completes when the fill was stopped because nobody wants it.
async fn abandoned(inner: &Inner, fill: &Fill<Error>) {
    let (started, total) = (Instant::now(), fill.remaining());
    let nearly_done = || {
        let remaining = fill.remaining();
        let to_go = started.elapsed().as_secs_f64() * ratio(remaining, total - remaining);
        remaining <= inner.segmentation.segment_bytes() || to_go <= NEARLY_DONE.as_secs_f64()
    };
    loop {
        let followers_ever = poll_fn(|cx| fill.poll_abandoned(cx)).await;
        let was_nearly_done = nearly_done();
        tokio::select! {
            () = sleep(if was_nearly_done { FINISH } else { GRACE }) => {}
            () = poll_fn(|cx| fill.poll_joined(followers_ever, cx)) => continue,
        }
        if nearly_done() && !was_nearly_done {
            continue;
        }
        if fill.stop_if_abandoned(followers_ever) {
            return;
        }
    }
}

#[allow(clippy::cast_precision_loss)] // An estimate of time.
fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b as f64
}
