//! What the API says of videos, and what is said to it.

use std::time::{Duration, UNIX_EPOCH};

use percent_encoding::utf8_percent_encode;
use seekway_catalog::{Phase, Progress, Video, VideoState, Visibility};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::playback::PlaybackDocument;
use crate::objects::PATH;

/// A video.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Video)]
pub(crate) struct VideoDocument {
    /// Its name.
    #[schema(format = "uuid")]
    id: String,
    /// What people call it.
    title: String,
    /// Who may see it.
    visibility: VisibilityWord,
    /// Where it stands.
    state: StateWord,
    /// Why it failed.
    problem: Option<String>,
    /// How far workers are, while they are at it.
    progress: Option<ProgressDocument>,
    /// The account that it belongs to; none on a gateway without accounts.
    #[schema(format = "uuid")]
    owner: Option<String>,
    /// Where its original plays.
    url: String,
    /// What plays everywhere, once workers have published it.
    playback: Option<PlaybackDocument>,
    /// Its length in bytes.
    #[schema(minimum = 0)]
    size: u64,
    /// The original's media type.
    content_type: Option<String>,
    /// What its first bytes say it is.
    container: Option<String>,
    /// Its SHA-256 in lower-case hex, once it is known.
    sha256: Option<String>,
    /// How long it plays, once it is known.
    duration_seconds: Option<f64>,
    /// When it was added.
    #[schema(format = "date-time")]
    created: String,
    /// When it last changed.
    #[schema(format = "date-time")]
    updated: String,
}

/// How far workers are with a video.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Progress)]
pub(crate) struct ProgressDocument {
    /// What they do.
    phase: PhaseWord,
    /// How much of the whole work is done.
    #[schema(minimum = 0, maximum = 100)]
    percent: u8,
    /// How many times as fast as the video plays, where that is known.
    speed: Option<f64>,
    /// Until it is done, where that can be told.
    #[schema(minimum = 0)]
    eta_seconds: Option<u32>,
}

/// What workers do with a video, in this order.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = Phase)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PhaseWord {
    Fetching,
    Probing,
    Transcoding,
    Packaging,
    Publishing,
}

/// A page of videos.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Videos)]
pub(crate) struct VideosDocument {
    /// Newest first.
    pub(super) videos: Vec<VideoDocument>,
    /// `after` of the next page; none on the last one.
    #[schema(format = "uuid")]
    pub(super) next: Option<String>,
}

/// What to change. What is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = VideoPatch)]
#[serde(deny_unknown_fields)]
pub(crate) struct PatchDocument {
    /// What people call it: 1 to 300 characters in one line, not only spaces.
    #[schema(min_length = 1, max_length = 300)]
    pub(super) title: Option<String>,
    /// Who may see it.
    pub(super) visibility: Option<VisibilityWord>,
}

/// Who may see a video besides its owner and admins: nobody, whoever knows its address, or everybody.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[schema(as = Visibility)]
#[serde(rename_all = "lowercase")]
pub(crate) enum VisibilityWord {
    Private,
    Unlisted,
    Public,
}

/// Where a video stands: its original plays; workers are at it; it plays everywhere; workers could make nothing of it.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = VideoState)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StateWord {
    Uploaded,
    Processing,
    Ready,
    Failed,
    Deleting,
}

impl From<Video> for VideoDocument {
    fn from(video: Video) -> Self {
        let playback = PlaybackDocument::of(&video);
        let source = video.source;
        Self {
            id: video.id.to_string(),
            title: video.title,
            visibility: video.visibility.into(),
            state: video.state.into(),
            problem: video.problem,
            progress: video.progress.map(ProgressDocument::from),
            owner: video.owner.map(|owner| owner.to_string()),
            url: format!("/media/{}", utf8_percent_encode(&source.key, PATH)),
            playback,
            size: source.size,
            content_type: source.content_type,
            container: source.container,
            sha256: source.sha256,
            duration_seconds: video.duration_ms.map(seconds),
            created: timestamp(video.created_ms),
            updated: timestamp(video.updated_ms),
        }
    }
}

impl From<Progress> for ProgressDocument {
    fn from(progress: Progress) -> Self {
        let phase = match progress.phase {
            Phase::Fetching => PhaseWord::Fetching,
            Phase::Probing => PhaseWord::Probing,
            Phase::Transcoding => PhaseWord::Transcoding,
            Phase::Packaging => PhaseWord::Packaging,
            Phase::Publishing => PhaseWord::Publishing,
        };
        let speed = progress.speed_milli.map(|milli| f64::from(milli) / 1e3);
        Self { phase, percent: progress.percent, speed, eta_seconds: progress.eta_seconds }
    }
}

impl From<Visibility> for VisibilityWord {
    fn from(visibility: Visibility) -> Self {
        match visibility {
            Visibility::Private => Self::Private,
            Visibility::Unlisted => Self::Unlisted,
            Visibility::Public => Self::Public,
        }
    }
}

impl From<VisibilityWord> for Visibility {
    fn from(word: VisibilityWord) -> Self {
        match word {
            VisibilityWord::Private => Self::Private,
            VisibilityWord::Unlisted => Self::Unlisted,
            VisibilityWord::Public => Self::Public,
        }
    }
}

impl From<VideoState> for StateWord {
    fn from(state: VideoState) -> Self {
        match state {
            VideoState::Uploaded => Self::Uploaded,
            VideoState::Processing => Self::Processing,
            VideoState::Ready => Self::Ready,
            VideoState::Failed => Self::Failed,
            VideoState::Deleting => Self::Deleting,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "no film lasts 2^52 milliseconds")]
fn seconds(duration_ms: i64) -> f64 {
    duration_ms as f64 / 1e3
}

/// RFC 3339, in UTC.
pub(crate) fn timestamp(since_1970_ms: i64) -> String {
    let since = Duration::from_millis(u64::try_from(since_1970_ms).unwrap_or_default());
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}
