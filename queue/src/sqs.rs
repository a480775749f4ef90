//! Amazon SQS: a ring is a message of a standard queue, which a redrive policy sends to another one when it was received
//! too often.
//!
//! A message that was received and not answered is visible again after the visibility timeout, which is the broker's to
//! keep. Nothing is ever extended: a ring is answered once the catalog has been asked.

mod upkeep;

use std::time::Duration;

use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{Credentials, Region};
use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, QueueAttributeName as Attribute, SendMessageBatchRequestEntry,
};
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use seekway_catalog::JobId;
use tokio::sync::OnceCell;

use crate::brokered::Broker;
use crate::{Depth, Error, Finding, Ring, Sieve, dead_letter};

/// SQS takes no more at a time, of anything.
const BATCH: usize = 10;
/// What a long poll may wait.
const POLL_MAX: Duration = Duration::from_secs(20);
/// A message that was received so often is dead.
const RECEIVES_MAX: u32 = 20;
/// Time for each answer, beside what a long poll waits.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A batch of which the broker refuses a part is sent again so often.
const TRIES: u32 = 3;
/// What says that a queue is not there: the query protocol's code, and the JSON protocol's.
const MISSING: [&str; 2] = ["NonExistentQueue", "QueueDoesNotExist"];
/// What servers that are not AWS accept when nobody says otherwise.
const REGION_DEFAULT: &str = "us-east-1";

/// Where a queue is.
#[derive(Debug, Clone)]
pub(crate) struct SqsUrl {
    queue: String,
    /// Scheme, host and port.
    endpoint: String,
    account: String,
    name: String,
}

/// Why SQS did not do what it was asked.
struct Refusal {
    /// The queue is not there.
    is_missing: bool,
    /// The keys may not do that.
    is_denied: bool,
    said: String,
}

/// Rings by SQS.
#[derive(Debug)]
pub(crate) struct Sqs {
    url: SqsUrl,
    keys: Option<(String, String)>,
    overdue: Duration,
    client: OnceCell<Client>,
}

// === impl SqsUrl ===

impl SqsUrl {
    /// `http[s]://HOST[:PORT]/ACCOUNT/NAME`.
    pub(crate) fn parse(queue: &str) -> Option<Self> {
        let (scheme, rest) = queue.split_once("://")?;
        let mut parts = rest.split('/');
        let (host, account, name) = (parts.next()?, parts.next()?, parts.next()?);
        let is_name = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        let is_whole = matches!(scheme, "http" | "https") && parts.next().is_none();
        (is_whole && !host.is_empty() && !host.contains('@') && is_name(account) && is_name(name)).then(
            || Self {
                queue: queue.to_owned(),
                endpoint: format!("{scheme}://{host}"),
                account: account.to_owned(),
                name: name.to_owned(),
            },
        )
    }

    /// The queue of dead letters.
    fn dead(&self) -> String {
        format!("{}-dlq", self.queue)
    }

    /// AWS says it in the host.
    fn region(&self) -> Option<String> {
        let host = self.endpoint.split_once("://sqs.")?.1;
        host.split_once(".amazonaws.com").map(|(region, _)| region.to_owned())
    }
}

// === impl Sqs ===

impl Sqs {
    /// Without keys the environment's are used, or what the machine has.
    pub(crate) fn new(url: SqsUrl, keys: Option<(String, String)>, overdue: Duration) -> Self {
        Self { url, keys, overdue, client: OnceCell::new() }
    }

    async fn client(&self) -> &Client {
        self.client.get_or_init(|| self.connect()).await
    }

