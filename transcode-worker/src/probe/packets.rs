//! What the packets of a file say, as `ffprobe -show_entries packet` prints them, one a line.

use std::collections::BTreeMap;

/// The arguments of ffprobe after its input, for lines that [`Packets::line`] reads.
pub const ARGUMENTS: [&str; 4] =
    ["-show_entries", "packet=stream_index,pts_time,dts_time,duration_time", "-of", "csv=p=0"];

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
pub struct Packets(BTreeMap<usize, Sums>);

#[derive(Debug, Clone, Copy)]
struct Sums {
    first: f64,
    last: f64,
    end: f64,
    packets: u64,
}

// === impl Packets ===

impl Packets {
    /// Takes in one line. What makes no sense counts as nothing.
    pub fn line(&mut self, line: &str) {
        let mut fields = line.trim().split(',');
        let Some(index) = fields.next().and_then(|index| index.parse().ok()) else { return };
        let mut number =
            || fields.next().and_then(|text| text.parse::<f64>().ok()).filter(|at| at.is_finite());
        let (pts, dts, duration) = (number(), number(), number().unwrap_or(0.0).clamp(0.0, 60.0));
        // What is before the beginning is not played: encoders of sound need some samples before the first.
        let Some(at) = pts.or(dts).map(|at| at.max(0.0)) else { return };
        let sums = self.0.entry(index).or_insert(Sums { first: at, last: at, end: at, packets: 0 });
        sums.first = sums.first.min(at);
        sums.last = sums.last.max(at);
        sums.end = sums.end.max(at + duration);
        sums.packets += 1;
    }

    /// When a stream plays, counted from the first of all; `None` where it has no packets.
    pub fn span(&self, index: usize) -> Option<Span> {
        let zero = self.0.values().map(|sums| sums.first).fold(f64::INFINITY, f64::min);
        let sums = self.0.get(&index)?;
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
            packets.line(line);
        }
        for nonsense in ["", "x", "0", "0,N/A,N/A,N/A", "0,inf,inf,1", "9999999999999999999999,1,1,1"] {
            packets.line(nonsense);
        }
        let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
        let video = packets.span(0).expect("it has packets");
        assert!(near(video.start, 0.0) && near(video.end, 0.12) && video.packets == 2, "{video:?}");
        let audio = packets.span(1).expect("it has packets");
        assert!(near(audio.start, 0.5) && near(audio.end, 0.9) && audio.packets == 2, "{audio:?}");
        assert_eq!(packets.span(2), None);
    }
}
