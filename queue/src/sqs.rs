//! Amazon SQS: a ring is a message of a standard queue, which a redrive policy sends to another one when it was received
//! too often.
//!
//! A message that was received and not answered is visible again after the visibility timeout, which is the broker's to
//! keep. Nothing is ever extended: a ring is answered once the catalog has been asked.

use std::time::Duration;

use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{Credentials, Region};
use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, QueueAttributeName as Attribute, SendMessageBatchRequestEntry,
};
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use seekway_catalog::JobId;
use tokio::sync::OnceCell;

use crate::brokered::Broker;
use crate::{Depth, Error, Ring};

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
        let region = self.url.region();
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
            .region(Region::new(region.unwrap_or_else(|| REGION_DEFAULT.to_owned())));
        if let Some((id, secret)) = &self.keys {
            loader = loader.credentials_provider(Credentials::new(id, secret, None, None, "seekway"));
        }
        Client::new(&loader.load().await)
    }

    /// What is asked, with a limit of its own: a long poll's is too long for the rest.
    async fn ask<T, E, R>(
        &self,
        asked: impl Future<Output = Result<T, aws_sdk_sqs::error::SdkError<E, R>>>,
    ) -> Result<T, Error>
    where
        aws_sdk_sqs::error::SdkError<E, R>: std::error::Error + ProvideErrorMetadata,
    {
        let limit = POLL_MAX + ANSWER_WITHIN;
        match tokio::time::timeout(limit, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let said = DisplayErrorContext(&error);
                Err(Error(format!("{}: {said}", self.url.queue)))
            }
            Err(_) => Err(Error(format!("{}: no answer within {limit:?}", self.url.queue))),
        }
    }

    async fn send(&self, queue: &str, bodies: &[String]) -> Result<(), Error> {
        for batch in bodies.chunks(BATCH) {
            let mut left: Vec<_> = batch.iter().enumerate().collect();
            for _ in 0..TRIES {
                let entries = left.iter().map(|(nth, body)| {
                    let entry = SendMessageBatchRequestEntry::builder();
                    entry.id(nth.to_string()).message_body(*body).build().expect("it has all that it needs")
                });
                let send = self.client().await.send_message_batch().queue_url(queue);
                let answer = self.ask(send.set_entries(Some(entries.collect())).send()).await?;
                let failed: Vec<_> = answer.failed().iter().map(|entry| entry.id().to_owned()).collect();
                left.retain(|(nth, _)| failed.contains(&nth.to_string()));
                if left.is_empty() {
                    break;
                }
            }
            if !left.is_empty() {
                return Err(Error(format!("{queue}: {} messages are refused", left.len())));
            }
        }
        Ok(())
    }

    /// Deletes what is answered.
    async fn delete(&self, receipts: &[String]) -> Result<(), Error> {
        for batch in receipts.chunks(BATCH) {
            let entries = batch.iter().enumerate().map(|(nth, receipt)| {
                let entry = DeleteMessageBatchRequestEntry::builder();
                entry.id(nth.to_string()).receipt_handle(receipt).build().expect("it has all that it needs")
            });
            let delete = self.client().await.delete_message_batch().queue_url(&self.url.queue);
            self.ask(delete.set_entries(Some(entries.collect())).send()).await?;
        }
        Ok(())
    }

    /// How many are visible, and how many were received.
    async fn counts(&self, queue: &str) -> Result<(u64, u64), Error> {
        let (visible, received) =
            (Attribute::ApproximateNumberOfMessages, Attribute::ApproximateNumberOfMessagesNotVisible);
        let get = self.client().await.get_queue_attributes().queue_url(queue);
        let got =
            self.ask(get.attribute_names(visible.clone()).attribute_names(received.clone()).send()).await?;
        let count = |name: &Attribute| {
            got.attributes().and_then(|all| all.get(name)?.parse().ok()).unwrap_or_default()
        };
        Ok((count(&visible), count(&received)))
    }

    async fn make(&self, name: &str, attributes: &[(Attribute, String)]) -> Result<(), Error> {
        let queue = format!("{}/{}/{name}", self.url.endpoint, self.url.account);
        let Err(Error(missing)) = self.counts(&queue).await else { return Ok(()) };
        let all = attributes.iter().cloned().collect();
        let create = self.client().await.create_queue().queue_name(name).set_attributes(Some(all));
        let Err(Error(why)) = self.ask(create.send()).await else { return Ok(()) };
        let shown: serde_json::Map<_, _> =
            attributes.iter().map(|(name, value)| (name.to_string(), value.as_str().into())).collect();
        let shown = serde_json::Value::Object(shown);
        Err(Error(format!(
            "the queue {name} is not there ({missing}) and cannot be made ({why}); whoever may: aws sqs \
             create-queue --queue-name {name} --attributes '{shown}'"
        )))
    }

    /// Makes what is missing after an error: the queue may have been deleted.
    async fn or_ensure<T>(&self, outcome: Result<T, Error>) -> Result<T, Error> {
        if let Err(Error(why)) = &outcome
            && why.contains("NonExistentQueue")
        {
            self.ensure().await?;
        }
        outcome
    }
}

#[async_trait]
impl Broker for Sqs {
    fn name(&self) -> String {
        self.url.queue.clone()
    }

    async fn ensure(&self) -> Result<(), Error> {
        let SqsUrl { name, account, .. } = &self.url;
        let dead = format!("{name}-dlq");
        // Dead letters are kept as long as SQS does, 14 days.
        self.make(&dead, &[(Attribute::MessageRetentionPeriod, "1209600".to_owned())]).await?;
        let region = self.url.region().unwrap_or_else(|| REGION_DEFAULT.to_owned());
        let redrive = serde_json::json!({
            "deadLetterTargetArn": format!("arn:aws:sqs:{region}:{account}:{dead}"),
            "maxReceiveCount": RECEIVES_MAX,
        });
        let attributes = [
            (Attribute::VisibilityTimeout, self.overdue.as_secs().to_string()),
            (Attribute::ReceiveMessageWaitTimeSeconds, POLL_MAX.as_secs().to_string()),
            (Attribute::RedrivePolicy, redrive.to_string()),
        ];
        self.make(name, &attributes).await
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
        let received = self.ask(receive.send()).await;
        let received = self.or_ensure(received).await?;
        let mut rings = Vec::new();
        for message in received.messages.unwrap_or_default() {
            let (body, receipt) =
                (message.body.unwrap_or_default(), message.receipt_handle.unwrap_or_default());
            if let Some(job) = JobId::parse(&body) {
                rings.push(Ring { job: Some(job), receipt });
            } else {
                self.send(&self.url.dead(), &[body]).await?;
                self.delete(&[receipt]).await?;
            }
        }
        Ok(rings)
    }

    /// Visible again at once.
    async fn rest(&self, unheard: Vec<Ring>) -> Result<(), Error> {
        for ring in unheard {
            let change = self.client().await.change_message_visibility().queue_url(&self.url.queue);
            self.ask(change.receipt_handle(ring.receipt).visibility_timeout(0).send()).await?;
        }
        Ok(())
    }

    async fn answered(&self, ring: Ring) -> Result<(), Error> {
        self.delete(&[ring.receipt]).await
    }

    async fn bury(&self, job: JobId, problem: &str) -> Result<(), Error> {
        let body = serde_json::json!({ "job": job.to_string(), "problem": problem });
        let sent = self.send(&self.url.dead(), &[body.to_string()]).await;
        self.or_ensure(sent).await
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
