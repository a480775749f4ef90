//! What the packets of a file say, as `ffprobe -show_entries packet` prints them, one a line.

use std::collections::BTreeMap;

/// The arguments of ffprobe after its input, for lines that [`Packet::parse`] reads.
pub const ARGUMENTS: [&str; 4] =
    ["-show_entries", "packet=stream_index,pts_time,dts_time,duration_time,size,pos,flags", "-of", "csv=p=0"];

/// What is said of one packet, in seconds and bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Packet {
    /// The stream's number.
    pub stream: usize,
    /// When it is shown.
    pub presented: Option<f64>,
    /// When it is decoded.
    pub decoded: Option<f64>,
    /// For how long it is shown; 0 where that is not said.
    pub duration: f64,
    /// How large it is.
    pub bytes: u64,
    /// Where in the file it is.
    pub position: Option<u64>,
    /// It can be decoded by itself.
    pub is_key: bool,
}

/// When a stream plays.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Span {
    /// Seconds from the file's beginning to its first packet.
    pub start: f64,
    /// To the end of its last.
    pub end: f64,
    /// How many there are.
    pub packets: u64,
}

/// What the packets of a file say, gathered line by line: of any number of them only sums are kept.
#[derive(Debug, Clone, Default)]
pub struct Packets {
    streams: BTreeMap<usize, Sums>,
    /// Times may begin again: recordings of broadcasts, and files that were put one after the other.
    begins_again: bool,
}

#[derive(Debug, Clone, Copy)]
struct Sums {
    first: f64,
    last: f64,
    end: f64,
    packets: u64,
    /// What is added to its times, since they last began again.
    shift: f64,
    /// The last time of decoding, shifted.
    decoded: f64,
}

/// What ffmpeg takes for a time that goes back, and for one that jumps, in formats whose times begin again.
const BACK: f64 = 0.1;
const JUMP: f64 = 10.0;

// === impl Packet ===

impl Packet {
    /// Reads one line; `None` for what makes no sense.
    pub fn parse(line: &str) -> Option<Self> {
        let mut fields = line.trim().split(',');
        let stream = fields.next()?.parse().ok()?;
        let mut second =
            || fields.next().and_then(|text| text.parse::<f64>().ok()).filter(|at| at.is_finite());
        let (presented, decoded) = (second(), second());
        let duration = second().unwrap_or(0.0).clamp(0.0, 60.0);
        let bytes = fields.next().and_then(|text| text.parse().ok()).unwrap_or(0);
        let position = fields.next().and_then(|text| text.parse().ok());
        let is_key = fields.next().is_some_and(|flags| flags.starts_with('K'));
        Some(Self { stream, presented, decoded, duration, bytes, position, is_key })
    }
}

// === impl Packets ===

impl Packets {
    /// Of a file in this container, as ffprobe calls it.
    pub fn of(container: &str) -> Self {
        let begins_again = container.split(',').any(|name| matches!(name, "mpegts" | "mpeg"));
        Self { streams: BTreeMap::new(), begins_again }
    }

    /// Takes in one packet. One without a time counts as nothing.
    pub fn take(&mut self, packet: &Packet) {
        let Packet { stream, presented, decoded, duration, .. } = *packet;
        // What is before the beginning is not played: encoders of sound need some samples before the first.
        let Some(at) = presented.or(decoded).map(|at| at.max(0.0)) else { return };
        let decoded = decoded.unwrap_or(at);
        let new = Sums { first: at, last: at, end: at, packets: 0, shift: 0.0, decoded };
        let sums = self.streams.entry(stream).or_insert(new);
        let moved = decoded + sums.shift - sums.decoded;
        if self.begins_again && !(-BACK..JUMP).contains(&moved) {
            sums.shift += sums.end - (at + sums.shift);
        }
        sums.decoded = decoded + sums.shift;
        let at = at + sums.shift;
        sums.first = sums.first.min(at);
        sums.last = sums.last.max(at);
        sums.end = sums.end.max(at + duration);
        sums.packets += 1;
    }

    /// When the last packet of all ends, by the file's own clock.
    pub fn end(&self) -> f64 {
        self.streams.values().map(|sums| sums.end).fold(0.0, f64::max)
    }

    /// When the first packet of all is shown, by the file's own clock.
    pub fn start(&self) -> f64 {
        self.streams.values().map(|sums| sums.first).fold(f64::INFINITY, f64::min)
    }

    /// When a stream plays, counted from the first of all; `None` where it has no packets.
    pub fn span(&self, index: usize) -> Option<Span> {
        let zero = self.start();
        let sums = self.streams.get(&index)?;
        // Formats that keep no durations: the last lasts as long as the others did on average.
        let steps = u32::try_from(sums.packets - 1).unwrap_or(u32::MAX);
        let average = if steps == 0 { 0.0 } else { (sums.last - sums.first) / f64::from(steps) };
        let end = if sums.end > sums.last { sums.end } else { sums.last + average };
        Some(Span { start: sums.first - zero, end: end - zero, packets: sums.packets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_begin_with_the_first_stream_and_end_with_the_last_packet() {
        let mut packets = Packets::default();
        for line in
            ["0,1.400000,1.333,0.040000", "0,1.480000,1.4,0.040000", "1,1.900000,1.9,N/A", "1,2.1,2.1,N/A"]
        {
            packets.take(&Packet::parse(line).expect("a packet"));
        }
        for nonsense in ["", "x", "0", "0,N/A,N/A,N/A", "0,inf,inf,1", "9999999999999999999999,1,1,1"] {
            if let Some(packet) = Packet::parse(nonsense) {
                packets.take(&packet);
            }
        }
        let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
        let video = packets.span(0).expect("it has packets");
        assert!(near(video.start, 0.0) && near(video.end, 0.12) && video.packets == 2, "{video:?}");
        let audio = packets.span(1).expect("it has packets");
        assert!(near(audio.start, 0.5) && near(audio.end, 0.9) && audio.packets == 2, "{audio:?}");
        assert_eq!(packets.span(2), None);
        assert!(near(packets.end(), 2.1), "{}", packets.end());
    }

    #[test]
    fn times_that_begin_again_go_on_where_they_may() {
        for (container, end) in [("mpegts", 2.0), ("mov,mp4", 1.0)] {
            let mut packets = Packets::of(container);
            for frame in (0..25).chain(0..25) {
                let at = 1.4 + f64::from(frame) / 25.0;
                packets.take(&Packet::parse(&format!("0,{at},{at},0.04")).expect("a packet"));
            }
            let span = packets.span(0).expect("it has packets");
            assert!(
                (span.end - span.start - end).abs() < 1e-6 && span.packets == 50,
                "{container}: {span:?}"
            );
        }
    }
}
