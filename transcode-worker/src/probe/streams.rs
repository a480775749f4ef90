//! What the headers of a file say, as `ffprobe -of json` prints them.

use serde::Deserialize;

use super::{Audio, Limits, Probe, Rational, Span, Unusable, Video};

/// The arguments of ffprobe after its input, for what [`parse`] reads.
pub const ARGUMENTS: [&str; 6] =
    ["-show_format", "-show_streams", "-show_entries", "stream_side_data", "-of", "json"];

#[derive(Deserialize)]
struct Output {
    #[serde(default)]
    streams: Vec<Stream>,
    #[serde(default)]
    format: Format,
}

#[derive(Deserialize, Default)]
struct Format {
    #[serde(default)]
    format_name: String,
    duration: Option<String>,
}

#[derive(Deserialize)]
struct Stream {
    index: usize,
    #[serde(default)]
    codec_type: String,
    #[serde(default)]
    codec_name: String,
    #[serde(default)]
    width: i64,
    #[serde(default)]
    height: i64,
    sample_aspect_ratio: Option<String>,
    avg_frame_rate: Option<String>,
    r_frame_rate: Option<String>,
    color_transfer: Option<String>,
    field_order: Option<String>,
    sample_rate: Option<String>,
    #[serde(default)]
    channels: u32,
    #[serde(default)]
    disposition: Disposition,
    #[serde(default)]
    side_data_list: Vec<SideData>,
}

#[derive(Deserialize, Default)]
struct Disposition {
    #[serde(default)]
    attached_pic: u8,
    #[serde(default)]
    default: u8,
}

#[derive(Deserialize)]
struct SideData {
    rotation: Option<f64>,
}

/// Reads what ffprobe printed.
///
/// # Errors
/// There is nothing to see or hear, or more than the limits allow.
pub fn parse(json: &[u8], limits: &Limits) -> Result<Probe, Unusable> {
    let output: Output = serde_json::from_slice(json)
        .map_err(|error| Unusable(format!("ffprobe's answer makes no sense: {error}")))?;
    if output.streams.len() > limits.streams {
        let text =
            format!("it has {} streams; at most {} are processed", output.streams.len(), limits.streams);
        return Err(Unusable(text));
    }
    let of = |kind: &str| {
        let streams = output.streams.iter().filter(move |stream| stream.codec_type == kind);
        // The one that its maker wants played; of several or none, the first.
        streams
            .filter(|stream| stream.disposition.attached_pic == 0)
            .max_by_key(|stream| (stream.disposition.default, std::cmp::Reverse(stream.index)))
    };
    let video = of("video").map(|stream| video(stream, limits)).transpose()?;
    let audio = of("audio").filter(|stream| stream.channels > 0).map(audio);
    if video.is_none() && audio.is_none() {
        return Err(Unusable("it has neither video nor audio".to_owned()));
    }
    let promised = output.format.duration.and_then(|text| text.parse::<f64>().ok());
    let promised_seconds = promised.filter(|seconds| seconds.is_finite() && *seconds > 0.0);
    if let Some(seconds) = promised_seconds.filter(|seconds| *seconds > limits.seconds) {
        let text = format!("it takes {seconds:.0} seconds; at most {:.0} are processed", limits.seconds);
        return Err(Unusable(text));
    }
    Ok(Probe { container: output.format.format_name, promised_seconds, video, audio })
}

