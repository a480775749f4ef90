//! What can go wrong at an object store, on demand.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use http::{Method, StatusCode};

use super::objects::{Object, Running};

/// One way in which an answer goes wrong. Positions count bytes of the body.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The head comes later, on top of the shape's latency.
    Delay(Duration),
    /// Nothing comes until [`Origin::release_hung`](super::Origin::release_hung).
    Hang,
    /// The body stops after this many bytes, until [`Origin::release_hung`](super::Origin::release_hung).
    HangAfter(u64),
    /// The connection is closed before an answer.
    Close,
    /// The head is right, and the connection is closed after this many bytes of the body.
    Truncate(u64),
    /// This body has a pace of its own, in bytes per second.
    Bandwidth(u64),
    /// An error with this status, with the XML that S3 sends with it.
    Status(StatusCode),
    /// Requests beyond so many in any one second are answered with 503 `SlowDown`.
    Throttle(usize),
    /// `Content-Range` names a start and an end that are this much further on; the body is what was asked for.
    ShiftContentRange(u64),
    /// `Content-Range` names this as the object's size.
    WrongTotal(u64),
    /// A ranged request is answered with 200 and the whole object.
    IgnoreRange,
    /// The request is answered although its `If-Match` does not hold.
    IgnoreIfMatch,
    /// The answer has no ETag.
    MissingEtag,
    /// The answer's ETag is the object's with `W/` in front.
    WeakEtag,
    /// The answer has this ETag, quoted as the header has it, whatever `If-Match` was compared with.
    WrongEtag(String),
    /// The object is replaced once this many bytes of the answer's body were sent (0: before its first).
    /// The answer's head is the old version's.
    Replace {
        /// Bytes of the body that are sent before.
        after: u64,
        /// The new version.
        with: Object,
        /// What this answer and others under way go on with.
        running: Running,
    },
}

/// A [`Fault`] and the requests that meet it: by default, every read of every object until
/// [`Origin::clear_faults`](super::Origin::clear_faults).
///
/// Several rules can meet one request. Where two set the same kind of fault, the older is used and the younger
/// waits: `Status(500)` once and `Status(503)` once fail two requests.
#[derive(Debug, Clone)]
pub struct Rule {
    fault: Fault,
    object: Option<(String, String)>,
    method: Option<Method>,
    skip: u64,
    times: Option<u64>,
    /// When [`Fault::Throttle`] let its last requests through.
    let_through: VecDeque<Instant>,
}

/// Everything that goes wrong with one request.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault that is there or not")]
pub(super) struct Plan {
    pub(super) delay: Option<Duration>,
    pub(super) hang: bool,
    pub(super) hang_after: Option<u64>,
    pub(super) close: bool,
    pub(super) truncate_after: Option<u64>,
    pub(super) bytes_per_second: Option<u64>,
    pub(super) status: Option<StatusCode>,
    pub(super) shift_content_range: Option<u64>,
    pub(super) wrong_total: Option<u64>,
    pub(super) ignore_range: bool,
    pub(super) ignore_if_match: bool,
    pub(super) etag: Option<EtagFault>,
    pub(super) replace: Option<(u64, Object, Running)>,
}

#[derive(Debug)]
pub(super) enum EtagFault {
    Missing,
    Weak,
    Wrong(String),
}

// === impl Fault ===

impl Fault {
    /// Only for requests of this object.
    pub fn on(self, bucket: &str, key: &str) -> Rule {
        Rule::from(self).on(bucket, key)
    }

    /// Only for requests with this method.
    pub fn method(self, method: Method) -> Rule {
        Rule::from(self).method(method)
    }

    /// Only after `requests` matching requests were let through.
    pub fn skip(self, requests: u64) -> Rule {
        Rule::from(self).skip(requests)
    }

    /// Only for the next `requests` matching requests.
    pub fn times(self, requests: u64) -> Rule {
        Rule::from(self).times(requests)
    }
}

// === impl Rule ===

impl From<Fault> for Rule {
    fn from(fault: Fault) -> Self {
        Self { fault, object: None, method: None, skip: 0, times: None, let_through: VecDeque::new() }
    }
}

impl Rule {
    /// Only for requests of this object.
    #[must_use]
    pub fn on(mut self, bucket: &str, key: &str) -> Self {
        self.object = Some((bucket.to_owned(), key.to_owned()));
        self
    }

