//! A store that tells an [`Observer`] of every request it is asked: when it began, how it was answered, how many
//! bytes came and how its body ended.
//!
//! It belongs around each single endpoint, below everything that asks again (retries, hedges, other
//! endpoints), so that what is counted is what that endpoint saw. With an S3 client that tries reads once, one
//! read here is one request there (unless it is cancelled before it was sent); a write is one here however many
//! requests it takes.

use std::fmt::Debug;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use tokio::time::Instant;

use crate::{
    Attributes, ByteStream, Error, Get, Listing, Object, ObjectKey, ObjectStore, Page, Part, PartNumber,
    Parts, PresignedPart, UploadId, Uploads, Version,
};

/// Who is told. Called on the request's own task, so it must not block.
///
/// Each request is `began` once, then `answered` once, then `ended` once, whatever happens to it; between the
/// last two come its `received` bytes, if it has a body. All of them by default do nothing.
pub trait Observer: Debug + Send + Sync + 'static {
    /// A request goes out.
    fn began(&self, request: &Request) {
        let _ = request;
    }

    /// Its answer is there, `after` it began: for a read of bytes that is the answer's head, which its first
    /// bytes follow. [`Outcome::Cancelled`] if nobody waited for it any more.
    fn answered(&self, request: &Request, outcome: Outcome, after: Duration) {
        let _ = (request, outcome, after);
    }

    /// Bytes of its body came.
    fn received(&self, request: &Request, bytes: u64) {
        let _ = (request, bytes);
    }

    /// Nothing more comes of it. `body` says how its body ended, if it had one.
    fn ended(&self, request: &Request, body: Option<BodyEnd>) {
        let _ = (request, body);
    }
}

/// Nobody is told.
impl Observer for () {}

/// One request of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request {
    /// The endpoint's name, as its owner chose it.
    pub endpoint: Arc<str>,
    /// What is asked.
    pub operation: Operation,
    /// Whether the same is already being asked, and this is the second try to get an early answer.
    pub is_hedge: bool,
}

macro_rules! labels {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $variant_doc:literal])+ $variant:ident = $label:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[doc = $variant_doc])+ $variant,)+ }

        impl $name {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name in metrics and logs.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }
    };
}

labels! {
    /// What a store is asked.
    Operation {
        /// Metadata.
        Head = "head",
        /// A range of bytes.
        Get = "get",
        /// A page of keys.
        List = "list",
        /// A whole object, in one request or in parts.
        Put = "put",
        /// One call of a multipart upload.
        Multipart = "multipart",
        /// The end of an object.
        Delete = "delete",
    }
}

labels! {
    /// How a request was answered.
    Outcome {
        /// As was asked.
        Ok = "ok",
        /// There is no such object.
        NotFound = "not_found",
        /// The object is another version now.
        Changed = "changed",
        /// The store answered, and will not: forbidden, no such range, no such key.
        Refused = "refused",
        /// The store asks to be asked less.
        Throttled = "throttled",
        /// No connection, or the store cannot serve now.
        Unavailable = "unavailable",
        /// A limit of time passed.
        Timeout = "timeout",
        /// The connection broke.
        Interrupted = "interrupted",
        /// The answer was to another question.
        Protocol = "protocol",
        /// Any other failure.
        Other = "other",
        /// Nobody waited for the answer any more.
        Cancelled = "cancelled",
    }
}

labels! {
    /// How a body ended.
    BodyEnd {
        /// All of it came.
        Complete = "complete",
        /// It broke off, or paused for too long.
        Broken = "broken",
        /// Nobody wanted the rest.
        Dropped = "dropped",
    }
}

/// The wrapper. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Measured {
    inner: Arc<dyn ObjectStore>,
    observer: Arc<dyn Observer>,
    endpoint: Arc<str>,
    is_hedge: bool,
}

/// A request under way. Dropped before its answer, it was cancelled.
struct Running {
    observer: Arc<dyn Observer>,
    request: Request,
    began: Instant,
    is_answered: bool,
    /// Of a request whose body has begun.
    body: Option<BodyEnd>,
}

/// A body that is counted.
struct Counted {
    body: ByteStream,
    /// Whoever knows the length does not ask for the end.
    left: u64,
    running: Running,
}

// === impl Outcome ===

impl Outcome {
    /// What a store's error counts as.
    pub fn of(error: &Error) -> Self {
        match error {
            Error::NotFound | Error::NoSuchUpload => Self::NotFound,
            Error::VersionChanged => Self::Changed,
            Error::Forbidden(_)
            | Error::RangeNotSatisfiable { .. }
            | Error::InvalidKey(_)
            | Error::Full(_)
            | Error::Unsupported(_) => Self::Refused,
            Error::Throttled(_) => Self::Throttled,
            Error::Unavailable(_) => Self::Unavailable,
            Error::Timeout(_) => Self::Timeout,
            Error::Interrupted(_) => Self::Interrupted,
            Error::Protocol(_) => Self::Protocol,
            Error::Other(_) => Self::Other,
        }
    }
}

