//! A response body that keeps the books of its request: what was sent, how it ended, and whose turn it is.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::{Frame, SizeHint};

use crate::access_log::Entry;
use crate::admission::Admitted;
use crate::clients::pacing::Pace;
use crate::delivery::body::{BodyError, Payload};
use crate::delivery::slices::Slices;
use crate::metrics::Meter;
use crate::server::Answering;

/// A response body that keeps the books of its request until it is sent or dropped.
pub(crate) struct Tracked {
    payload: Payload,
    entry: Entry,
    meter: Meter,
    answering: Answering,
    admitted: Admitted,
    /// Why the body ends here, until that has been said.
    broken: Option<BodyError>,
}

// === impl Tracked ===

impl Tracked {
    /// The response with its body tracked from here on; the log and the metrics are told of its status.
    pub(crate) fn response(
        response: Response<Payload>,
        mut entry: Entry,
        mut meter: Meter,
        answering: Answering,
        admitted: Admitted,
    ) -> Response<Self> {
        meter.answered(response.status(), response.body().source());
        // Of what is made while it is sent, nothing was announced.
        entry.answered(response.status(), response.body().remaining().unwrap_or(0));
        response.map(|payload| Self { payload, entry, meter, answering, admitted, broken: None })
    }

    /// Bytes that were taken from the payload and wait for their turn.
    fn held(&self) -> u64 {
        self.admitted.pace.as_ref().map_or(0, Pace::held)
    }
}

impl http_body::Body for Tracked {
    type Data = Slices;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Slices>, BodyError>>> {
        let Self { payload, entry, meter, answering, admitted, broken } = &mut *self;
        if let Some(error) = broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        answering.is_blocked(false);
        let next = match &mut admitted.pace {
            None => ready!(payload.poll_next(cx, answering.room())),
            Some(pace) => {
                let step = pace.poll_step(cx, |cx| payload.poll_next(cx, 0));
                meter.paced(pace.take_waited());
                ready!(step)
            }
        };
        answering.is_blocked(matches!(next, Some(Ok(_))));
        match next {
            Some(Ok(slices)) => {
                entry.sent(slices.len());
                meter.sent(slices.len());
                Poll::Ready(Some(Ok(Frame::data(slices))))
            }
            Some(Err(error)) => {
                entry.broke(&error);
                // An error makes hyper drop all that it has not flushed: bytes of before, even the head (1.12,
                // `proto/h1/dispatch.rs`: the `?` behind `poll_write` in `poll_loop` passes by `poll_flush`). It
                // flushes when nothing is at hand, so the error comes a turn later.
                *broken = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held() == 0 && self.payload.remaining() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        match self.payload.remaining() {
            Some(remaining) => SizeHint::with_exact(self.held() + remaining),
            None => SizeHint::default(),
        }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        let outcome = self.entry.outcome(self.answering.is_stalled());
        self.meter.ended(outcome);
        self.entry.write(outcome);
    }
}