    /// Only for requests with this method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Only after `requests` matching requests were let through.
    #[must_use]
    pub fn skip(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    /// Only for the next `requests` matching requests.
    #[must_use]
    pub fn times(mut self, requests: u64) -> Self {
        self.times = Some(requests);
        self
    }

    /// Whether [`Fault::Throttle`] had less than it allows in the second before this request.
    fn lets_through(&mut self) -> bool {
        let Fault::Throttle(limit) = self.fault else { return false };
        let now = Instant::now();
        self.let_through.retain(|at| now.duration_since(*at) < Duration::from_secs(1));
        let free = self.let_through.len() < limit;
        if free {
            self.let_through.push_back(now);
        }
        free
    }

    fn matches(&self, method: &Method, bucket: &str, key: &str) -> bool {
        self.times != Some(0)
            && self.method.as_ref().is_none_or(|wanted| wanted == method)
            && self.object.as_ref().is_none_or(|(b, k)| b == bucket && k == key)
    }
}

// === impl Plan ===

impl Plan {
    /// What `rules` do to this request; uses up what they allow.
    pub(super) fn draw(rules: &mut [Rule], method: &Method, bucket: &str, key: &str) -> Self {
        let mut plan = Self::default();
        for rule in rules.iter_mut().filter(|rule| rule.matches(method, bucket, key)) {
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if !rule.lets_through() && plan.take(&rule.fault) {
                rule.times = rule.times.map(|times| times - 1);
            }
        }
        plan
    }

    /// Adds a fault; false when there is one of its kind already.
    fn take(&mut self, fault: &Fault) -> bool {
        match fault {
            Fault::Delay(delay) => set(&mut self.delay, *delay),
            Fault::Hang => !std::mem::replace(&mut self.hang, true),
            Fault::HangAfter(bytes) => set(&mut self.hang_after, *bytes),
            Fault::Close => !std::mem::replace(&mut self.close, true),
            Fault::Truncate(bytes) => set(&mut self.truncate_after, *bytes),
            Fault::Bandwidth(bytes_per_second) => set(&mut self.bytes_per_second, *bytes_per_second),
            Fault::Status(status) => set(&mut self.status, *status),
            Fault::Throttle(_) => set(&mut self.status, StatusCode::SERVICE_UNAVAILABLE),
            Fault::ShiftContentRange(bytes) => set(&mut self.shift_content_range, *bytes),
            Fault::WrongTotal(total) => set(&mut self.wrong_total, *total),
            Fault::IgnoreRange => !std::mem::replace(&mut self.ignore_range, true),
            Fault::IgnoreIfMatch => !std::mem::replace(&mut self.ignore_if_match, true),
            Fault::MissingEtag => set(&mut self.etag, EtagFault::Missing),
            Fault::WeakEtag => set(&mut self.etag, EtagFault::Weak),
            Fault::WrongEtag(etag) => set(&mut self.etag, EtagFault::Wrong(etag.clone())),
            Fault::Replace { after, with, running } => {
                set(&mut self.replace, (*after, with.clone(), *running))
            }
        }
    }
}

fn set<T>(slot: &mut Option<T>, value: T) -> bool {
    let free = slot.is_none();
    if free {
        *slot = Some(value);
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_one_kind_queue_up_and_others_add_up() {
        let mut rules = vec![
            Fault::Status(StatusCode::INTERNAL_SERVER_ERROR).times(1),
            Fault::Status(StatusCode::FORBIDDEN).times(1),
            Fault::Truncate(5).on("b", "other"),
            Fault::IgnoreRange.skip(1).times(1),
        ];
        let mut plan = || {
            let plan = Plan::draw(&mut rules, &Method::GET, "b", "k");
            assert_eq!(plan.truncate_after, None, "another object's fault");
            (plan.status.map(|status| status.as_u16()), plan.ignore_range)
        };
        assert_eq!(plan(), (Some(500), false));
        assert_eq!(plan(), (Some(403), true));
        assert_eq!(plan(), (None, false));
        let other = Plan::draw(&mut rules, &Method::GET, "b", "other");
        assert_eq!(other.truncate_after, Some(5));
        let head_only = &mut [Fault::Hang.method(Method::HEAD)];
        assert!(!Plan::draw(head_only, &Method::GET, "b", "k").hang);
        assert!(Plan::draw(head_only, &Method::HEAD, "b", "k").hang);
    }
}
