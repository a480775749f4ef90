//! The labels of metrics: which values each can have. All of them are known when the gateway starts, so that
//! counting is an addition and never a look-up.

use http::header::{self, HeaderMap};
use http::{Method, Request, StatusCode, Version};
use seekway_cache::Source;

use crate::accounts::Refusal;
use crate::app::Surface;
use crate::respond::Problem;

/// One label with its values.
pub(crate) trait Label: Copy {
    const NAME: &'static str;
    /// How many values it can have.
    const COUNT: usize;

    fn values() -> Vec<&'static str>;

    /// The place of this value among [`values`](Self::values).
    fn index(self) -> usize;
}

/// Labels with their names and all their values.
pub(crate) type Names = Vec<(&'static str, Vec<&'static str>)>;

/// The labels of one metric, none to three of them.
pub(crate) trait Labels: Copy {
    fn all() -> Names;

    /// The place of these values among all combinations; the last label counts fastest.
    fn index(self) -> usize;
}

macro_rules! label {
    ($(#[doc = $doc:literal])+ $label:ident $name:literal { $($value:ident $text:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $label { $($value,)+ }

        impl Label for $label {
            const NAME: &'static str = $name;
            const COUNT: usize = [$($text,)+].len();

            fn values() -> Vec<&'static str> {
                vec![$($text,)+]
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

pub(super) use label;

label! {
    /// What was asked for.
    Kind "kind" {
        // Of an object.
        Full "full",
        Range "range",
        MultiRange "multirange",
        Conditional "conditional",
        Head "head",
        Options "options",
        // Of the gateway.
        Api "api",
        Console "console",
        Admin "admin",
        Other "other",
    }
}

label! {
    /// Which HTTP it was asked with.
    Protocol "protocol" {
        H1 "h1",
        H2 "h2",
    }
}

label! {
    /// Where a connection came in.
    Listener "listener" {
        Public "public",
        Admin "admin",
    }
}

label! {
    /// How a connection ended.
    Ending "reason" {
        Closed "closed",
        Idle "idle",
        HandshakeTimeout "handshake_timeout",
        HeadTimeout "head_timeout",
        Stalled "client_stalled",
        Refused "refused",
        ProxyHeader "proxy_header",
        Handshake "handshake_failed",
        Error "error",
    }
}

label! {
    /// How a TLS handshake ended.
    Handshake "outcome" {
        Completed "completed",
        Failed "failed",
    }
}

label! {
    /// Which limit a request met.
    Limit "reason" {
        ClientRate "client_rate",
        MaxRequests "max_requests",
        Memory "memory",
        LogIns "log_ins",
        Passwords "passwords",
    }
}

label! {
    /// Where the first byte of a response came from.
    Tier "tier" {
        Memory "memory",
        Redis "redis",
        Joined "joined",
        Filled "filled",
        None "none",
    }
}

label! {
    /// How a request ended.
    Outcome "outcome" {
        Complete "complete",
        ClientLeft "client_left",
        ClientStalled "client_stalled",
        Cut "cut",
        Unanswered "unanswered",
    }
}

/// The status codes that the gateway answers with.
const STATUSES: [&str; 29] = [
    "200", "201", "202", "204", "206", "304", "400", "401", "403", "404", "405", "408", "409", "410", "412",
    "413", "414", "415", "416", "422", "429", "431", "500", "501", "502", "503", "504", "505", "other",
];

/// A status code of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status(usize);

// === impl Labels ===

impl Labels for () {
    fn all() -> Names {
        Vec::new()
    }

    fn index(self) -> usize {
        0
    }
}

impl<A: Label> Labels for A {
    fn all() -> Names {
        vec![(A::NAME, A::values())]
    }

    fn index(self) -> usize {
        Label::index(self)
    }
}

impl<A: Label, B: Label> Labels for (A, B) {
    fn all() -> Names {
        vec![(A::NAME, A::values()), (B::NAME, B::values())]
    }

    fn index(self) -> usize {
        self.0.index() * B::COUNT + self.1.index()
    }
}

impl<A: Label, B: Label, C: Label> Labels for (A, B, C) {
    fn all() -> Names {
        vec![(A::NAME, A::values()), (B::NAME, B::values()), (C::NAME, C::values())]
    }

    fn index(self) -> usize {
        Labels::index((self.0, self.1)) * C::COUNT + self.2.index()
    }
}

// === impl Outcome ===

impl Outcome {
    /// One word for metrics and logs.
    pub(crate) fn text(self) -> &'static str {
        Self::values()[self as usize]
    }
}

// === impl Kind ===

impl Kind {
    /// What `request` asks for, whatever the answer will be.
    pub(crate) fn of<B>(surface: Surface, request: &Request<B>) -> Self {
        let path = request.uri().path();
        match surface {
            Surface::Admin => Self::Admin,
            Surface::Public if path.starts_with("/media/") => {
                Self::of_media(request.method(), request.headers())
            }
            Surface::Public if path.starts_with("/api/") => Self::Api,
            Surface::Public if path == "/" || path.starts_with("/assets/") => Self::Console,
            Surface::Public => Self::Other,
        }
    }

    fn of_media(method: &Method, headers: &HeaderMap) -> Self {
        match *method {
            Method::HEAD => Self::Head,
            Method::OPTIONS => Self::Options,
            Method::GET => match headers.get(header::RANGE) {
                Some(range) if range.as_bytes().contains(&b',') => Self::MultiRange,
                Some(_) => Self::Range,
                None if is_conditional(headers) => Self::Conditional,
                None => Self::Full,
            },
            _ => Self::Other,
        }
    }
}

fn is_conditional(headers: &HeaderMap) -> bool {
    let conditions =
        [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_MATCH, header::IF_UNMODIFIED_SINCE];
    conditions.iter().any(|name| headers.contains_key(name))
}

// === impl Limit ===

impl Limit {
    /// The limit that was met, if `problem` is that.
    pub(crate) fn of(problem: &Problem) -> Option<Self> {
        match problem {
            Problem::TooManyRequests { .. } => Some(Self::ClientRate),
            Problem::Overloaded => Some(Self::MaxRequests),
            Problem::Busy => Some(Self::Memory),
            Problem::Account(Refusal::TooManyAttempts { .. }) => Some(Self::LogIns),
            Problem::Account(Refusal::TooManyPasswords) => Some(Self::Passwords),
            _ => None,
        }
    }
}

// === impl Listener, Protocol, Tier ===

impl From<Surface> for Listener {
    fn from(surface: Surface) -> Self {
        match surface {
            Surface::Public => Self::Public,
            Surface::Admin => Self::Admin,
        }
    }
}

impl From<Version> for Protocol {
    fn from(version: Version) -> Self {
        if version == Version::HTTP_2 { Self::H2 } else { Self::H1 }
    }
}

impl From<Option<Source>> for Tier {
    fn from(source: Option<Source>) -> Self {
        match source {
            Some(Source::Memory) => Self::Memory,
            Some(Source::Redis) => Self::Redis,
            Some(Source::Joined) => Self::Joined,
            Some(Source::Filled) => Self::Filled,
            None => Self::None,
        }
    }
}

// === impl Status ===

impl Label for Status {
    const NAME: &'static str = "status";
    const COUNT: usize = STATUSES.len();

    fn values() -> Vec<&'static str> {
        STATUSES.to_vec()
    }

    fn index(self) -> usize {
        self.0
    }
}

impl From<StatusCode> for Status {
    fn from(status: StatusCode) -> Self {
        let known = STATUSES.iter().position(|value| *value == status.as_str());
        Self(known.unwrap_or(STATUSES.len() - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, path: &str, headers: &[(&str, &str)], expected: Kind) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        assert_eq!(Kind::of(Surface::Public, &request), expected, "{method} {path} {headers:?}");
        assert_eq!(Kind::of(Surface::Admin, &request), Kind::Admin);
    }

    #[test]
    fn requests_are_of_the_kind_that_was_asked_for() {
        check("GET", "/media/a", &[], Kind::Full);
        check("GET", "/media/a", &[("range", "bytes=0-9")], Kind::Range);
        check("GET", "/media/a", &[("range", "bytes=0-9"), ("if-none-match", "*")], Kind::Range);
        check("GET", "/media/a", &[("range", "bytes=0-9,20-")], Kind::MultiRange);
        check("GET", "/media/a", &[("if-none-match", "\"a\"")], Kind::Conditional);
        check("GET", "/media/a", &[("if-range", "\"a\"")], Kind::Full);
        check("HEAD", "/media/a", &[("range", "bytes=0-9")], Kind::Head);
        check("OPTIONS", "/media/a", &[], Kind::Options);
        check("POST", "/media/a", &[], Kind::Other);
        check("GET", "/api/health", &[], Kind::Api);
        check("GET", "/", &[], Kind::Console);
        check("GET", "/assets/console.js", &[], Kind::Console);
        check("GET", "/nowhere", &[], Kind::Other);
    }

    #[test]
    fn every_combination_has_a_place_of_its_own() {
        type Three = (Kind, Status, Protocol);
        let statuses = (0..STATUSES.len()).map(Status);
        let places = statuses.flat_map(|status| {
            [Kind::Full, Kind::Other].into_iter().flat_map(move |kind| {
                [Protocol::H1, Protocol::H2].map(|protocol| Labels::index((kind, status, protocol)))
            })
        });
        let mut places: Vec<_> = places.collect();
        let count = places.len();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), count);
        let all = Three::all().iter().map(|(_, values)| values.len()).product::<usize>();
        assert!(places.iter().all(|place| *place < all));
    }

    #[test]
    fn a_status_that_is_not_ours_is_another() {
        let text = |status: StatusCode| STATUSES[Status::from(status).0];
        assert_eq!((text(StatusCode::PARTIAL_CONTENT), text(StatusCode::IM_A_TEAPOT)), ("206", "other"));
    }
}
