//! What programs are told of events, by streams, pages and webhooks alike.

use std::fmt;

use seekway_catalog::FeedEvent;
use serde::Serialize;
use utoipa::ToSchema;

use crate::videos::timestamp;

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub(crate) struct EventDocument<'a> {
    /// Its name, the same wherever and however often it is told.
    #[schema(format = "uuid")]
    id: String,
    /// What it was, such as `video.ready`. New ones may come.
    #[schema(example = "video.ready")]
    r#type: &'a str,
    /// When it happened.
    #[schema(format = "date-time")]
    timestamp: String,
    /// What it happened to.
    #[schema(inline)]
    data: Data<'a>,
}

/// What an event happened to. What does not apply is left out.
#[derive(Debug, Serialize, ToSchema)]
struct Data<'a> {
    /// The account that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid")]
    owner: Option<String>,
    /// The video.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid")]
    video: Option<String>,
    /// What it was called then.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    /// The job.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid")]
    job: Option<String>,
    /// The webhook.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid")]
    webhook: Option<String>,
    /// What was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
}

/// A page of the feed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Events)]
pub(crate) struct EventsDocument<'a> {
    /// Oldest first.
    pub(super) events: Vec<EventDocument<'a>>,
    /// `after` of the next page, also where nothing is newer yet.
    pub(super) next: String,
    /// What came after `after` is not kept any more: look at everything anew, and go on from `next`.
    pub(super) reset: bool,
}

/// A place in the feed, as clients carry it around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(pub(crate) i64);

/// So that the number of a video's event is not taken for one.
const PREFIX: &str = "feed-";

// === impl EventDocument ===

impl<'a> From<&'a FeedEvent> for EventDocument<'a> {
    fn from(event: &'a FeedEvent) -> Self {
        Self {
            id: event.id.to_string(),
            r#type: &event.kind,
            timestamp: timestamp(event.created_ms),
            data: Data {
                owner: event.owner.map(|id| id.to_string()),
                video: event.video.map(|id| id.to_string()),
                title: event.title.as_deref(),
                job: event.job.map(|id| id.to_string()),
                webhook: event.webhook.map(|id| id.to_string()),
                problem: event.problem.as_deref(),
            },
        }
    }
}

impl EventDocument<'_> {
    /// As it is sent; the same bytes each time.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("documents have text for keys")
    }
}

// === impl Place ===

impl Place {
    /// Reads what `Display` writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let number = text.strip_prefix(PREFIX)?;
        // One spelling each.
        let place = number.parse().ok().map(Self).filter(|place| place.0 >= 0)?;
        (place.to_string() == text).then_some(place)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn places_have_one_spelling() {
        for number in [0, 7, i64::MAX] {
            assert_eq!(Place::parse(&Place(number).to_string()), Some(Place(number)));
        }
        for bad in [
            "",
            "7",
            "feed-",
            "feed--7",
            "feed-+7",
            "feed-07",
            "feed-7 ",
            "FEED-7",
            "feed-9223372036854775808",
        ] {
            assert_eq!(Place::parse(bad), None, "{bad}");
        }
    }
}
