//! Bodies: paced, cut, stopped or switched where the plan says so.

use std::{
    io,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};

use super::{
    connection::{Connection, InFlight},
    objects::{Object, Running, Stored},
};

pub(super) type Body = UnsyncBoxBody<Bytes, Cut>;

/// A paced body goes out in pieces of this size: a third of a millisecond at 50 MB/s.
const PACED_PIECE_BYTES: u64 = 16 * 1024;
const PIECE_BYTES: u64 = 64 * 1024;
/// A body that fell behind its pace, because a timer was late or its reader slow, catches up this much.
const CATCH_UP: Duration = Duration::from_millis(5);

/// The connection ends before the answer does.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cut {
    #[error("the origin closes the connection here on purpose")]
    OnPurpose,
    #[error("the origin's timer failed: {0}")]
    Timer(#[from] io::Error),
}

/// The part of an object that an answer sends, and what happens on the way.
pub(super) struct Sending {
    pub(super) connection: Arc<Connection>,
    pub(super) request: InFlight,
    pub(super) stored: Arc<Stored>,
    pub(super) range: Range<u64>,
    pub(super) bytes_per_second: Option<u64>,
    pub(super) truncate_after: Option<u64>,
    pub(super) hang_after: Option<u64>,
    pub(super) replace: Option<(u64, Object, Running)>,
}

/// A short body: an error's XML, a list, or nothing.
pub(super) fn short(text: impl Into<Bytes>, request: InFlight) -> Body {
    // The request is over when its body is; there is nothing to wait for in this one.
    drop(request);
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

// === impl Sending ===

impl Sending {
    pub(super) fn into_body(self) -> Body {
        self.connection.begin_pace();
        let state = Progress { sent: 0, ended: false, sending: self };
        StreamBody::new(stream::unfold(state, Progress::next)).boxed_unsync()
    }

    fn len(&self) -> u64 {
        self.range.end - self.range.start
    }
}

struct Progress {
    sent: u64,
    ended: bool,
    sending: Sending,
}

impl Progress {
    async fn next(mut self) -> Option<(Result<Frame<Bytes>, Cut>, Self)> {
        if self.ended {
            return None;
        }
        match self.piece().await {
            Ok(None) => None,
            Ok(Some(piece)) => Some((Ok(Frame::data(piece)), self)),
            Err(cut) => {
                self.ended = true;
                Some((Err(cut), self))
            }
        }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, Cut> {
        let sent = self.sent;
        let Self { sending, .. } = self;
        if sending.replace.as_ref().is_some_and(|(after, ..)| *after == sent) {
            let (_, object, running) = sending.replace.take().expect("just seen");
            sending.request.replace_object(object, running);
        }
        if sending.hang_after == Some(sent) {
            sending.hang_after = None;
            sending.request.hang().await;
        }
        if sending.truncate_after == Some(sent) {
            // What was sent so far must reach the client, or the cut would be somewhere before.
            sending.connection.flushed().await;
            return Err(Cut::OnPurpose);
        }
        if sent == sending.len() {
            return Ok(None);
        }

        let rate = sending.bytes_per_second.or_else(|| sending.connection.shared().shape_rate());
        let mut end = sent + if rate.is_some() { PACED_PIECE_BYTES } else { PIECE_BYTES };
        // A piece ends where something happens.
        let replace_after = sending.replace.as_ref().map(|(after, ..)| *after);
        for stop in [Some(sending.len()), sending.truncate_after, sending.hang_after, replace_after] {
            end = end.min(stop.filter(|stop| *stop > sent).unwrap_or(end));
        }
        let len = end - sent;
        if let Some(bytes_per_second) = rate {
            sending.connection.pace(len, bytes_per_second).await?;
        }
        let len = usize::try_from(len).expect("a piece is short");
        let piece = sending.stored.read(sending.range.start + sent, len);
        if piece.len() < len {
            // The object was switched for a shorter one.
            sending.connection.flushed().await;
            return Err(Cut::OnPurpose);
        }
        sending.request.sent(piece.len() as u64);
        self.sent += piece.len() as u64;
        Ok(Some(piece))
    }
}

// === impl Pace ===

/// When the next piece of a connection's current body is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace(Instant);

impl Pace {
    /// The first piece is due at once: the latency before it is the shape's.
    pub(super) fn begin() -> Self {
        Self(Instant::now())
    }

    /// When a piece may leave: once those before it have had their time.
    pub(super) fn due(&mut self, bytes: u64, bytes_per_second: u64) -> Instant {
        let earliest = Instant::now().checked_sub(CATCH_UP).unwrap_or(self.0);
        let due = self.0.max(earliest);
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(bytes_per_second.max(1));
        // A day is as good as never here, and cannot overflow an `Instant`.
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        self.0 = due + Duration::from_nanos(nanos).min(Duration::from_hours(24));
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_gives_each_byte_its_time_and_the_first_none() {
        let begin = Instant::now();
        let mut pace = Pace::begin();
        let dues: Vec<Instant> = (0..1000).map(|_| pace.due(10_000, 1_000_000)).collect();
        assert!(dues[0] <= Instant::now());
        // 999 pieces of 10 ms each; only the catch-up can be missing, when this test was stopped in between.
        let last = dues[999] - begin;
        assert!(last >= Duration::from_millis(9_990) && last < Duration::from_secs(20), "{last:?}");
        assert!(dues.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(10)));
    }
}
