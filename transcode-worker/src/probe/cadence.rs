//! Whether a picture has a frame at each tick of its rate, and where in the file the frames of a chunk lie.
//!
//! Only then is the nth frame of what is made the nth of the source, wherever the encode begins, and chunks of it are what the
//! whole would have there. Of any number of packets only sums are kept, and where each second or so of them lies.

use std::ops::Range;

use super::packets::Packet;
use super::{Packets, Rational};

/// Watches the packets of a picture that is to have such a rate. It numbers frames from the first that is read.
#[derive(Debug, Clone)]
pub struct Cadence {
    index: usize,
    rate: f64,
    /// When the first one is shown, in seconds.
    first: Option<f64>,
    is_steady: bool,
    /// In frames: how far from its tick one of them is shown at most.
    jitter: f64,
    /// Of the numbers: their count, least, greatest, sum, and the sum of their squares.
    count: i128,
    least: i128,
    greatest: i128,
    sum: i128,
    squares: i128,
    places: Vec<Place>,
    /// Of the packets of all streams: where the first begins, and the last ends.
    media: Option<Range<u64>>,
    is_placed: bool,
}

/// About a second of packets, from a keyframe on: their numbers, and their bytes.
#[derive(Debug, Clone)]
struct Place {
    least: i128,
    greatest: i128,
    bytes: Range<u64>,
}

/// A picture whose frames are those of what is made of it, one by one.
#[derive(Debug, Clone)]
pub struct Steady {
    rate: f64,
    /// What is added to a packet's number, for that of its frame.
    shift: i128,
    /// Frames before the first that the source has: it is shown for those, too.
    pub late: u64,
    places: Vec<Place>,
    media: Option<Range<u64>>,
}

/// In frames: how far from each other's grid frames may be. Formats that count in milliseconds are up to 0.06 off at 60 a second.
const JITTER: f64 = 0.2;
/// In frames: how far from its tick one may be shown. At a half it could be the next one's as well.
const OFF: f64 = 0.45;
/// In frames: how far before what is cut off ends the first one may be shown. Any more, and the whole encode has the second one
/// in its place.
const EARLY: f64 = 0.02;
/// In seconds: how late it may begin after the sound, as it does in Matroska by the priming of that.
const LATE: f64 = 1.0;
/// Around the frames of a chunk there have to be so many seconds of others before: ffmpeg looks for a keyframe up to 0.13 s
/// before what it is asked for, and pictures may refer to others from before a keyframe.
const SECONDS_BEFORE: f64 = 0.5;
/// And so many frames after: decoders read ahead with each of their threads, and pictures come out of order.
const FRAMES_AFTER: i128 = 64;
/// ffmpeg looks at the first 5,000,000 bytes of what streams have, whatever it is asked for.
const FIRST_BYTES: u64 = 8 << 20;

// === impl Cadence ===

impl Cadence {
    /// Of the stream with that number.
    pub fn new(index: usize, rate: Rational) -> Self {
        Self {
            index,
            rate: rate.value(),
            first: None,
            is_steady: true,
            jitter: 0.0,
            count: 0,
            least: 0,
            greatest: 0,
            sum: 0,
            squares: 0,
            places: Vec::new(),
            media: None,
            is_placed: true,
        }
    }

    /// Takes in one packet.
    pub fn take(&mut self, packet: &Packet) {
        let bytes = packet.position.map(|at| at..at.saturating_add(packet.bytes));
        if let Some(bytes) = &bytes {
            let media = self.media.get_or_insert(bytes.clone());
            *media = media.start.min(bytes.start)..media.end.max(bytes.end);
        }
        if packet.stream != self.index {
            return;
        }
        let Some(at) = packet.presented else {
            self.is_steady = false;
            return;
        };
        let first = *self.first.get_or_insert(at);
        let ticks = (at - first) * self.rate;
        let tick = ticks.round();
        // Until then it is exact, and within what any file has.
        if (ticks - tick).abs() > JITTER || tick.abs() > 1e12 {
            self.is_steady = false;
            return;
        }
        self.jitter = self.jitter.max((ticks - tick).abs());
        #[allow(clippy::cast_possible_truncation)]
        let number = tick as i128;
        (self.least, self.greatest) = (self.least.min(number), self.greatest.max(number));
        (self.count, self.sum, self.squares) =
            (self.count + 1, self.sum + number, self.squares + number * number);
        let Some(bytes) = bytes else {
            self.is_placed = false;
            return;
        };
        #[allow(clippy::cast_possible_truncation)]
        let second = self.rate.ceil() as i128;
        match self.places.last_mut() {
            Some(place) if !packet.is_key || number < place.least + second => {
                (place.least, place.greatest) = (place.least.min(number), place.greatest.max(number));
                place.bytes = place.bytes.start.min(bytes.start)..place.bytes.end.max(bytes.end);
            }
            _ => self.places.push(Place { least: number, greatest: number, bytes }),
        }
    }

