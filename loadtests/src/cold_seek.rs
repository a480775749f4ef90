//! How long a viewer waits after a jump to a place that no cache has, and how fast playing on then is.
//!
//! Seeks are 64 KiB reads at offsets aligned to nothing, each in a stretch of the object of its own, so no
//! fill of one can serve another. The same offsets are read from the origin directly and through the gateway,
//! in turns, so that a busy moment of the machine hits both. Every byte is checked.

use std::{net::SocketAddr, ops::Range, time::Duration};

use hdrhistogram::Histogram;
use http::{StatusCode, header};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::{
    Error,
    client::{Answer, Client},
    origin::{Counts, Origin},
    pattern,
    report::{ColdSeekReport, Latency, Sequential},
};

/// The bucket of the objects; both servers have it as the first segment of the path.
pub const BUCKET: &str = "media";
const SEEK_KEY: &str = "cold-seek.mp4";
const SEEK_SEED: u64 = 0x5EEC;
/// The seeks are split into this many turns of origin and gateway.
pub(crate) const ROUNDS: usize = 8;
/// Read once by every connection before anything is measured, at the end of the object.
const WARM_UP_BYTES: u64 = 1024;
/// Between two seeks, so that reading ahead of one does not warm the other.
const GAP_BYTES: u64 = 1 << 20;
/// What is left to come after this is no request's business any more.
const SETTLED_WITHIN: Duration = Duration::from_secs(3);
/// No answer takes longer than the limit on its whole request.
const TTFB_MICROS_MAX: u64 = 60_000_000;
const REQUEST_MAX: Duration = Duration::from_mins(1);

/// How much is read.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Scenario {
    /// Size of the object that is seeked in.
    pub object_bytes: u64,
    /// How many seeks.
    pub seeks: usize,
    /// Length of a seek's read.
    pub seek_bytes: u64,
    /// Over how many connections, each with one seek at a time.
    pub connections: usize,
    /// Length of a sequential read, of an object of its own.
    pub sequential_bytes: u64,
    /// How many of those; the report has their median.
    pub sequential_runs: usize,
    /// Chooses the offsets.
    pub seed: u64,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            object_bytes: 1 << 30,
            seeks: 400,
            seek_bytes: 64 * 1024,
            connections: 4,
            sequential_bytes: 100_000_000,
            sequential_runs: 3,
            seed: 1,
        }
    }
}

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Origin,
    Gateway,
}

/// Puts the scenario's objects into `origin`. To be done before a gateway starts.
pub fn prepare(origin: &Origin, scenario: &Scenario) {
    origin.put_pattern(BUCKET, SEEK_KEY, scenario.object_bytes, SEEK_SEED);
    for run in 0..scenario.sequential_runs {
        origin.put_pattern(BUCKET, &sequential_key(run), scenario.sequential_bytes, sequential_seed(run));
    }
}

/// Runs the scenario against `origin` and against the gateway at `gateway`, which must be cold and read from
/// that origin. Nobody else may use the origin meanwhile. Shows its progress on standard error when that is a
/// terminal.
pub async fn run(origin: &Origin, gateway: SocketAddr, scenario: &Scenario) -> Result<ColdSeekReport, Error> {
    assert!(scenario.connections > 0 && scenario.sequential_runs > 0, "nothing to measure: {scenario:?}");
    let offsets = seek_offsets(scenario)?;
    let progress = progress_bar(offsets.len() * 2 + scenario.sequential_runs * 2);

    progress.set_message("seeking");
    let mut direct = Seeks::connect(Side::Origin, origin.address(), scenario).await?;
    let mut through = Seeks::connect(Side::Gateway, gateway, scenario).await?;
    settle(origin).await;
    let mut seek_traffic = Counts::default();
    for (round, offsets) in offsets.chunks(offsets.len().div_ceil(ROUNDS)).enumerate() {
        // Neither side is always the second.
        let direct_first = round % 2 == 0;
        if direct_first {
            direct.round(offsets, scenario, &progress).await?;
            settle(origin).await;
        }
        origin.reset_counts();
        through.round(offsets, scenario, &progress).await?;
        let counts = settle(origin).await;
        seek_traffic.gets += counts.gets;
        seek_traffic.body_bytes += counts.body_bytes;
        if !direct_first {
            direct.round(offsets, scenario, &progress).await?;
            settle(origin).await;
        }
    }

    progress.set_message("reading on");
    let mut sequential = Vec::new();
    for run in 0..scenario.sequential_runs {
        sequential.push(read_sequentially(origin, gateway, run, scenario, &progress).await?);
    }
    progress.finish_and_clear();

    let delivered = offsets.len() as u64 * scenario.seek_bytes;
    Ok(ColdSeekReport::new(
        *scenario,
        origin.shape(),
        Latency::of(&direct.ttfb),
        Latency::of(&through.ttfb),
        seek_traffic,
        delivered,
        Sequential::median(sequential),
    ))
}

