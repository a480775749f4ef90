//! One endpoint: its store, and everything that decides how it is asked.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};

use super::Policy;
use super::breaker::Breaker;
use super::hedge::{Hedger, Hedges, Kind};
use super::limiter::{Limiter, Slot};
use crate::measured::{Measured, Observer};
use crate::{Error, Get, Listing, Object, ObjectKey, ObjectStore, Page};

/// See the module.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) name: Arc<str>,
    pub(super) breaker: Breaker,
    pub(super) limiter: Arc<Limiter>,
    pub(super) store: Measured,
    /// The same one, for requests that are a second try.
    hedges: Measured,
    hedger: Option<Hedger>,
}

/// A body whose first bytes are there.
struct Begun {
    get: Get,
    first: Option<Result<Bytes, Error>>,
}

// === impl Endpoint ===

impl Endpoint {
    pub(super) fn new(
        name: &str,
        store: Arc<dyn ObjectStore>,
        observer: Arc<dyn Observer>,
        policy: &Policy,
    ) -> Self {
        let store = Measured::new(store, observer, name);
        Self {
            name: name.into(),
            breaker: Breaker::new(),
            limiter: Limiter::new(policy.requests_max),
            hedges: store.hedges(),
            store,
            hedger: policy.hedging.map(Hedger::new),
        }
    }

    pub(super) fn hedges(&self) -> Hedges {
        self.hedger.as_ref().map_or_else(Hedges::default, Hedger::tally)
    }

    pub(super) async fn head<'a>(&'a self, key: &'a ObjectKey) -> Result<Object, Error> {
        let ask = |store: &'a Measured, slot: Slot| -> BoxFuture<'a, _> {
            Box::pin(async move { settle(&slot, store.head(key).await) })
        };
        self.race(Kind::Head, is_answer, ask).await
    }

    /// Returns when the first bytes are there: only they tell that an answer is early.
    pub(super) async fn get<'a>(
        &'a self,
        key: &'a ObjectKey,
        range: Range<u64>,
        expected: Option<&'a Object>,
    ) -> Result<Get, Error> {
        let ask = |store: &'a Measured, slot: Slot| -> BoxFuture<'a, _> {
            let range = range.clone();
            Box::pin(async move {
                let mut get = settle(&slot, store.get(key, range, expected).await)?;
                let first = get.body.next().await;
                // The slot is taken for as long as there is a body.
                get.body = Box::pin(get.body.inspect(move |_| _ = &slot));
                Ok(Begun { get, first })
            })
        };
        let Begun { mut get, first } = self.race(Kind::Get, Begun::is_answer, ask).await?;
        // One that broke at once is a broken body all the same: who reads it resumes it.
        get.body = Box::pin(stream::iter(first).chain(get.body));
        Ok(get)
    }

    pub(super) async fn list(&self, prefix: &str, page: Page) -> Result<Listing, Error> {
        let slot = self.limiter.acquire().await;
        settle(&slot, self.store.list(prefix, page).await)
    }

    /// The final answer to a read, if this is one; `failed` is the error of a more preferred endpoint.
    pub(super) fn judge<T>(
        &self,
        answer: Result<T, Error>,
        failed: &mut Option<Error>,
    ) -> Option<Result<T, Error>> {
        match &answer {
            // It works, and asks for patience.
            Err(Error::Throttled(_)) => {}
            Err(error) if error.is_retryable() => {
                if self.breaker.failed(error) {
                    tracing::warn!(endpoint = %self.name, %error, "the store is in trouble");
                }
            }
            _ => {
                if self.breaker.succeeded() {
                    tracing::info!(endpoint = %self.name, "the store answers again");
                }
            }
        }
        match answer {
            Ok(_) | Err(Error::RangeNotSatisfiable { .. }) => Some(answer),
            Err(error) if !error.is_retryable() && failed.is_none() => Some(Err(error)),
            Err(error) => {
                failed.get_or_insert(error);
                None
            }
        }
    }

    async fn race<'a, T>(
        &'a self,
        kind: Kind,
        is_answer: fn(&Result<T, Error>) -> bool,
        ask: impl Fn(&'a Measured, Slot) -> BoxFuture<'a, Result<T, Error>>,
    ) -> Result<T, Error> {
        let first = async { ask(&self.store, self.limiter.acquire().await).await };
        // It goes to the same endpoint: what is slow there is one machine or connection of many, while another
        // endpoint is further away, may have other versions, and is there for when this one is down.
        let second = || self.limiter.try_acquire().map(|slot| ask(&self.hedges, slot));
        match &self.hedger {
            Some(hedger) => hedger.race(kind, is_answer, first, second).await,
            None => first.await,
        }
    }
}

// === impl Begun ===

impl Begun {
    fn is_answer(answer: &Result<Self, Error>) -> bool {
        match answer {
            Ok(begun) => !matches!(begun.first, Some(Err(_))),
            Err(error) => !error.is_retryable(),
        }
    }
}

/// Whether the store said what there is to say, good or bad.
fn is_answer<T>(answer: &Result<T, Error>) -> bool {
    !matches!(answer, Err(error) if error.is_retryable())
}

/// Tells the limiter how it went.
fn settle<T>(slot: &Slot, answer: Result<T, Error>) -> Result<T, Error> {
    match &answer {
        Err(Error::Throttled(throttle)) => slot.throttled(throttle.retry_after()),
        answer if is_answer(answer) => slot.good(),
        _ => {}
    }
    answer
}
