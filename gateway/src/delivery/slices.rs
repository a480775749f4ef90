//! What a body hands on at a time: some slices of segments, written to the socket together.

use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// How many slices a [`Slices`] has room for.
pub const SLICES_MAX: usize = 17;

/// Slices that follow each other, taken from the front. What has been taken is let go of at once.
#[derive(Debug, Default)]
pub struct Slices {
    held: Vec<Bytes>,
    /// The first one that is left.
    first: usize,
    remaining: usize,
}

// === impl Slices ===

impl Slices {
    /// Adds one at the end; there must be room.
    pub fn push(&mut self, slice: Bytes) {
        self.remaining += slice.len();
        self.held.push(slice);
    }

    /// Whether there is room for no more.
    pub fn is_full(&self) -> bool {
        self.held.len() == SLICES_MAX
    }

    /// Their length together.
    pub fn len(&self) -> usize {
        self.remaining
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.remaining == 0
    }
}

impl From<Bytes> for Slices {
    fn from(slice: Bytes) -> Self {
        let mut slices = Self::default();
        slices.push(slice);
        slices
    }
}

impl Buf for Slices {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.held.get(self.first).map_or(&[], |slice| slice)
    }

    fn chunks_vectored<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let pairs = out.iter_mut().zip(&self.held[self.first..]);
        pairs.map(|(out, slice)| *out = IoSlice::new(slice)).count()
    }

    fn advance(&mut self, mut taken: usize) {
        self.remaining = self.remaining.checked_sub(taken).expect("no more can be taken than there is");
        while taken > 0 {
            let slice = &mut self.held[self.first];
            if taken < slice.len() {
                slice.advance(taken);
                return;
            }
            taken -= slice.len();
            *slice = Bytes::new();
            self.first += 1;
        }
    }

    /// Copies only what lies in more than one slice.
    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        let first = self.held[self.first..].first_mut();
        if let Some(first) = first.filter(|first| len <= first.len()) {
            let bytes = first.slice(..len);
            self.advance(len);
            return bytes;
        }
        assert!(len <= self.remaining, "no more can be taken than there is");
        let mut bytes = BytesMut::with_capacity(len);
        bytes.put(self.take(len));
        bytes.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slices() -> Slices {
        let mut slices = Slices::default();
        for slice in ["one", "two", "three"] {
            slices.push(Bytes::from_static(slice.as_bytes()));
        }
        slices
    }

    #[test]
    fn they_are_taken_from_the_front_in_any_steps() {
        for step in 1..=11 {
            let (mut slices, mut taken) = (slices(), Vec::new());
            while slices.has_remaining() {
                let mut out = [IoSlice::new(&[]); 2];
                let count = slices.chunks_vectored(&mut out);
                let shown: Vec<u8> = out[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
                assert!(shown.starts_with(slices.chunk()) && !slices.chunk().is_empty());
                let step = step.min(shown.len());
                taken.extend_from_slice(&shown[..step]);
                slices.advance(step);
            }
            assert_eq!((&taken[..], slices.chunk()), (&b"onetwothree"[..], &b""[..]), "in steps of {step}");
        }
    }

    #[test]
    fn one_slice_is_taken_without_a_copy() {
        let mut slices = slices();
        let one = slices.held[0].as_ptr();
        assert_eq!(slices.copy_to_bytes(2).as_ptr(), one);
        assert_eq!(slices.copy_to_bytes(4), "etwo"[..4]);
        assert_eq!((slices.len(), slices.copy_to_bytes(5)), (5, Bytes::from_static(b"three")));
    }

    #[test]
    fn what_is_taken_is_let_go_of() {
        let mut slices = slices();
        let kept = Bytes::from(vec![0; 100]);
        slices.push(kept.clone());
        slices.advance(11 + 99);
        assert!(!kept.is_unique());
        slices.advance(1);
        assert!(kept.is_unique() && slices.is_empty());
    }
}