/// One side's connections, and the times to the first byte that they saw, in microseconds.
pub(crate) struct Seeks {
    side: Side,
    clients: Vec<Client>,
    pub(crate) ttfb: Histogram<u64>,
}

// === impl Seeks ===

impl Seeks {
    /// Opens the connections and sends a request on each at once, so that what is behind a gateway has its
    /// connections too, and knows the object.
    pub(crate) async fn connect(side: Side, address: SocketAddr, scenario: &Scenario) -> Result<Self, Error> {
        let ttfb = Histogram::new_with_max(TTFB_MICROS_MAX, 3).expect("the bounds are valid");
        let mut seeks = Self { side, clients: Vec::new(), ttfb };
        for _ in 0..scenario.connections {
            seeks.clients.push(Client::connect(address).await?);
        }
        let warm_up = scenario.object_bytes - WARM_UP_BYTES..scenario.object_bytes;
        let reads = seeks.clients.iter_mut().map(|client| read(side, client, SEEK_KEY, SEEK_SEED, &warm_up));
        futures_util::future::try_join_all(reads).await?;
        Ok(seeks)
    }

    pub(crate) async fn round(
        &mut self,
        offsets: &[u64],
        scenario: &Scenario,
        progress: &ProgressBar,
    ) -> Result<(), Error> {
        let (side, lanes) = (self.side, self.clients.len());
        let seeks = self.clients.iter_mut().enumerate().map(async |(lane, client)| {
            let mut answers = Vec::new();
            for offset in offsets.iter().skip(lane).step_by(lanes) {
                let range = *offset..offset + scenario.seek_bytes;
                answers.push(read(side, client, SEEK_KEY, SEEK_SEED, &range).await?);
                progress.inc(1);
            }
            Ok::<_, Error>(answers)
        });
        for answer in futures_util::future::try_join_all(seeks).await?.iter().flatten() {
            let micros = u64::try_from(answer.ttfb.as_micros()).unwrap_or(u64::MAX);
            self.ttfb.saturating_record(micros);
        }
        Ok(())
    }
}

async fn read_sequentially(
    origin: &Origin,
    gateway: SocketAddr,
    run: usize,
    scenario: &Scenario,
    progress: &ProgressBar,
) -> Result<Sequential, Error> {
    let whole = 0..scenario.sequential_bytes;
    let (key, seed) = (sequential_key(run), sequential_seed(run));
    let mut client = Client::connect(origin.address()).await?;
    let direct = read(Side::Origin, &mut client, &key, seed, &whole).await?;
    progress.inc(1);

    settle(origin).await;
    origin.reset_counts();
    let mut client = Client::connect(gateway).await?;
    let through = read(Side::Gateway, &mut client, &key, seed, &whole).await?;
    let counts = settle(origin).await;
    progress.inc(1);
    Ok(Sequential::new(scenario.sequential_bytes, direct.total, through.total, counts))
}