    async fn connect(&self) -> Client {
        let http_client = aws_smithy_http_client::Builder::new()
            .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let environment = EnvironmentVariableRegionProvider::new();
        let region = RegionProviderChain::first_try(self.url.region().map(Region::new))
            .or_else(environment)
            .or_else(REGION_DEFAULT);
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(ANSWER_WITHIN)
            .read_timeout(POLL_MAX + ANSWER_WITHIN)
            .operation_timeout(POLL_MAX + ANSWER_WITHIN);
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http_client)
            // Whoever calls tries again.
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts.build())
            .endpoint_url(&self.url.endpoint)
            .region(region);
        if let Some((id, secret)) = &self.keys {
            loader = loader.credentials_provider(Credentials::new(id, secret, None, None, "seekway"));
        }
        Client::new(&loader.load().await)
    }

    /// What is asked, within its limit; only a long poll has a longer one.
    async fn ask<T, E, R>(
        &self,
        limit: Duration,
        asked: impl Future<Output = Result<T, aws_sdk_sqs::error::SdkError<E, R>>>,
    ) -> Result<T, Refusal>
    where
        aws_sdk_sqs::error::SdkError<E, R>: std::error::Error + ProvideErrorMetadata,
    {
        let queue = &self.url.queue;
        match tokio::time::timeout(limit, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Refusal {
                is_missing: error
                    .code()
                    .is_some_and(|code| MISSING.iter().any(|known| code.ends_with(known))),
                is_denied: error.code().is_some_and(|code| code.contains("AccessDenied")),
                said: format!("{queue}: {}", in_words(&error)),
            }),
            Err(_) => {
                let said = format!("{queue}: no answer within {limit:?}");
                Err(Refusal { is_missing: false, is_denied: false, said })
            }
        }
    }

    async fn send(&self, queue: &str, bodies: &[String]) -> Result<(), Refusal> {
        for batch in bodies.chunks(BATCH) {
            let mut left: Vec<_> = batch.iter().enumerate().collect();
            for _ in 0..TRIES {
                let entries = left.iter().map(|(nth, body)| {
                    let entry = SendMessageBatchRequestEntry::builder();
                    entry.id(nth.to_string()).message_body(*body).build().expect("it has all that it needs")
                });
                let send = self.client().await.send_message_batch().queue_url(queue);
                let answer =
                    self.ask(ANSWER_WITHIN, send.set_entries(Some(entries.collect())).send()).await?;
                let failed: Vec<_> = answer.failed().iter().map(|entry| entry.id().to_owned()).collect();
                left.retain(|(nth, _)| failed.contains(&nth.to_string()));
                if left.is_empty() {
                    break;
                }
            }
            if !left.is_empty() {
                let said = format!("{queue}: {} messages are refused", left.len());
                return Err(Refusal { is_missing: false, is_denied: false, said });
            }
        }
        Ok(())
    }

    /// Deletes what is answered.
    async fn delete(&self, queue: &str, receipts: &[String]) -> Result<(), Error> {
        for batch in receipts.chunks(BATCH) {
            let entries = batch.iter().enumerate().map(|(nth, receipt)| {
                let entry = DeleteMessageBatchRequestEntry::builder();
                entry.id(nth.to_string()).receipt_handle(receipt).build().expect("it has all that it needs")
            });
            let delete = self.client().await.delete_message_batch().queue_url(queue);
            let answer = self.ask(ANSWER_WITHIN, delete.set_entries(Some(entries.collect())).send()).await?;
            if let Some(failed) = answer.failed().first() {
                let why = failed.message().unwrap_or(failed.code());
                return Err(Error(format!(
                    "{queue}: {} messages are not deleted: {why}",
                    answer.failed().len()
                )));
            }
        }
        Ok(())
    }

    /// How many are visible, and how many were received.
    async fn counts(&self, queue: &str) -> Result<(u64, u64), Refusal> {
        let (visible, received) =
            (Attribute::ApproximateNumberOfMessages, Attribute::ApproximateNumberOfMessagesNotVisible);
        let get = self.client().await.get_queue_attributes().queue_url(queue);
        let get = get.attribute_names(visible.clone()).attribute_names(received.clone());
        let got = self.ask(ANSWER_WITHIN, get.send()).await?;
        let count = |name: &Attribute| {
            got.attributes().and_then(|all| all.get(name)?.parse().ok()).unwrap_or_default()
        };
        Ok((count(&visible), count(&received)))
    }

    /// Makes what is missing after an error: the queue may have been deleted.
    async fn or_ensure<T>(&self, outcome: Result<T, Refusal>) -> Result<T, Error> {
        if outcome.as_ref().is_err_and(|refusal| refusal.is_missing) {
            self.ensure().await?;
        }
        Ok(outcome?)
    }
}

