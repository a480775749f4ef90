//! The bytes of one part, and the memory that pays for them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use seekway_cache::Permit;
use seekway_storage::ObjectKey;
use tokio::time::{Duration, Instant, timeout_at};

use super::super::{Refusal, names, parts};
use super::{Storing, Writer};
use crate::respond::Problem;

/// How long a client waits for memory with nothing of it read.
const PATIENCE: Duration = Duration::from_mins(1);
/// The length of nearly all parts.
const SPARE_BYTES: usize = 8 << 20;
const _: () = assert!(SPARE_BYTES as u64 == parts::PART_BYTES, "spares are as long as parts");

/// Buffers of the usual length that nobody fills just now. They are freed when no upload has a buffer any more.
///
/// What is freed is not always given back: once glibc has freed buffers of this length it keeps up to twice as much in each
/// of its arenas. Ten uploads with memory for 32 MiB made the process grow by 66 MiB without these, and by 34 with them
/// (`loadtest soak --scenario uploads-memory --short`).
#[derive(Default)]
pub(in crate::upload) struct Spares(Mutex<Vec<BytesMut>>);

/// See the module. Its memory is reserved before it is filled.
pub(super) struct Buffer {
    bytes: BytesMut,
    capacity: usize,
    permit: Permit,
    /// When it was got.
    pub(super) since: Instant,
}

// === impl Spares ===

impl Spares {
    /// Room for so many bytes, which have been reserved. Spares and what is reserved are never more than the budget
    /// together: where none is used, as many go as the new buffer takes.
    fn take(&self, bytes: usize) -> BytesMut {
        let mut spares = self.spares();
        let count = bytes.div_ceil(SPARE_BYTES).min(spares.len());
        let rest = spares.len() - count;
        let mut taken = spares.split_off(rest);
        drop(spares);
        match taken.pop() {
            Some(spare) if bytes == SPARE_BYTES => spare,
            _ => BytesMut::with_capacity(bytes),
        }
    }

    /// Keeps a full buffer for the next part, if nobody else holds it. To be called before its memory is given back.
    pub(super) fn give(&self, bytes: Bytes) {
        if let Ok(mut bytes) = bytes.try_into_mut()
            && bytes.capacity() == SPARE_BYTES
        {
            bytes.clear();
            self.spares().push(bytes);
        }
    }

    /// How much memory they have.
    pub(in crate::upload) fn bytes(&self) -> usize {
        self.spares().len() * SPARE_BYTES
    }

    /// Frees them all.
    pub(in crate::upload) fn clear(&self) {
        self.spares().clear();
    }

    fn spares(&self) -> MutexGuard<'_, Vec<BytesMut>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Buffer ===

impl Buffer {
    fn new(bytes: BytesMut, capacity: usize, permit: Permit) -> Self {
        Self { bytes, capacity, permit, since: Instant::now() }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn room(&self) -> usize {
        self.capacity - self.bytes.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.room() == 0
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The bytes, and what pays for them until they are dropped.
    pub(super) fn take(self) -> (Bytes, Permit) {
        (self.bytes.freeze(), self.permit)
    }

    /// The bytes for a moment: they are given back, without a copy if nobody else has kept them.
    pub(super) fn lend(&mut self) -> Bytes {
        std::mem::take(&mut self.bytes).freeze()
    }

    pub(super) fn give_back(&mut self, bytes: Bytes) {
        self.bytes = bytes.try_into_mut().unwrap_or_else(|kept| BytesMut::from(&kept[..]));
        self.bytes.reserve(self.room());
    }
}

// === impl Writer ===

impl Writer {
    /// Waits for the memory of one part, and reads the remainder into it.
    pub(super) async fn get_buffer(&mut self) -> Result<(), Problem> {
        let number = self.upload.next_part;
        let part = parts::part_bytes(number, self.start, self.upload.length, self.bytes_max());
        let left = self.upload.length.map_or(u64::MAX, |length| length - self.start);
        // An upload of which all is there still has a buffer of a byte, so that one too many is noticed.
        let bytes = usize::try_from(part.min(left).max(1)).unwrap_or(usize::MAX);
        let capacity = bytes.min(self.inner.memory.capacity() / 2);
        let deadline = Instant::now() + PATIENCE;
        let memory = self.inner.memory.clone();
        let mut reserving = std::pin::pin!(timeout_at(deadline, memory.reserve(capacity)));
        let permit = loop {
            let Self { place, storing, inner, .. } = self;
            tokio::select! {
                permit = reserving.as_mut() => break permit.map_err(|_| Problem::Busy)?,
                // Its memory may be what is waited for.
                stored = Storing::landed(storing) => self.commit(stored?).await?,
                () = place.superseded.cancelled() => return Err(Refusal::TakenOver.into()),
                () = inner.ending.cancelled() => return Err(Problem::NotReady),
            }
        };
        let mut buffer = Buffer::new(self.inner.spares.take(capacity), capacity, permit);
        if self.end > self.start {
            self.read_remainder(&mut buffer).await?;
        }
        self.buffer = Some(buffer);
        Ok(())
    }

    async fn read_remainder(&mut self, buffer: &mut Buffer) -> Result<(), Problem> {
        let bytes = self.end - self.start;
        let known = self.upload.remainder_key.as_deref().and_then(|key| ObjectKey::new(key).ok());
        let key = known.expect("bytes behind the last part are in a remainder");
        let mut got = self.inner.store.get(&key, 0..bytes, None).await.map_err(Problem::Storage)?;
        while let Some(chunk) = got.body.try_next().await.map_err(Problem::Storage)? {
            buffer.push(&chunk);
        }
        if buffer.len() as u64 != bytes {
            let text = format!("{} has {} bytes of {bytes}", names::INCOMING, buffer.len());
            return Err(Problem::Storage(seekway_storage::Error::Protocol(text)));
        }
        Ok(())
    }
}
