//! HLS playlists (RFC 8216, draft-pantos-hls-rfc8216bis) of byte ranges.
//!
//! Version 7: the first in which an `EXT-X-MAP` stands in any playlist together with all else that is used (§7).

use std::{collections::BTreeSet, fmt::Write};

use super::{
    Format, Kind, Rates, Track, VideoRange,
    rendition::{Line, Playlist, Rendition},
};

/// The bandwidth that a player is taken to have until it has measured. Most start with what the master names first, and
/// Apple's authoring specification asks for the 2000 kbit/s variant there.
const START_BITS: u64 = 2_000_000;

pub(super) fn playlist_name(track: &Track) -> String {
    format!("{}.m3u8", track.id)
}

pub(super) fn key_frames_name(track: &Track) -> String {
    format!("{}_iframes.m3u8", track.id)
}

/// The media playlist of a rendition.
pub(super) fn playlist(rendition: &Rendition<'_>) -> String {
    media(rendition.track, &rendition.media, "")
}

/// Its I-frame playlist (§4.4.3.6).
pub(super) fn key_frames(rendition: &Rendition<'_>) -> String {
    media(rendition.track, &rendition.key_frames, "#EXT-X-I-FRAMES-ONLY\n")
}

fn media(track: &Track, playlist: &Playlist, only: &str) -> String {
    let (file, target) = (&track.file, playlist.target);
    let mut out = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{target}\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n\
         {only}#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"{file}\",BYTERANGE=\"{}@0\"\n",
        track.init.end
    );
    for Line { bytes, start, duration } in &playlist.lines {
        // Rounded are the times, not the durations: so these add up to the track's, and no error grows.
        let micros = track.micros(start + duration) - track.micros(*start);
        let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
        let (len, from) = (bytes.end - bytes.start, bytes.start);
        put(&mut out, format_args!("#EXTINF:{seconds}.{rest:06},\n#EXT-X-BYTERANGE:{len}@{from}\n{file}\n"));
    }
    out + "#EXT-X-ENDLIST\n"
}

/// The multivariant playlist (§4.4.6).
///
/// One variant for each video, with all audio as one group; without video, one for each audio. First the variant to start
/// with, then the others as their bandwidth falls, so that one who reads it finds the best at the top.
pub(super) fn master(renditions: &[Rendition<'_>]) -> String {
    let (video, audio): (Vec<_>, Vec<_>) =
        renditions.iter().partition(|rendition| rendition.track.kind() == Kind::Video);
    let mut out = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n".to_owned();
    if !video.is_empty() {
        for (index, rendition) in audio.iter().enumerate() {
            group_member(&mut out, index, rendition.track);
        }
    }
    let (variants, group) = if video.is_empty() { (&audio, &video) } else { (&video, &audio) };
    for variant in in_order(variants, group) {
        let (peak, average) = bandwidth(variant, group);
        put(
            &mut out,
            format_args!(
                "#EXT-X-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={average},CODECS=\"{}\"",
                codecs(variant, group)
            ),
        );
        picture(&mut out, variant.track);
        if !group.is_empty() {
            out += ",AUDIO=\"audio\"";
        }
        put(&mut out, format_args!("\n{}\n", playlist_name(variant.track)));
    }
    for variant in in_order(&video, &[]) {
        let (track, Rates { peak, average }) = (variant.track, variant.key_frames.rates);
        put(
            &mut out,
            format_args!(
                "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={average},CODECS=\"{}\"",
                track.codecs
            ),
        );
        resolution(&mut out, track);
        put(&mut out, format_args!(",URI=\"{}\"\n", key_frames_name(track)));
    }
    out
}

/// §4.4.6.1. The first is the default; each may be chosen by a player that knows the viewer's language.
fn group_member(out: &mut String, index: usize, track: &Track) {
    let Format::Audio { channels, .. } = track.format else { return };
    let default = if index == 0 { "YES" } else { "NO" };
    // A name is of one member only (§4.4.6.1.1).
    let name = match (&track.language, index) {
        (Some(language), 0) => language.clone(),
        (Some(language), _) => format!("{language} {}", index + 1),
        (None, 0) => "Audio".to_owned(),
        (None, _) => format!("Audio {}", index + 1),
    };
    let language =
        track.language.as_ref().map(|language| format!(",LANGUAGE=\"{language}\"")).unwrap_or_default();
    put(
        out,
        format_args!(
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"{name}\"{language},DEFAULT={default},AUTOSELECT=YES,\
             CHANNELS=\"{channels}\",URI=\"{}\"\n",
            playlist_name(track)
        ),
    );
}

/// The start, then the rest by falling bandwidth.
fn in_order<'a, 'b>(variants: &[&'a Rendition<'b>], group: &[&Rendition<'_>]) -> Vec<&'a Rendition<'b>> {
    let peak = |variant: &Rendition<'_>| bandwidth(variant, group).0;
    let mut sorted = variants.to_vec();
    sorted.sort_by_key(|variant| std::cmp::Reverse(peak(variant)));
    // The best that fits; where none does, the least.
    let start = sorted
        .iter()
        .position(|variant| peak(variant) <= START_BITS)
        .unwrap_or(sorted.len().saturating_sub(1));
    if !sorted.is_empty() {
        sorted[..=start].rotate_right(1);
    }
    sorted
}

/// §4.4.6.2: the largest sum of peaks of what can be played together; and so for the average.
fn bandwidth(variant: &Rendition<'_>, group: &[&Rendition<'_>]) -> (u64, u64) {
    let most = |rate: fn(&Rates) -> u64| {
        group.iter().map(|member| rate(&member.media.rates)).max().unwrap_or_default()
    };
    let Rates { peak, average } = variant.media.rates;
    (peak + most(|rates| rates.peak), average + most(|rates| rates.average))
}

/// Every format of the variant and its group, each once.
fn codecs(variant: &Rendition<'_>, group: &[&Rendition<'_>]) -> String {
    let group: BTreeSet<&str> = group.iter().map(|member| member.track.codecs.as_str()).collect();
    [variant.track.codecs.as_str()].into_iter().chain(group).collect::<Vec<_>>().join(",")
}

/// The attributes of video.
fn picture(out: &mut String, track: &Track) {
    if track.kind() == Kind::Video {
        resolution(out, track);
        let rate = track.frame_rate.thousandths();
        put(out, format_args!(",FRAME-RATE={}.{:03}", rate / 1000, rate % 1000));
    }
}

fn resolution(out: &mut String, track: &Track) {
    if let (Some((width, height)), Format::Video { range, .. }) = (track.format.display(), &track.format) {
        let range = match range {
            VideoRange::Sdr => "SDR",
            VideoRange::Hlg => "HLG",
            VideoRange::Pq => "PQ",
        };
        put(out, format_args!(",RESOLUTION={width}x{height},VIDEO-RANGE={range}"));
    }
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes any text");
}
