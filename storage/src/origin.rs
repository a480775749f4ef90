//! One or several endpoints as one store that makes the best of their trouble.
//!
//! A read asks the first endpoint, in order of preference, that is not known to fail ([`breaker`]). Each is
//! asked no more than it can take ([`limiter`]), a late answer is asked for a second time ([`hedge`]), and every
//! request is measured ([`crate::measured`]). What fails and may pass is asked of the next endpoint, then of all
//! of them again after a pause, as often and as long as the [`Policy`] allows. Bodies that break are the caller's
//! to resume, perhaps from another endpoint: a pinned read gets the same version everywhere, or nothing.
//!
//! **Who is believed.** The preferred endpoint is, whatever it says. Any other is believed when it has what was
//! asked for. When it has not, or has another version than the expected one, that is no answer: a copy may
//! lag behind, and "not found" would be remembered. The read then fails as the preferred endpoint failed.
//!
//! Writes go to the preferred endpoint alone: what copies them to the others is not ours.

mod breaker;
mod endpoint;
mod hedge;
mod limiter;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::{sleep, timeout};

pub use hedge::{Hedges, Hedging};

use crate::measured::Observer;
use crate::{
    Attributes, ByteStream, Error, Get, Listing, Object, ObjectKey, ObjectStore, Page, Part, PartNumber,
    Parts, PresignedPart, UploadId, Uploads, Version,
};
use breaker::Admission;
use endpoint::Endpoint;

/// The pause before all endpoints are asked again; each further one is twice as long. A reader is waiting.
const BACKOFF: Duration = Duration::from_millis(100);
/// How long an endpoint that is known to fail gets for an answer, where there is nothing better to do than to
/// ask it: a client learns within this that it has to come back.
const PATIENCE_IN_TROUBLE: Duration = Duration::from_secs(1);

/// How patient and how eager to be.
#[derive(Debug, Clone)]
pub struct Policy {
    /// How often a read is tried at each endpoint, at least once.
    pub attempts_max: u32,
    /// Time for a read's answer in all: waiting for a slot, every attempt and endpoint, the first bytes of a
    /// body.
    pub answer_timeout: Duration,
    /// Reads at once at each endpoint, their bodies included; further ones wait, first come, first served.
    pub requests_max: usize,
    /// `None`: no read is asked for twice.
    pub hedging: Option<Hedging>,
}

/// See the module. Cheap to clone; clones are one store.
#[derive(Debug, Clone)]
pub struct Origin {
    policy: Policy,
    /// In order of preference; there is at least one.
    endpoints: Arc<[Endpoint]>,
}

/// How an endpoint is at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointState {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it failed so often that others are preferred to it.
    pub is_in_trouble: bool,
    /// Reads that it may be asked at once: fewer than the most after it throttled.
    pub slots: usize,
    /// Of these, how many are taken.
    pub slots_taken: usize,
    /// What became of requests that asked a second time.
    pub hedges: Hedges,
}

// === impl Origin ===

impl Origin {
    /// The stores of `endpoints`, each with its name for logs and metrics, in order of preference.
    ///
    /// # Panics
    /// Without endpoints.
    pub fn new<'a>(
        endpoints: impl IntoIterator<Item = (&'a str, Arc<dyn ObjectStore>)>,
        observer: &Arc<dyn Observer>,
        policy: Policy,
    ) -> Self {
        let endpoints: Arc<[Endpoint]> = endpoints
            .into_iter()
            .map(|(name, store)| Endpoint::new(name, store, observer.clone(), &policy))
            .collect();
        assert!(!endpoints.is_empty(), "a store needs an endpoint");
        Self { policy, endpoints }
    }

    /// How each endpoint is now, in order of preference.
    pub fn endpoints(&self) -> Vec<EndpointState> {
        let state = |endpoint: &Endpoint| EndpointState {
            name: endpoint.name.clone(),
            is_in_trouble: endpoint.breaker.is_open(),
            slots: endpoint.limiter.limit(),
            slots_taken: endpoint.limiter.taken(),
            hedges: endpoint.hedges(),
        };
        self.endpoints.iter().map(state).collect()
    }

    fn preferred(&self) -> &dyn ObjectStore {
        &self.endpoints[0].store
    }