    /// What is made of it begins `start` seconds into the file and has so many frames: whether the source has each of them once.
    pub fn steady(self, packets: &Packets, start: f64, frames: u64) -> Option<Steady> {
        let shift = (self.first? - packets.start() - start) * self.rate;
        let off = shift - shift.round();
        // Whatever has neither holes nor doubles has the sums of an arithmetic series.
        let (a, n) = (self.least, self.greatest - self.least + 1);
        let sum = n * a + n * (n - 1) / 2;
        let squares = n * a * a + a * n * (n - 1) + (n - 1) * n * (2 * n - 1) / 6;
        let is_whole = (self.count, self.sum, self.squares) == (n, sum, squares);
        let is_early = start > 0.0 && off < -EARLY;
        if !self.is_steady || !is_whole || is_early || off.abs() + self.jitter > OFF {
            return None;
        }
        #[allow(clippy::cast_possible_truncation)]
        let (shift, late_most) = (shift.round() as i128, (self.rate * LATE) as i128);
        let late = (self.least + shift).max(0);
        let is_there = late <= late_most && self.greatest + shift >= i128::from(frames) - 1;
        let media = self.media.filter(|_| self.is_placed);
        let late = u64::try_from(late).ok().filter(|_| is_there)?;
        Some(Steady { rate: self.rate, shift, late, places: self.places, media })
    }
}

// === impl Steady ===

impl Steady {
    /// The bytes of a file of `size` bytes that ffmpeg needs for some frames, where the file keeps its headers before and after
    /// all packets, and has an index, as MP4 files do. In order; `None` where nobody said where packets are.
    pub fn spans(&self, frames: Range<u64>, size: u64) -> Option<Vec<Range<u64>>> {
        let media = self.media.clone()?;
        #[allow(clippy::cast_possible_truncation)]
        let before = (self.rate * SECONDS_BEFORE).ceil() as i128;
        let from = i128::from(frames.start) - self.shift - before;
        let to = i128::from(frames.end) - self.shift + FRAMES_AFTER;
        let needed = self.places.iter().filter(|place| place.greatest >= from && place.least < to);
        let needed = needed.map(|place| place.bytes.clone());
        let needed = needed.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end))?;
        let mut spans: Vec<Range<u64>> = Vec::new();
        for span in [0..media.start.saturating_add(FIRST_BYTES).min(size), needed, media.end..size] {
            match spans.last_mut() {
                Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
                _ => spans.push(span),
            }
        }
        spans.retain(|span| !span.is_empty());
        Some(spans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rational = Rational { num: 25, den: 1 };

    /// Frames of 1000 bytes at these ticks, in this order; each 25th begins a group.
    fn watched(ticks: &[f64]) -> (Cadence, Packets) {
        let (mut cadence, mut packets) = (Cadence::new(0, RATE), Packets::default());
        for (nth, tick) in (0_u64..).zip(ticks) {
            let key = if nth % 25 == 0 { "K__" } else { "___" };
            let at = tick / 25.0;
            let line = format!("0,{at:.6},{at:.6},0.04,1000,{},{key}", 50_000_000 + nth * 1000);
            let packet = Packet::parse(&line).expect("a packet");
            cadence.take(&packet);
            packets.take(&packet);
        }
        (cadence, packets)
    }

    fn ticks(count: u32) -> Vec<f64> {
        (0..count).map(f64::from).collect()
    }

    fn is_steady(ticks: &[f64], start: f64, frames: u64) -> bool {
        let (cadence, packets) = watched(ticks);
        cadence.steady(&packets, start, frames).is_some()
    }

    #[test]
    fn only_one_frame_at_each_tick_is_steady() {
        assert!(is_steady(&ticks(100), 0.0, 100));
        let wobbly: Vec<_> =
            ticks(100).iter().map(|tick| tick + if tick % 3.0 == 0.0 { 0.05 } else { -0.05 }).collect();
        assert!(is_steady(&wobbly, 0.0, 100), "as formats do that count in milliseconds");
        let mut turned = ticks(100);
        turned.swap(30, 31);
        assert!(is_steady(&turned, 0.0, 100), "in the order of decoding");
        assert!(is_steady(&ticks(100), 1.0, 75), "cut at a frame");
        assert!(!is_steady(&ticks(100), 1.02, 74), "cut between two");
        assert!(!is_steady(&ticks(100), 0.0, 101), "one is missing at the end");
        let mut hole = ticks(100);
        hole.remove(50);
        assert!(!is_steady(&hole, 0.0, 99));
        let mut doubled = hole.clone();
        doubled.insert(20, 20.0);
        assert!(!is_steady(&doubled, 0.0, 100), "as many as there should be");
        let drifting: Vec<_> = ticks(100).iter().map(|tick| tick * 1.01).collect();
        assert!(!is_steady(&drifting, 0.0, 100));
    }

    #[test]
    fn what_a_chunk_needs_is_its_groups_and_the_ends_of_the_file() {
        let (cadence, packets) = watched(&ticks(10_000));
        let steady = cadence.steady(&packets, 0.0, 10_000).expect("it is");
        let size = 60_000_100;
        // Frames 9000 to 9499: 12.5 before and 64 after, in whole groups.
        let spans = steady.spans(9000..9500, size).expect("it is known where they are");
        assert_eq!(
            spans,
            [0..58_975_000.min(50_000_000 + FIRST_BYTES), 58_975_000..59_575_000, 60_000_000..size]
        );
        let all = steady.spans(0..10_000, size).expect("it is known where they are");
        assert_eq!(all, [0..size]);
    }
}