// === impl Refusal ===

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self(refusal.said)
    }
}

#[async_trait]
impl Broker for Sqs {
    fn name(&self) -> String {
        self.url.queue.clone()
    }

    async fn ensure(&self) -> Result<(), Error> {
        self.make_queues().await
    }

    async fn inspect(&self) -> Result<Vec<Finding>, Error> {
        self.findings().await
    }

    async fn ring(&self, jobs: &[JobId]) -> Result<(), Error> {
        let bodies: Vec<_> = jobs.iter().map(JobId::to_string).collect();
        let sent = self.send(&self.url.queue, &bodies).await;
        self.or_ensure(sent).await
    }

    async fn receive(&self, wanted: usize) -> Result<Vec<Ring>, Error> {
        let seconds = |time: Duration| i32::try_from(time.as_secs()).unwrap_or(i32::MAX);
        let count = i32::try_from(wanted.min(BATCH)).unwrap_or(1);
        let receive = self.client().await.receive_message().queue_url(&self.url.queue);
        let receive = receive
            .max_number_of_messages(count)
            .wait_time_seconds(seconds(POLL_MAX.min(self.overdue)))
            .visibility_timeout(seconds(self.overdue));
        let received = self.ask(POLL_MAX + ANSWER_WITHIN, receive.send()).await;
        let received = self.or_ensure(received).await?;
        let mut rings = Vec::new();
        for message in received.messages.unwrap_or_default() {
            let (body, receipt) =
                (message.body.unwrap_or_default(), message.receipt_handle.unwrap_or_default());
            if let Some(job) = JobId::parse(&body) {
                rings.push(Ring { job: Some(job), receipt });
            } else {
                self.send(&self.url.dead(), &[body]).await?;
                self.delete(&self.url.queue, &[receipt]).await?;
            }
        }
        Ok(rings)
    }

    /// Visible again at once.
    async fn rest(&self, unheard: Vec<Ring>) -> Result<(), Error> {
        for ring in unheard {
            let change = self.client().await.change_message_visibility().queue_url(&self.url.queue);
            let change = change.receipt_handle(ring.receipt).visibility_timeout(0);
            self.ask(ANSWER_WITHIN, change.send()).await?;
        }
        Ok(())
    }

    async fn answered(&self, ring: Ring) -> Result<(), Error> {
        self.delete(&self.url.queue, &[ring.receipt]).await
    }

    async fn bury(&self, job: JobId, problem: &str) -> Result<(), Error> {
        let sent = self.send(&self.url.dead(), &[dead_letter::write(job, problem)]).await;
        self.or_ensure(sent).await
    }

    async fn sift(&self, sieve: &mut dyn Sieve) -> Result<(), Error> {
        self.sift_dead(sieve).await
    }

    /// How old the oldest is, only `CloudWatch` tells.
    async fn depth(&self) -> Result<Depth, Error> {
        let queue = self.counts(&self.url.queue).await;
        let (waiting, received) = self.or_ensure(queue).await?;
        let (dead, _) = self.counts(&self.url.dead()).await?;
        Ok(Depth { waiting, oldest: None, in_flight: Some(received), dead })
    }

    async fn leave(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// What SQS said, or why it could not be asked.
fn in_words(error: &(impl std::error::Error + ProvideErrorMetadata)) -> String {
    if let Some(code) = error.code() {
        return format!("{code}: {}", error.message().unwrap_or_default());
    }
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}
