//! What becomes of a video by the jobs that are done on it.

use crate::database::{Write, args};
use crate::jobs::Published;
use crate::{Error, VideoId, changes};

use super::{VideoState, locked, transition};

/// From now on the video is what lies below `prefix`. Where what it was before lies, if it was anything.
///
/// # Errors
/// [`Error::NotFound`] when it is being deleted.
pub(crate) async fn publish(
    write: &mut Write,
    id: VideoId,
    prefix: &str,
    published: &Published,
) -> Result<Option<String>, Error> {
    let video = locked(write, id).await?;
    if video.state == VideoState::Deleting {
        return Err(Error::NotFound);
    }
    let sql = "UPDATE videos SET published_prefix = $2, published = $3, duration_ms = $4 WHERE id = $1";
    write.rows(sql, args![id, prefix, published.outputs.as_str(), published.duration_ms]).await?;
    transition(write, &video, VideoState::Ready, None).await?;
    for prefix in video.published_prefix.as_deref().into_iter().chain([prefix]) {
        changes::tell(write, prefix).await?;
    }
    Ok(video.published_prefix)
}

/// Nobody processes it any more, because of `problem`, or because somebody gave it up. It is then what it was.
pub(crate) async fn give_up(write: &mut Write, id: VideoId, problem: Option<&str>) -> Result<(), Error> {
    let video = locked(write, id).await?;
    let next = match (video.state, &video.published_prefix, problem) {
        (VideoState::Processing, Some(_), _) => VideoState::Ready,
        (VideoState::Processing, None, Some(_)) => VideoState::Failed,
        (VideoState::Processing, None, None) => VideoState::Uploaded,
        _ => return Ok(()),
    };
    transition(write, &video, next, problem).await
}