/// Reads `range` and checks everything about the answer.
async fn read(
    side: Side,
    client: &mut Client,
    key: &str,
    seed: u64,
    range: &Range<u64>,
) -> Result<Answer, Error> {
    let path = format!("/{BUCKET}/{key}");
    let request = || format!("GET {path} {range:?} ({side:?})");
    let mut wrong = None;
    let reading = client.get_range_with(&path, range.clone(), |offset, data| {
        wrong = wrong.or_else(|| pattern::verify(seed, range.start + offset, data));
    });
    let answer = tokio::time::timeout(REQUEST_MAX, reading)
        .await
        .map_err(|_| Error::Timeout { request: request(), limit: REQUEST_MAX })??;
    let content_range = answer.header(header::CONTENT_RANGE);
    let expected = format!("bytes {}-{}/", range.start, range.end - 1);
    if answer.status != StatusCode::PARTIAL_CONTENT || !content_range.starts_with(&expected) {
        let answer = format!("{} with Content-Range {content_range:?}", answer.status);
        return Err(Error::UnexpectedAnswer { request: request(), answer });
    }
    if let Some(offset) = wrong {
        return Err(Error::WrongByte { request: request(), offset });
    }
    if answer.bytes != range.end - range.start {
        let answer = format!("{} bytes", answer.bytes);
        return Err(Error::UnexpectedAnswer { request: request(), answer });
    }
    Ok(answer)
}

/// Waits until the origin has nothing left to send, so that what a gateway reads ahead is counted where it
/// belongs, and does not slow what is measured next.
pub(crate) async fn settle(origin: &Origin) -> Counts {
    let idle = origin.until(|counts| counts.in_flight == 0);
    match tokio::time::timeout(SETTLED_WITHIN, idle).await {
        Ok(Ok(counts)) => counts,
        Ok(Err(_)) | Err(_) => origin.counts(),
    }
}

/// One offset from each of as many equal stretches of the object as there are seeks, in random order.
pub(crate) fn seek_offsets(scenario: &Scenario) -> Result<Vec<u64>, Error> {
    let Scenario { object_bytes, seek_bytes, seed, .. } = *scenario;
    assert!(seek_bytes > 0 && scenario.seeks > 0, "nothing to measure: {scenario:?}");
    let seeks = scenario.seeks as u64;
    // The last stretch is the warm-up's.
    let stretch = object_bytes / (seeks + 1);
    let Some(choices) = stretch.checked_sub(seek_bytes + GAP_BYTES).filter(|choices| *choices > 0) else {
        let stretch_min = seek_bytes + GAP_BYTES + 1;
        let message = format!("{seeks} cold seeks need an object of {} bytes", (seeks + 1) * stretch_min);
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, message).into());
    };
    let mut offsets: Vec<u64> =
        (0..seeks).map(|index| index * stretch + pattern::draw(seed, index, choices)).collect();
    for end in (1..offsets.len()).rev() {
        let other = pattern::draw(seed ^ 1, end as u64, end as u64 + 1);
        offsets.swap(end, usize::try_from(other).expect("at most the index before it"));
    }
    Ok(offsets)
}

fn sequential_key(run: usize) -> String {
    format!("sequential-{run}.mp4")
}

fn sequential_seed(run: usize) -> u64 {
    SEEK_SEED + 1 + run as u64
}

pub(crate) fn progress_bar(steps: usize) -> ProgressBar {
    let template = "{msg:>12} [{bar:40}] {pos}/{len} {elapsed}";
    let style = ProgressStyle::with_template(template).expect("the template is valid").progress_chars("=> ");
    // It hides itself when standard error is no terminal.
    ProgressBar::new(steps as u64).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeks_are_unaligned_shuffled_and_far_from_each_other() {
        let scenario = Scenario::default();
        let offsets = seek_offsets(&scenario).unwrap();
        assert_eq!(offsets, seek_offsets(&scenario).unwrap(), "the same seed, the same seeks");
        assert_ne!(offsets, seek_offsets(&Scenario { seed: 2, ..scenario }).unwrap());
        assert!(offsets.windows(2).filter(|pair| pair[0] > pair[1]).count() > 100, "not in order");
        assert!(offsets.iter().filter(|offset| *offset % 4096 == 0).count() < 10, "not aligned");
        let mut sorted = offsets;
        sorted.sort_unstable();
        sorted.push(scenario.object_bytes - WARM_UP_BYTES);
        for pair in sorted.windows(2) {
            assert!(pair[1] - pair[0] >= scenario.seek_bytes + GAP_BYTES, "{pair:?}");
        }
        assert!(seek_offsets(&Scenario { seeks: 1000, ..scenario }).is_err(), "too many to be all cold");
    }
}