    async fn read<'a, T: 'a>(
        &'a self,
        ask: impl Fn(&'a Endpoint) -> BoxFuture<'a, Result<T, Error>> + Send + Sync,
    ) -> Result<T, Error> {
        let reading = async {
            let mut round = 1;
            loop {
                let error = match self.ask_all(&ask).await {
                    Err(error) if error.is_retryable() => error,
                    answer => return answer,
                };
                // Where all fail, more of the same helps nobody; the client is told to come back.
                if round >= self.policy.attempts_max || self.endpoints.iter().all(|e| e.breaker.is_open()) {
                    return Err(error);
                }
                tracing::debug!(%error, round, "asking the store again");
                sleep(BACKOFF.mul_f64(f64::from(1 << (round - 1).min(8)) * (0.5 + fastrand::f64() / 2.0)))
                    .await;
                round += 1;
            }
        };
        let limit = self.policy.answer_timeout;
        timeout(limit, reading).await.unwrap_or(Err(Error::Timeout("no answer in all its attempts")))
    }

    /// Asks one endpoint after the other. The error is that of the most preferred one that failed.
    async fn ask_all<'a, T: 'a>(
        &'a self,
        ask: &(impl Fn(&'a Endpoint) -> BoxFuture<'a, Result<T, Error>> + Sync),
    ) -> Result<T, Error> {
        let is_alone = self.endpoints.len() == 1;
        let mut failed = None;
        let mut asked = false;
        for endpoint in &*self.endpoints {
            let answer = match endpoint.breaker.admit() {
                Admission::No(error) => {
                    failed.get_or_insert(error);
                    continue;
                }
                Admission::Look if !is_alone => in_trouble(ask(endpoint)).await,
                // Alone, a look may take its time: a store that got slow must not look broken for ever.
                Admission::Well | Admission::Look => ask(endpoint).await,
            };
            asked = true;
            if let Some(answer) = endpoint.judge(answer, &mut failed) {
                return answer;
            }
        }
        if !asked {
            let preferred = &self.endpoints[0];
            if let Some(answer) = preferred.judge(in_trouble(ask(preferred)).await, &mut None) {
                return answer;
            }
        }
        Err(failed.expect("no endpoint answered, so one failed"))
    }
}

async fn in_trouble<T>(asking: BoxFuture<'_, Result<T, Error>>) -> Result<T, Error> {
    let late = Error::Timeout("no answer, and known to be in trouble");
    timeout(PATIENCE_IN_TROUBLE, asking).await.unwrap_or(Err(late))
}

#[async_trait]
impl ObjectStore for Origin {
    async fn head(&self, key: &ObjectKey) -> Result<Object, Error> {
        self.read(|endpoint| Box::pin(endpoint.head(key))).await
    }

    async fn get(&self, key: &ObjectKey, range: Range<u64>, expected: Option<&Object>) -> Result<Get, Error> {
        self.read(|endpoint| Box::pin(endpoint.get(key, range.clone(), expected))).await
    }

    async fn list(&self, prefix: &str, page: Page) -> Result<Listing, Error> {
        self.read(|endpoint| Box::pin(endpoint.list(prefix, page.clone()))).await
    }

    async fn put(
        &self,
        key: &ObjectKey,
        attributes: &Attributes,
        body: ByteStream,
    ) -> Result<Version, Error> {
        self.preferred().put(key, attributes, body).await
    }

    async fn create_multipart(&self, key: &ObjectKey, attributes: &Attributes) -> Result<UploadId, Error> {
        self.preferred().create_multipart(key, attributes).await
    }

    async fn put_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: PartNumber,
        body: Bytes,
    ) -> Result<Part, Error> {
        self.preferred().put_part(key, upload, number, body).await
    }

    async fn complete_multipart(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[Part],
    ) -> Result<Version, Error> {
        self.preferred().complete_multipart(key, upload, parts).await
    }

    async fn list_parts(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        after: Option<PartNumber>,
    ) -> Result<Parts, Error> {
        self.preferred().list_parts(key, upload, after).await
    }

    async fn list_multipart(&self, prefix: &str, page: Page) -> Result<Uploads, Error> {
        self.preferred().list_multipart(prefix, page).await
    }

    async fn presign_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: PartNumber,
        bytes: u64,
        valid_for: Duration,
    ) -> Result<PresignedPart, Error> {
        self.preferred().presign_part(key, upload, number, bytes, valid_for).await
    }

    async fn abort_multipart(&self, key: &ObjectKey, upload: &UploadId) -> Result<(), Error> {
        self.preferred().abort_multipart(key, upload).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), Error> {
        self.preferred().delete(key).await
    }

    fn head_is_cheap(&self) -> bool {
        self.preferred().head_is_cheap()
    }

    fn is_throttling(&self) -> bool {
        let asked = self.endpoints.iter().find(|endpoint| !endpoint.breaker.is_open());
        asked.is_some_and(|endpoint| endpoint.limiter.is_throttling())
    }
}
