//! A DASH manifest (ISO/IEC 23009-1) of whole files and their indexes: the on-demand profile (§8.3), in which a
//! Representation is one file with `SegmentBase`, and players read its `sidx`.
//!
//! Everything written into it is a number, or a name of letters, digits and `-_.,`: there is nothing to escape.

use std::fmt::Write;

use super::{
    Format, Kind, Track,
    rendition::{Rendition, misaligned},
};

/// The MPD over all renditions.
pub(super) fn manifest(renditions: &[Rendition<'_>]) -> String {
    let (video, audio): (Vec<_>, Vec<_>) =
        renditions.iter().partition(|rendition| rendition.track.kind() == Kind::Video);
    let duration = renditions.iter().map(Rendition::end).max().unwrap_or_default();
    // §5.3.5.2: who has buffered this much at the bandwidth of a representation can play it without a stop. The bandwidth is
    // the peak over sets of segments of at most one and a half target durations.
    let buffer = renditions.first().map_or(1, |rendition| rendition.media.target);
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    put(
        &mut out,
        format_args!(
            "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" profiles=\"urn:mpeg:dash:profile:isoff-on-demand:2011\" \
             type=\"static\" mediaPresentationDuration=\"PT{}.{:06}S\" minBufferTime=\"PT{buffer}S\">\n  <Period id=\"0\">\n",
            duration.as_secs(),
            duration.subsec_micros()
        ),
    );
    let video_sets = video.chunk_by(|a, b| family(a.track) == family(b.track));
    let audio_sets = audio.chunk_by(|a, b| alike(a.track, b.track));
    for (id, set) in video_sets.chain(audio_sets).enumerate() {
        adaptation_set(&mut out, id, set);
    }
    out + "  </Period>\n</MPD>\n"
}

/// Renditions that a player may change between while it plays.
fn adaptation_set(out: &mut String, id: usize, set: &[&Rendition<'_>]) {
    let first = set[0].track;
    let kind = match first.kind() {
        Kind::Video => "video",
        Kind::Audio => "audio",
    };
    put(
        out,
        format_args!(
            "    <AdaptationSet id=\"{id}\" contentType=\"{kind}\" mimeType=\"{kind}/mp4\" segmentAlignment=\"true\" \
             subsegmentAlignment=\"true\" startWithSAP=\"1\" subsegmentStartsWithSAP=\"1\""
        ),
    );
    if let Some(language) = &first.language {
        put(out, format_args!(" lang=\"{language}\""));
    }
    let sizes = || set.iter().filter_map(|rendition| size(rendition.track));
    if let (Some(width), Some(height)) = (sizes().map(|size| size.0).max(), sizes().map(|size| size.1).max())
    {
        put(out, format_args!(" maxWidth=\"{width}\" maxHeight=\"{height}\""));
    }
    *out += ">\n";
    for rendition in set {
        representation(out, rendition);
    }
    *out += "    </AdaptationSet>\n";
}

fn representation(out: &mut String, rendition: &Rendition<'_>) {
    let track = rendition.track;
    let (bandwidth, id, codecs) = (rendition.media.rates.peak, &track.id, &track.codecs);
    put(out, format_args!("      <Representation id=\"{id}\" codecs=\"{codecs}\" bandwidth=\"{bandwidth}\""));
    match track.format {
        Format::Video { width, height, aspect: (horizontal, vertical), .. } => {
            let (rate, per) = (track.frame_rate.numerator, track.frame_rate.denominator);
            put(
                out,
                format_args!(
                    " width=\"{width}\" height=\"{height}\" sar=\"{horizontal}:{vertical}\" frameRate=\"{rate}"
                ),
            );
            if per != 1 {
                put(out, format_args!("/{per}"));
            }
            *out += "\">\n";
        }
        Format::Audio { sample_rate, channels } => {
            put(out, format_args!(" audioSamplingRate=\"{sample_rate}\">\n"));
            // ISO/IEC 23001-8: from one to six channels the value is their number.
            if channels <= 6 {
                put(
                    out,
                    format_args!(
                        "        <AudioChannelConfiguration \
                         schemeIdUri=\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" value=\"{channels}\"/>\n"
                    ),
                );
            }
        }
    }
    // Ranges here have their last byte, not the one after it.
    put(
        out,
        format_args!(
            "        <BaseURL>{}</BaseURL>\n        \
             <SegmentBase timescale=\"{}\" indexRange=\"{}-{}\" indexRangeExact=\"true\">\n          \
             <Initialization range=\"{}-{}\"/>\n        </SegmentBase>\n      </Representation>\n",
            track.file,
            track.timescale,
            track.index.start,
            track.index.end - 1,
            track.init.start,
            track.init.end - 1,
        ),
    );
}

/// The kind of decoder that a track needs.
fn family(track: &Track) -> &str {
    track.codecs.split('.').next().unwrap_or_default()
}

/// Whether two tracks may be the same sound at two bandwidths.
fn alike(a: &Track, b: &Track) -> bool {
    a.language == b.language && a.codecs == b.codecs && a.format == b.format && misaligned(a, b).is_none()
}

fn size(track: &Track) -> Option<(u32, u32)> {
    match track.format {
        Format::Video { width, height, .. } => Some((width, height)),
        Format::Audio { .. } => None,
    }
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes any text");
}
