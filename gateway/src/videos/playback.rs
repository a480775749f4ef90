//! What plays of a video, as the worker that published it has told, and where that is.

use percent_encoding::utf8_percent_encode;
use seekway_catalog::Video;
use serde::{Deserialize, Serialize};
use tracing::warn;
use utoipa::ToSchema;

use crate::objects::PATH;

/// What plays of a video. All of it lies below one address, which is another one once the video is processed again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Playback)]
pub(crate) struct PlaybackDocument {
    /// HLS: the multivariant playlist.
    #[serde(skip_serializing_if = "Option::is_none")]
    hls: Option<String>,
    /// DASH: the manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    dash: Option<String>,
    /// One file, for players that know nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    mp4: Option<String>,
    /// A picture of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    poster: Option<String>,
    /// Small pictures of all of it: a `WebVTT` file that says which part of which image is of which time.
    #[serde(skip_serializing_if = "Option::is_none")]
    storyboard: Option<String>,
    /// What it was made of, and how.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<String>,
    /// What of it there is, best first or not, as the profile has it.
    renditions: Vec<Rendition>,
    /// How long it plays.
    #[schema(minimum = 0)]
    duration_ms: u64,
    /// Whether there is sound.
    has_audio: bool,
}

/// One of the forms in which a video plays.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Rendition {
    /// What the profile calls it.
    name: String,
    /// In pixels.
    width: Option<u32>,
    /// In pixels.
    height: Option<u32>,
    /// Pictures in a second, as a number or a fraction.
    frame_rate: Option<String>,
    /// Of picture and sound (RFC 6381).
    codecs: Option<String>,
    /// Bits in a second at most, with sound.
    bandwidth: Option<u64>,
    /// Bits in a second on the average, with sound.
    average_bandwidth: Option<u64>,
    /// Its length in the store.
    bytes: Option<u64>,
}

/// What the worker tells.
#[derive(Deserialize)]
pub(crate) struct Outputs {
    pub(crate) files: Files,
    #[serde(default)]
    renditions: Vec<Rendition>,
    #[serde(default)]
    duration_ms: u64,
    #[serde(default)]
    has_audio: bool,
}

/// Names of files below the prefix.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Files {
    pub(crate) hls: Option<String>,
    pub(crate) dash: Option<String>,
    mp4: Option<String>,
    poster: Option<String>,
    storyboard: Option<String>,
    receipt: Option<String>,
}

// === impl Outputs ===

impl Outputs {
    /// Where what the video has published lies, and what it is.
    pub(crate) fn of(video: &Video) -> Option<(&str, Self)> {
        let (prefix, outputs) = (video.published_prefix.as_deref()?, video.published.as_deref()?);
        match serde_json::from_str(outputs) {
            Ok(outputs) => Some((prefix, outputs)),
            Err(error) => {
                warn!(id = %video.id, %error, "what a worker said of a video is not understood; it plays as it is");
                None
            }
        }
    }
}

// === impl PlaybackDocument ===

impl PlaybackDocument {
    pub(super) fn of(video: &Video) -> Option<Self> {
        let (prefix, Outputs { files, renditions, duration_ms, has_audio }) = Outputs::of(video)?;
        let path = |name: Option<String>| {
            name.map(|name| format!("/media/{}", utf8_percent_encode(&format!("{prefix}{name}"), PATH)))
        };
        Some(Self {
            hls: path(files.hls),
            dash: path(files.dash),
            mp4: path(files.mp4),
            poster: path(files.poster),
            storyboard: path(files.storyboard),
            receipt: path(files.receipt),
            renditions,
            duration_ms,
            has_audio,
        })
    }
}