fn video(stream: &Stream, limits: &Limits) -> Result<Video, Unusable> {
    let side = |pixels: i64| u32::try_from(pixels).ok().filter(|pixels| *pixels > 0);
    let (Some(width), Some(height)) = (side(stream.width), side(stream.height)) else {
        return Err(Unusable(format!("its {} video has no size", stream.codec_name)));
    };
    if u64::from(width) * u64::from(height) > limits.pixels {
        let text = format!("its picture is {width}x{height}; at most {} pixels are processed", limits.pixels);
        return Err(Unusable(text));
    }
    let rate = |text: &Option<String>| text.as_deref().and_then(Rational::parse).filter(|rate| rate.num > 0);
    let aspect = stream.sample_aspect_ratio.as_deref().and_then(Rational::parse);
    // What is thinner than a tenth is a mistake of whoever wrote it.
    let aspect = aspect.filter(|aspect| (0.1..=10.0).contains(&aspect.value()));
    let turned = stream.side_data_list.iter().find_map(|data| data.rotation).unwrap_or(0.0);
    let turned = turned.rem_euclid(360.0);
    Ok(Video {
        index: stream.index,
        codec: stream.codec_name.clone(),
        width,
        height,
        rotation: [90, 180, 270].into_iter().find(|by| (f64::from(*by) - turned).abs() < 45.0).unwrap_or(0),
        pixel_aspect: aspect.unwrap_or(Rational { num: 1, den: 1 }),
        frame_rate: rate(&stream.avg_frame_rate)
            .or_else(|| rate(&stream.r_frame_rate))
            .unwrap_or(Rational { num: 0, den: 1 }),
        base_rate: rate(&stream.r_frame_rate),
        is_interlaced: matches!(stream.field_order.as_deref(), Some("tt" | "bb" | "tb" | "bt")),
        transfer: stream.color_transfer.clone(),
        span: Span::default(),
    })
}

fn audio(stream: &Stream) -> Audio {
    Audio {
        index: stream.index,
        codec: stream.codec_name.clone(),
        sample_rate: stream.sample_rate.as_deref().and_then(|rate| rate.parse().ok()).unwrap_or(48_000),
        channels: stream.channels,
        span: Span::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { pixels: 1_000_000, streams: 3, seconds: 100.0 };

    fn refused(json: &str) -> String {
        parse(json.as_bytes(), &LIMITS).expect_err(json).to_string()
    }

    #[test]
    fn a_turned_picture_with_broad_pixels_is_seen_as_players_show_it() {
        let json = r#"{"streams":[{"index":1,"codec_type":"video","codec_name":"h264","width":320,"height":180,
            "sample_aspect_ratio":"4:3","avg_frame_rate":"30000/1001","side_data_list":[{"rotation":-90}]},
            {"index":0,"codec_type":"video","codec_name":"mjpeg","width":9,"height":9,"disposition":{"attached_pic":1}}],
            "format":{"format_name":"mov,mp4","duration":"12.5"}}"#;
        let probe = parse(json.as_bytes(), &LIMITS).expect("it can be used");
        let video = probe.video.expect("it has video");
        assert_eq!((video.index, video.rotation, video.shown()), (1, 270, (180, 426)));
        assert_eq!(probe.promised_seconds, Some(12.5));
        assert_eq!(probe.audio, None);
    }

    #[test]
    fn what_is_too_much_is_named() {
        let picture = |size: i64| {
            format!(
                r#"{{"streams":[{{"index":0,"codec_type":"video","codec_name":"h264","width":{size},"height":{size}}}]}}"#
            )
        };
        assert_eq!(refused(&picture(1001)), "its picture is 1001x1001; at most 1000000 pixels are processed");
        assert_eq!(refused(&picture(-1)), "its h264 video has no size");
        assert_eq!(refused("{}"), "it has neither video nor audio");
        assert!(refused("nonsense").starts_with("ffprobe's answer makes no sense"));
        let many = r#"{"index":0,"codec_type":"data"}"#;
        let many = [many; 4].join(",");
        assert_eq!(
            refused(&format!(r#"{{"streams":[{many}]}}"#)),
            "it has 4 streams; at most 3 are processed"
        );
        let long =
            r#"{"streams":[{"index":0,"codec_type":"audio","channels":2}],"format":{"duration":"101"}}"#;
        assert_eq!(refused(long), "it takes 101 seconds; at most 100 are processed");
    }
}
