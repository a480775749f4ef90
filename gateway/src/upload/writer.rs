//! One writer of one upload: bytes come, parts go.
//!
//! It fills a buffer of one part while the part before it is on its way into the store. What is in the buffer is not
//! committed yet, so a client that stops sending has it committed as it is: as a part where it is long enough, else as a
//! **remainder**, an object of its own that the next writer reads back. That happens when the body ends or breaks, when
//! nothing came for a second, and when others have waited for the buffer's memory while this one fills slowly.
//!
//! With a checksum nothing is committed before it is known to hold. Parts go to the store meanwhile; if it does not hold
//! they are never listed, and vanish with the upload's end.

mod buffer;
mod judging;
mod storing;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use seekway_catalog::{Abort, Committed, Complete, Concat, Upload, UploadId, Via};
use seekway_storage::{ObjectKey, PART_BYTES_MIN};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::debug;

use super::digest::{Checksum, Running};
use super::registry::Place;
use super::sniff::{Container, SNIFF_BYTES};
use super::{Appended, Ask, Body, Inner, Refusal};
use crate::metrics::Writing;
use crate::respond::Problem;
use buffer::Buffer;
pub(super) use buffer::Spares;
use storing::Storing;

/// A client that has sent nothing for so long has what it sent committed: it may have vanished, and it will ask how far
/// we got. Doubled each time, up to [`SILENCE_MAX`], so that a slow client does not have the same bytes written for ever.
const SILENCE: Duration = Duration::from_secs(1);
const SILENCE_MAX: Duration = Duration::from_secs(32);
/// How long a slow client keeps a buffer that others wait for.
const TURN: Duration = Duration::from_secs(5);
/// How often the clocks above are looked at.
const TICK: Duration = Duration::from_millis(250);

/// See the module.
pub(super) struct Writer {
    inner: Arc<Inner>,
    upload: Upload,
    epoch: u64,
    key: ObjectKey,
    place: Place,
    /// Of all bytes up to `end`, where that is known.
    hash: Option<Running>,
    checksum: Option<Checksum>,
    is_sniffed: bool,
    /// Why these bytes are not taken, if the checksum says that they are what the client meant.
    refusal: Option<Refusal>,
    buffer: Option<Buffer>,
    /// Where the buffer begins: the end of all parts, also of the one on its way.
    start: u64,
    /// The end of what was taken from the client.
    end: u64,
    /// Bytes that are committed.
    safe: u64,
    storing: Option<Storing>,
    /// Parts that the store has and a checksum is still to vouch for.
    held: Vec<Committed>,
}

/// How a body ended.
enum End {
    Whole,
    Broken(Problem),
}

// === impl Writer ===

impl Writer {
    /// Appends what `body` yields to the upload.
    pub(super) async fn run(
        inner: Arc<Inner>,
        id: UploadId,
        body: Body,
        mut ask: Ask,
    ) -> Result<Appended, Problem> {
        let appending = inner.catalog.uploads().begin_append(id, ask.offset).await?;
        let place = inner.writers.enter(id, appending.epoch);
        let (epoch, via) = (appending.epoch, appending.upload.via);
        let _writing = Writing::begin(inner.metrics.clone(), via);
        let writer = Self::new(inner.clone(), appending.upload, place, ask.checksum.take())?;
        let written = writer.write(body, ask).await;
        if let Err(problem) = &written {
            inner.metrics.uploads.failed(via, problem);
        }
        // Nobody can go on with a form, but who sends it again may have taken it over.
        if let (Err(why), Via::Form) = (&written, via)
            && inner.catalog.uploads().reserve_part(id, epoch).await.is_ok()
            && let Err(problem) = inner.give_up(id, Abort::Terminated).await
        {
            debug!(%id, ?why, ?problem, "a form's upload stays");
        }
        written
    }

