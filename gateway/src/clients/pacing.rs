//! Bodies at a client's rate: in small steps, each at its turn, over all of the client's streams.
//!
//! A body that waits for its turn holds what a paused client holds, no more: it is not asked for its next
//! bytes. Its connection has nothing to write meanwhile, so it does not look stalled.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::time::{Instant, Sleep, sleep_until};

use super::limits::{Client, Clients};
use crate::delivery::slices::Slices;

/// Shorter waits are not worth a timer, which counts in milliseconds; the meter catches up.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// One body's place in its client's rate.
pub struct Pace {
    clients: Arc<Clients>,
    client: Arc<Client>,
    /// Bytes of the body whose turn has not come.
    rest: Bytes,
    /// As many of them have taken a turn.
    step: usize,
    /// Until it comes, and how long that is.
    wait: Option<(Pin<Box<Sleep>>, Duration)>,
    /// For how long steps have waited.
    waited: Duration,
}

// === impl Pace ===

impl Pace {
    /// A new body of `client`.
    pub fn new(clients: Arc<Clients>, client: Arc<Client>) -> Self {
        Self { clients, client, rest: Bytes::new(), step: 0, wait: None, waited: Duration::ZERO }
    }

    /// Bytes that were taken from the body and not yet sent.
    pub fn held(&self) -> u64 {
        self.rest.len() as u64
    }

    /// For how long steps were held back since this was last asked.
    pub fn take_waited(&mut self) -> Duration {
        std::mem::take(&mut self.waited)
    }

    /// The next step of the body that `next` yields, when its turn has come; `None` after its last.
    pub fn poll_step<E>(
        &mut self,
        cx: &mut Context<'_>,
        next: impl FnOnce(&mut Context<'_>) -> Poll<Option<Result<Slices, E>>>,
    ) -> Poll<Option<Result<Slices, E>>> {
        if self.rest.is_empty() {
            match ready!(next(cx)) {
                Some(Ok(mut slices)) => self.rest = slices.copy_to_bytes(slices.len()),
                end => return Poll::Ready(end),
            }
        }
        if self.step == 0 {
            self.step = self.rest.len().min(self.clients.step_bytes());
            let wait = self.clients.take_turn(&self.client, self.step);
            self.wait = (wait >= WAIT_MIN).then(|| (Box::pin(sleep_until(Instant::now() + wait)), wait));
        }
        if let Some((sleep, wait)) = &mut self.wait {
            ready!(sleep.as_mut().poll(cx));
            self.waited += *wait;
            self.wait = None;
        }
        Poll::Ready(Some(Ok(self.rest.split_to(std::mem::take(&mut self.step)).into())))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Instant as Clock;

    use super::super::limits::Limits;
    use super::*;

    fn clients(bytes_per_second: u64) -> Arc<Clients> {
        Clients::new(Limits { bytes_per_second, ..Limits::default() }).expect("limited")
    }

    /// Sends `chunks` and returns the size of each step, in order.
    async fn send(mut pace: Pace, mut chunks: Vec<Bytes>) -> Vec<usize> {
        let mut steps = Vec::new();
        loop {
            let step = poll_fn(|cx| {
                pace.poll_step(cx, |_| Poll::Ready(chunks.pop().map(|bytes| Ok::<_, ()>(bytes.into()))))
            })
            .await;
            let Some(step) = step else { return steps };
            steps.push(step.expect("no error").len());
        }
    }

    #[tokio::test]
    async fn bodies_are_cut_into_steps_and_lose_nothing() {
        let clients = clients(500_000_000);
        let client = clients.client([192, 0, 2, 1].into());
        let chunks = vec![Bytes::from(vec![0; 25_000_000]), Bytes::from_static(b"abc")];
        let steps = send(Pace::new(clients, client), chunks).await;
        assert_eq!(steps, [3, 10_000_000, 10_000_000, 5_000_000]);
    }

    /// No faster than the rate, whatever the machine does, but for what may be caught up with. (That it is not
    /// slower either depends on the machine.)
    #[tokio::test]
    async fn many_streams_share_one_rate() {
        let clients = clients(1_000_000);
        let begun = Clock::now();
        let streams = (0..10).map(|_| {
            let client = clients.client([192, 0, 2, 1].into());
            let pace = Pace::new(clients.clone(), client);
            send(pace, vec![Bytes::from(vec![0; 50_000])])
        });
        let steps = futures_util::future::join_all(streams).await;
        assert!(steps.iter().flatten().all(|step| *step <= 20_000), "{steps:?}");
        // The last step of 10 kB is sent at its beginning.
        assert!(begun.elapsed() >= Duration::from_millis(500 - 20 - 20), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_dropped_body_holds_nothing() {
        let clients = clients(1000);
        let client = clients.client([192, 0, 2, 1].into());
        let mut pace = Pace::new(clients.clone(), client.clone());
        let mut first = Some(Bytes::from(vec![0; 100_000]));
        let mut next = |_: &mut Context<'_>| Poll::Ready(first.take().map(|bytes| Ok::<_, ()>(bytes.into())));
        let sent = poll_fn(|cx| pace.poll_step(cx, &mut next)).await;
        assert_eq!(sent.expect("bytes").map(|slices| slices.len()), Ok(1024));
        assert!(futures_util::poll!(poll_fn(|cx| pace.poll_step(cx, &mut next))).is_pending());
        assert_eq!(pace.held(), 100_000 - 1024);
        drop(pace);
        assert_eq!(Arc::strong_count(&client), 2, "the table's and ours");
    }
}