// === impl Measured ===

impl Measured {
    /// Tells `observer` of what `inner` is asked, under the name `endpoint`.
    pub fn new(
        inner: Arc<dyn ObjectStore>,
        observer: Arc<dyn Observer>,
        endpoint: impl Into<Arc<str>>,
    ) -> Self {
        Self { inner, observer, endpoint: endpoint.into(), is_hedge: false }
    }

    /// The same store, whose requests are counted as hedges.
    #[must_use]
    pub fn hedges(&self) -> Self {
        Self { is_hedge: true, ..self.clone() }
    }

    fn begin(&self, operation: Operation) -> Running {
        let request = Request { endpoint: self.endpoint.clone(), operation, is_hedge: self.is_hedge };
        self.observer.began(&request);
        let observer = self.observer.clone();
        Running { observer, request, began: Instant::now(), is_answered: false, body: None }
    }

    async fn measure<T>(
        &self,
        operation: Operation,
        asking: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut running = self.begin(operation);
        let answer = asking.await;
        running.answered(&answer);
        answer
    }
}

#[async_trait]
impl ObjectStore for Measured {
    async fn head(&self, key: &ObjectKey) -> Result<Object, Error> {
        self.measure(Operation::Head, self.inner.head(key)).await
    }

    async fn get(&self, key: &ObjectKey, range: Range<u64>, expected: Option<&Object>) -> Result<Get, Error> {
        let mut running = self.begin(Operation::Get);
        let answer = self.inner.get(key, range, expected).await;
        running.answered(&answer);
        let Get { object, range, body } = answer?;
        running.body = Some(BodyEnd::Dropped);
        let body = Box::pin(Counted { body, left: range.end - range.start, running });
        Ok(Get { object, range, body })
    }

    async fn list(&self, prefix: &str, page: Page) -> Result<Listing, Error> {
        self.measure(Operation::List, self.inner.list(prefix, page)).await
    }

    async fn put(
        &self,
        key: &ObjectKey,
        attributes: &Attributes,
        body: ByteStream,
    ) -> Result<Version, Error> {
        self.measure(Operation::Put, self.inner.put(key, attributes, body)).await
    }

    async fn create_multipart(&self, key: &ObjectKey, attributes: &Attributes) -> Result<UploadId, Error> {
        self.measure(Operation::Multipart, self.inner.create_multipart(key, attributes)).await
    }

    async fn put_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: PartNumber,
        body: Bytes,
    ) -> Result<Part, Error> {
        self.measure(Operation::Multipart, self.inner.put_part(key, upload, number, body)).await
    }

    async fn complete_multipart(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[Part],
    ) -> Result<Version, Error> {
        self.measure(Operation::Multipart, self.inner.complete_multipart(key, upload, parts)).await
    }

    async fn list_parts(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        after: Option<PartNumber>,
    ) -> Result<Parts, Error> {
        self.measure(Operation::Multipart, self.inner.list_parts(key, upload, after)).await
    }

    async fn list_multipart(&self, prefix: &str, page: Page) -> Result<Uploads, Error> {
        self.measure(Operation::List, self.inner.list_multipart(prefix, page)).await
    }

    async fn presign_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: PartNumber,
        bytes: u64,
        valid_for: Duration,
    ) -> Result<PresignedPart, Error> {
        // No request goes out.
        self.inner.presign_part(key, upload, number, bytes, valid_for).await
    }

    async fn abort_multipart(&self, key: &ObjectKey, upload: &UploadId) -> Result<(), Error> {
        self.measure(Operation::Multipart, self.inner.abort_multipart(key, upload)).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), Error> {
        self.measure(Operation::Delete, self.inner.delete(key)).await
    }

    fn head_is_cheap(&self) -> bool {
        self.inner.head_is_cheap()
    }
}

// === impl Running ===

impl Running {
    fn answered<T>(&mut self, answer: &Result<T, Error>) {
        let outcome = answer.as_ref().err().map_or(Outcome::Ok, Outcome::of);
        self.tell(outcome);
    }

    fn tell(&mut self, outcome: Outcome) {
        self.is_answered = true;
        self.observer.answered(&self.request, outcome, self.began.elapsed());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_answered {
            self.tell(Outcome::Cancelled);
        }
        self.observer.ended(&self.request, self.body);
    }
}

// === impl Counted ===

impl Stream for Counted {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.body.as_mut().poll_next(cx));
        let running = &mut self.running;
        match &item {
            Some(Ok(chunk)) => {
                let bytes = chunk.len() as u64;
                running.observer.received(&running.request, bytes);
                self.left = self.left.saturating_sub(bytes);
                if self.left == 0 {
                    self.running.body = Some(BodyEnd::Complete);
                }
            }
            Some(Err(_)) => running.body = Some(BodyEnd::Broken),
            None => {}
        }
        Poll::Ready(item)
    }
}
