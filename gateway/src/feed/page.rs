//! Pages of the feed, for programs that ask now and then.

use http::{Response, StatusCode};
use seekway_catalog::{Catalog, Following};

use super::document::{EventDocument, EventsDocument, Place};
use super::listener::hears;
use crate::caller::Caller;
use crate::delivery::body::Payload;
use crate::json;
use crate::respond::Problem;
use crate::routes::{BadQuery, VIDEOS_LIMIT_MAX, limit, parameter};

/// Without a `limit`: as many as there may be.
const LIMIT_DEFAULT: usize = VIDEOS_LIMIT_MAX;

/// Answers `?after=&limit=`; without `after` it begins with the oldest event that is kept.
pub(crate) async fn page(
    catalog: &Catalog,
    caller: Caller,
    query: Option<&str>,
) -> Result<Response<Payload>, Problem> {
    let viewer = hears(caller)?;
    let query = query.unwrap_or_default();
    let after = place(query)?;
    let limit =
        limit(query, LIMIT_DEFAULT, VIDEOS_LIMIT_MAX).transpose().unwrap_or(Err(BadQuery::VideosLimit));
    let limit = u32::try_from(limit.map_err(Problem::BadQuery)?).expect("a limit is small");
    let following = catalog.feed().after(viewer, after.map(|place| place.0), limit).await?;
    let (events, next, reset) = match &following {
        Following::Events(events, last) => (events.as_slice(), *last, false),
        Following::Lost(newest) => (&[][..], *newest, true),
    };
    let events = events.iter().map(EventDocument::from).collect();
    let document = EventsDocument { events, next: Place(next).to_string(), reset };
    Ok(json::response(StatusCode::OK, &document))
}

/// Where a query goes on.
pub(super) fn place(query: &str) -> Result<Option<Place>, Problem> {
    let after = parameter(query, "after").map_err(Problem::BadQuery)?;
    let after = after.map(|text| Place::parse(&text).ok_or(Problem::BadQuery(BadQuery::EventAfter)));
    after.transpose()
}
