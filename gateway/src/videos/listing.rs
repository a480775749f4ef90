//! `GET /api/videos`: pages of videos, newest first.

use http::{Response, StatusCode};
use seekway_catalog::{AccountId, Catalog, Filter, VideoId, VideoState, Visibility};

use super::document::{VideoDocument, VideosDocument};
use crate::caller::Caller;
use crate::delivery::body::Payload;
use crate::json;
use crate::respond::Problem;
use crate::routes::{BadQuery, VIDEOS_LIMIT_MAX, limit, parameter};

/// Without a `limit`: a screenful.
const LIMIT_DEFAULT: usize = 20;

/// Answers `?search=&owner=&visibility=&state=&after=&limit=`.
pub(crate) async fn list(
    catalog: &Catalog,
    caller: Caller,
    query: Option<&str>,
) -> Result<Response<Payload>, Problem> {
    let (filter, after, limit) = read(caller, query.unwrap_or_default()).map_err(Problem::BadQuery)?;
    // One more than is shown says whether there is a next page.
    let wanted = u32::try_from(limit + 1).expect("a limit is small");
    let mut videos = catalog.videos().list(&filter, after, wanted).await?;
    let more = videos.len() > limit;
    videos.truncate(limit);
    let next = videos.last().filter(|_| more).map(|video| video.id.to_string());
    let videos = videos.into_iter().map(VideoDocument::from).collect();
    Ok(json::response(StatusCode::OK, &VideosDocument { videos, next }))
}

/// Of a parameter sent twice the first counts; unknown and empty ones are ignored.
fn read(caller: Caller, query: &str) -> Result<(Filter, Option<VideoId>, usize), BadQuery> {
    let value = |name: &str| parameter(query, name);
    let owner = match value("owner")?.as_deref() {
        None => None,
        Some("me") => match caller {
            Caller::Account { account, .. } => Some(account),
            Caller::Stranger | Caller::Local => return Err(BadQuery::Owner),
        },
        Some(text) => Some(AccountId::parse(text).ok_or(BadQuery::Owner)?),
    };
    let visibility = value("visibility")?.map(|word| Visibility::parse(&word).ok_or(BadQuery::Visibility));
    let state = value("state")?.map(|word| VideoState::parse(&word).ok_or(BadQuery::State));
    let after = value("after")?.map(|text| VideoId::parse(&text).ok_or(BadQuery::After));
    let limit = limit(query, LIMIT_DEFAULT, VIDEOS_LIMIT_MAX)?.ok_or(BadQuery::VideosLimit)?;
    let filter = Filter {
        viewer: caller.viewer(),
        owner,
        visibility: visibility.transpose()?,
        state: state.transpose()?,
        search: value("search")?,
    };
    Ok((filter, after.transpose()?, limit))
}