    async fn write(mut self, body: Body, ask: Ask) -> Result<Appended, Problem> {
        if let Some(length) = ask.length {
            self.has_length(length).await?;
        }
        if let Some(announced) = ask.announced {
            let end = self.end.saturating_add(announced);
            self.has_room(end)?;
            // A length that is known has its room.
            if self.upload.length.is_none() {
                self.inner.catalog.uploads().may_grow_to(self.upload.id, self.epoch, end).await?;
            }
        }
        if let End::Broken(why) = self.take_all(body).await? {
            debug!(id = %self.upload.id, end = self.end, ?why, "an upload was interrupted");
            if self.checksum.is_none() && self.upload.via != Via::Form {
                self.flush().await?;
            }
            return Err(why);
        }
        self.verify().await?;
        if let Some(title) = ask.title.get() {
            self.inner.catalog.uploads().set_title(self.upload.id, self.epoch, title).await?;
        }
        if ask.is_last {
            self.has_length(self.end).await?;
        }
        self.conclude().await
    }

    fn new(
        inner: Arc<Inner>,
        upload: Upload,
        place: Place,
        checksum: Option<Checksum>,
    ) -> Result<Self, Problem> {
        let key = ObjectKey::new(&upload.key).map_err(|_| Refusal::Gone)?;
        let hash = match &upload.hash_state {
            Some(state) => Running::resume(state),
            // Nobody asks for that of a piece.
            None => {
                (upload.offset == 0 && !matches!(upload.concat, Some(Concat::Partial))).then(Running::new)
            }
        };
        Ok(Self {
            inner,
            epoch: upload.epoch,
            key,
            place,
            hash,
            checksum,
            is_sniffed: judging::is_sniffed(&upload),
            refusal: None,
            buffer: None,
            start: upload.offset - upload.remainder_bytes,
            end: upload.offset,
            safe: upload.offset,
            storing: None,
            held: Vec::new(),
            upload,
        })
    }

    /// A piece of a concatenation: its bytes are objects of their own, and may be of any type.
    fn is_piece(&self) -> bool {
        matches!(self.upload.concat, Some(Concat::Partial))
    }

    fn bytes_max(&self) -> u64 {
        self.inner.limits.bytes_max(self.upload.purpose)
    }

    async fn has_length(&mut self, length: u64) -> Result<(), Problem> {
        let limit = self.bytes_max();
        if length > limit {
            return Err(Refusal::TooLarge { limit }.into());
        }
        if length == 0 && !self.is_piece() {
            return Err(Refusal::Empty.into());
        }
        if length < self.end {
            return Err(Refusal::Length.into());
        }
        self.inner.catalog.uploads().set_length(self.upload.id, self.epoch, length).await?;
        self.upload.length = Some(length);
        Ok(())
    }

    /// Whether the upload may be so long.
    fn has_room(&self, end: u64) -> Result<(), Problem> {
        if self.upload.length.is_some_and(|length| end > length) {
            return Err(Refusal::TooLong.into());
        }
        let limit = self.bytes_max();
        if end > limit { Err(Refusal::TooLarge { limit }.into()) } else { Ok(()) }
    }

