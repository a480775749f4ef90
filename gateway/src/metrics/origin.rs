//! What the origin is asked, and how it answers.

use std::sync::OnceLock;
use std::time::Duration;

use seekway_storage::measured::{BodyEnd, Observer, Operation, Outcome, Request};
use seekway_storage::origin::EndpointState;

use super::labels::Label;
use super::table::{Counter, Durations, Gauge, Table};
use super::{Metrics, Now};
use seekway_settings::store::ENDPOINTS;

/// The origin's numbers.
#[derive(Debug)]
pub(super) struct Origin {
    requests: Counter<(Endpoint, Operation, Outcome)>,
    in_flight: Gauge<Endpoint>,
    first_byte: Durations<(Endpoint, Operation)>,
    bytes: Counter<Endpoint>,
    bodies: Counter<(Endpoint, BodyEnd)>,
    hedges: Counter<Endpoint>,
    /// Whose endpoints are shown, where the store has some.
    watched: OnceLock<seekway_storage::origin::Origin>,
}

/// One of [`ENDPOINTS`].
#[derive(Debug, Clone, Copy)]
struct Endpoint(usize);

// === impl Origin ===

impl Origin {
    pub(super) fn new(t: &mut Table) -> Self {
        Self {
            requests: t.counter(
                "seekway_origin_requests_total",
                "Requests to the store's endpoints, by how they were answered; those to a `fallback-…` are reads that the endpoints before it failed.",
            ),
            in_flight: t.gauge(
                "seekway_origin_requests_in_flight",
                "Requests that the store has not answered to their end.",
            ),
            first_byte: t.durations(
                "seekway_origin_first_byte_seconds",
                "From a request to the head of its answer, for answers that were as asked.",
            ),
            bytes: t.counter("seekway_origin_received_bytes_total", "Bytes of objects that came."),
            bodies: t.counter("seekway_origin_bodies_total", "Bodies that have ended, by how."),
            hedges: t.counter(
                "seekway_origin_hedges_total",
                "Requests that ask for what another one is late with.",
            ),
            watched: {
                state_rows(t);
                OnceLock::new()
            },
        }
    }

    pub(super) fn watch(&self, origin: seekway_storage::origin::Origin) {
        // There is one store.
        let _ = self.watched.set(origin);
    }

    /// How each endpoint is now, in the order of [`ENDPOINTS`].
    pub(super) fn endpoints(&self) -> Vec<EndpointState> {
        self.watched.get().map_or_else(Vec::new, seekway_storage::origin::Origin::endpoints)
    }
}

/// What is read of the endpoints; zero for one that there is not.
fn state_rows(t: &mut Table) {
    fn of(now: &Now, nth: usize, read: impl Fn(&EndpointState) -> u64) -> u64 {
        now.endpoints.get(nth).map_or(0, read)
    }
    let by_endpoint = (Endpoint::NAME, &ENDPOINTS[..]);
    t.read_by(
        "seekway_origin_hedges_won_total",
        "Of these, how many brought the answer that was used.",
        by_endpoint,
        |now, nth| of(now, nth, |endpoint| endpoint.hedges.won),
    )
    .read_by(
        "seekway_origin_hedges_denied_total",
        "Late requests that were not asked again, because so many were already.",
        by_endpoint,
        |now, nth| of(now, nth, |endpoint| endpoint.hedges.denied),
    )
    .read_by(
        "seekway_origin_in_trouble",
        "1 while it failed so often that others are preferred to it.",
        by_endpoint,
        |now, nth| of(now, nth, |endpoint| u64::from(endpoint.is_in_trouble)),
    )
    .read_by(
        "seekway_origin_slots",
        "Reads that may be under way at once; fewer while it throttles.",
        by_endpoint,
        |now, nth| of(now, nth, |endpoint| endpoint.slots as u64),
    )
    .read_by("seekway_origin_slots_taken", "Reads under way.", by_endpoint, |now, nth| {
        of(now, nth, |endpoint| endpoint.slots_taken as u64)
    });
}

impl Observer for Metrics {
    fn began(&self, request: &Request) {
        let endpoint = Endpoint::named(&request.endpoint);
        self.origin.in_flight.increment(endpoint);
        if request.is_hedge {
            self.origin.hedges.increment(endpoint);
        }
    }

    fn answered(&self, request: &Request, outcome: Outcome, after: Duration) {
        let endpoint = Endpoint::named(&request.endpoint);
        self.origin.requests.increment((endpoint, request.operation, outcome));
        if outcome == Outcome::Ok {
            self.origin.first_byte.observe((endpoint, request.operation), after);
        }
    }

    fn received(&self, request: &Request, bytes: u64) {
        self.origin.bytes.add(Endpoint::named(&request.endpoint), bytes);
    }

    fn ended(&self, request: &Request, body: Option<BodyEnd>) {
        let endpoint = Endpoint::named(&request.endpoint);
        self.origin.in_flight.decrement(endpoint);
        if let Some(body) = body {
            self.origin.bodies.increment((endpoint, body));
        }
    }
}

// === impl Endpoint, Operation, Outcome, BodyEnd ===

impl Endpoint {
    fn named(name: &str) -> Self {
        Self(ENDPOINTS.iter().position(|endpoint| *endpoint == name).unwrap_or(ENDPOINTS.len() - 1))
    }
}

impl Label for Endpoint {
    const NAME: &'static str = "endpoint";
    const COUNT: usize = ENDPOINTS.len();

    fn values() -> Vec<&'static str> {
        ENDPOINTS.to_vec()
    }

    fn index(self) -> usize {
        self.0
    }
}

macro_rules! label {
    ($label:ident, $name:literal) => {
        impl Label for $label {
            const NAME: &'static str = $name;
            const COUNT: usize = Self::ALL.len();

            fn values() -> Vec<&'static str> {
                Self::ALL.iter().map(|value| value.label()).collect()
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

label!(Operation, "operation");
label!(Outcome, "outcome");
label!(BodyEnd, "ending");