    /// Takes bytes until there are no more, or the client is gone.
    async fn take_all(&mut self, mut body: Body) -> Result<End, Problem> {
        let mut rest = Bytes::new();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut heard, mut patience) = (Instant::now(), SILENCE);
        loop {
            if self.buffer.as_ref().is_some_and(Buffer::is_full) {
                self.store_buffer().await?;
                patience = SILENCE;
            }
            if self.buffer.is_none() {
                self.get_buffer().await?;
                // That was our time, not the client's.
                heard = Instant::now();
            }
            if !rest.is_empty() {
                self.take(&mut rest).await?;
                continue;
            }
            let Self { place, storing, inner, .. } = self;
            tokio::select! {
                biased;
                () = place.superseded.cancelled() => return Err(Refusal::TakenOver.into()),
                () = inner.ending.cancelled() => return Ok(End::Broken(Problem::NotReady)),
                chunk = body.next() => match chunk {
                    Some(Ok(bytes)) => {
                        heard = Instant::now();
                        rest = bytes;
                    }
                    Some(Err(error)) => {
                        debug!(%error, "the body broke off");
                        // Who takes a form apart knows more.
                        let why = error.downcast::<Refusal>().map_or(Refusal::Interrupted, |refusal| *refusal);
                        return Ok(End::Broken(why.into()));
                    }
                    None => return Ok(End::Whole),
                },
                stored = Storing::landed(storing) => self.commit(stored?).await?,
                _ = tick.tick() => {
                    if heard.elapsed() >= self.inner.limits.stall_timeout() {
                        return Ok(End::Broken(Refusal::Stalled.into()));
                    }
                    if heard.elapsed() >= patience && self.checksum.is_none() && self.end > self.safe {
                        self.flush().await?;
                        patience = (2 * patience).min(SILENCE_MAX);
                    }
                    self.give_way().await?;
                }
            }
        }
    }

    /// Takes as many of these bytes as the buffer has room for.
    async fn take(&mut self, bytes: &mut Bytes) -> Result<(), Problem> {
        self.has_room(self.end + bytes.len() as u64)?;
        if let (Some(_), Some(checksum)) = (&self.refusal, &mut self.checksum) {
            // Nothing of them will be kept.
            checksum.update(bytes);
            self.end += std::mem::take(bytes).len() as u64;
            return Ok(());
        }
        let buffer = self.buffer.as_mut().expect("it was got before");
        let taken = bytes.split_to(bytes.len().min(buffer.room()));
        let end = self.end + taken.len() as u64;
        buffer.push(&taken);
        // What is put together from pieces was received with them.
        if !matches!(self.upload.concat, Some(Concat::Final(_))) {
            self.inner.metrics.uploads.received(self.upload.via, taken.len() as u64);
        }
        self.end = end;
        if let Some(hash) = &mut self.hash {
            hash.update(&taken);
        }
        if let Some(checksum) = &mut self.checksum {
            checksum.update(&taken);
        }
        if buffer.len() >= SNIFF_BYTES || self.upload.length == Some(end) {
            self.sniff().await?;
        }
        Ok(())
    }

    /// Gives the buffer up where others wait for its memory and this client fills it slowly.
    async fn give_way(&mut self) -> Result<(), Problem> {
        let is_due = self.buffer.as_ref().is_some_and(|buffer| buffer.since.elapsed() > TURN);
        if !is_due || self.inner.memory.waiting() == 0 {
            return Ok(());
        }
        if self.checksum.is_some() {
            // Its bytes may not be committed, and it cannot keep the memory either.
            return Err(Problem::Busy);
        }
        self.flush().await?;
        self.buffer = None;
        Ok(())
    }

    /// Commits everything that was taken.
    async fn flush(&mut self) -> Result<(), Problem> {
        self.land().await?;
        if self.end == self.safe {
            return Ok(());
        }
        let held = self.end - self.start;
        let is_end = self.upload.length == Some(self.end);
        if held >= PART_BYTES_MIN as u64 || is_end || self.is_piece() {
            self.store_buffer().await?;
            self.land().await
        } else {
            self.store_remainder().await
        }
    }

    /// The body was whole: what is left is committed, and the upload completed if this was its end.
    async fn conclude(mut self) -> Result<Appended, Problem> {
        let Self { upload, end, .. } = &self;
        let (id, length) = (upload.id, upload.length);
        if length != Some(*end) {
            self.flush().await?;
            return Ok(Appended { offset: self.end, finished: None });
        }
        self.land().await?;
        if self.end > self.start {
            if self.buffer.is_none() {
                self.get_buffer().await?;
            }
            self.sniff().await?;
            self.store_buffer().await?;
            self.land().await?;
        }
        let appended = Appended { offset: self.end, finished: None };
        if self.is_piece() {
            return Ok(appended);
        }
        let (inner, who) = (self.inner.clone(), Complete::Writer(self.epoch));
        // The memory is needed by others while the store puts the parts together.
        drop(self);
        Ok(Appended { finished: Some(inner.complete(id, who).await?), ..appended })
    }

    fn container(&self) -> Option<Container> {
        self.upload.container.as_deref().and_then(Container::named)
    }
}
