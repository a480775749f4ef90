//! `RabbitMQ`: a ring is a message in a quorum queue, which sends what came to nothing to another one.
//!
//! A subscription is a channel of its own, which is closed when nobody waits: then the broker gives what was not answered
//! to others at once. A message that was heard and is overdue is given back. However a subscription ends (the channel is
//! closed by the broker, the consumer is cancelled, the connection is lost), the next receive begins another; a delivery is
//! answered only on the channel that it came by, and once, because the broker closes a channel that answers twice.

mod link;
mod publishing;
mod queues;
mod url;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use amqprs::callbacks::ChannelCallback;
use amqprs::channel::{
    BasicAckArguments, BasicConsumeArguments, BasicQosArguments, BasicRejectArguments, Channel,
    ConsumerMessage,
};
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, Nack, Return};
use async_trait::async_trait;
use seekway_catalog::JobId;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::brokered::Broker;
use crate::{Depth, Error, Finding, Ring, Sieve, dead_letter};
use link::{ANSWER_WITHIN, Link, within};
use publishing::{Message, Publishing};
use queues::{DEAD, QUEUE};

pub(crate) use url::AmqpUrl;

/// A receive waits so long, or shorter where overdue messages are to be looked for earlier.
const RECEIVE: Duration = Duration::from_secs(5);

/// Rings by `RabbitMQ`.
pub(crate) struct Amqp {
    url: AmqpUrl,
    shown: String,
    overdue: Duration,
    /// For what is asked of queues.
    looks: Mutex<Link>,
    publishes: Mutex<Publisher>,
    receives: Mutex<Receiver>,
    /// What comes by the subscription; apart from it, because who answers shall not wait for it.
    deliveries: Mutex<Option<mpsc::UnboundedReceiver<ConsumerMessage>>>,
}

/// Who publishes has a connection of its own: with an alarm the broker reads nothing of it.
#[derive(Default)]
struct Publisher {
    link: Link,
    idle: Option<Publishing>,
}

#[derive(Default)]
struct Receiver {
    link: Link,
    subscription: Option<Subscription>,
}

struct Subscription {
    /// Part of each receipt: numbers of deliveries begin anew with each channel.
    name: String,
    channel: Channel,
    /// The broker has closed the channel, or cancelled the consumer, as it does when the queue is deleted.
    ended: CancellationToken,
    prefetch: usize,
    /// What was received and is not answered, and since when.
    unanswered: BTreeMap<u64, Instant>,
}

/// Hears of the end of a subscription.
struct Ends(CancellationToken);

// === impl Amqp ===

impl Amqp {
    pub(crate) fn new(url: AmqpUrl, shown: String, overdue: Duration) -> Self {
        let (looks, publishes, receives, deliveries) = Default::default();
        Self { url, shown, overdue, looks, publishes, receives, deliveries }
    }

    /// Publishes, and returns once the broker has them all.
    async fn publish(&self, queue: &str, messages: &[Message]) -> Result<(), Error> {
        let mut publisher = self.publishes.lock().await;
        let Publisher { link, idle } = &mut *publisher;
        // Whatever goes wrong, what is late would be taken for another's. So it is another channel then.
        let mut publishing = if let Some(open) = idle.take_if(|publishing| publishing.channel.is_open()) {
            open
        } else {
            let channel = link.channel(&self.url).await?;
            within(Publishing::begin(channel)).await?
        };
        match timeout(ANSWER_WITHIN, publishing.publish(queue, messages)).await {
            Ok(Ok(())) => {
                *idle = Some(publishing);
                Ok(())
            }
            Ok(Err(error)) => {
                link.give_up();
                drop(publisher);
                // It may have begun anew with nothing.
                self.make_queues().await?;
                Err(error)
            }
            Err(_) => {
                link.give_up();
                Err(Error(format!("not confirmed within {ANSWER_WITHIN:?}")))
            }
        }
    }

    async fn subscribe(&self, link: &mut Link, prefetch: usize) -> Result<Subscription, Error> {
        let (channel, ended) = (link.channel(&self.url).await?, CancellationToken::new());
        within(channel.register_callback(Ends(ended.clone()))).await?;
        let count = u16::try_from(prefetch).unwrap_or(u16::MAX);
        within(channel.basic_qos(BasicQosArguments::new(0, count, false))).await?;
        let name = format!("seekway-{:016x}", fastrand::u64(..));
        let consume = BasicConsumeArguments::new(QUEUE, &name);
        let (_, deliveries) = within(channel.basic_consume_rx(consume)).await?;
        *self.deliveries.lock().await = Some(deliveries);
        Ok(Subscription { name, channel, ended, prefetch, unanswered: BTreeMap::new() })
    }

    /// Has a subscription that serves so many, and gives back what is overdue.
    async fn serve(&self, wanted: usize) -> Result<CancellationToken, Error> {
        let mut receiver = self.receives.lock().await;
        let Receiver { link, subscription } = &mut *receiver;
        let serving = subscription.take_if(|subscription| subscription.serves(wanted));
        let subscription = if let Some(serving) = serving {
            subscription.insert(serving)
        } else {
            if let Some(before) = subscription.take() {
                drop(within(before.channel.close()).await);
            }
            let mut begun = self.subscribe(link, wanted).await;
            if begun.is_err() {
                link.give_up();
                self.make_queues().await?;
                begun = self.subscribe(link, wanted).await;
            }
            subscription.insert(begun?)
        };
        let overdue = |since: &Instant| since.elapsed() >= self.overdue;
        let late: Vec<_> = subscription.unanswered.extract_if(.., |_, since| overdue(since)).collect();
        for (tag, _) in late {
            // Not `basic.nack`, which does not count from 4.3 on.
            let reject = BasicRejectArguments::new(tag, true);
            within(subscription.channel.basic_reject(reject)).await?;
        }
        Ok(subscription.ended.clone())
    }
}

#[async_trait]
impl Broker for Amqp {
    fn name(&self) -> String {
        self.shown.clone()
    }

    async fn ensure(&self) -> Result<(), Error> {
        self.make_queues().await
    }

    async fn inspect(&self) -> Result<Vec<Finding>, Error> {
        self.findings().await
    }

    async fn ring(&self, jobs: &[JobId]) -> Result<(), Error> {
        let messages: Vec<_> = jobs.iter().map(|job| Message::of(job.to_string())).collect();
        self.publish(QUEUE, &messages).await
    }

    async fn receive(&self, wanted: usize) -> Result<Vec<Ring>, Error> {
        let ended = self.serve(wanted).await?;
        self.next(wanted, &ended).await
    }

    /// The broker gives all of the channel's messages to others.
    async fn rest(&self, _unheard: Vec<Ring>) -> Result<(), Error> {
        match self.receives.lock().await.subscription.take() {
            Some(subscription) => within(subscription.channel.close()).await,
            None => Ok(()),
        }
    }

    async fn answered(&self, ring: Ring) -> Result<(), Error> {
        let mut receiver = self.receives.lock().await;
        let Some((name, tag)) = ring.receipt.split_once('/') else { return Ok(()) };
        let (Some(subscription), Ok(tag)) = (receiver.subscription.as_mut(), tag.parse()) else {
            return Ok(());
        };
        // One of another channel has been given back with it.
        if subscription.name != name || subscription.unanswered.remove(&tag).is_none() {
            return Ok(());
        }
        within(subscription.channel.basic_ack(BasicAckArguments::new(tag, false))).await
    }

    async fn bury(&self, job: JobId, problem: &str) -> Result<(), Error> {
        self.publish(DEAD, &[Message::of(dead_letter::write(job, problem))]).await
    }

    async fn sift(&self, sieve: &mut dyn Sieve) -> Result<(), Error> {
        self.sift_dead(sieve).await
    }

    /// What is in flight, and how old the oldest is, only the broker's management interface tells.
    async fn depth(&self) -> Result<Depth, Error> {
        let (waiting, dead) = (self.count(QUEUE).await?, self.count(DEAD).await?);
        Ok(Depth { waiting, oldest: None, in_flight: None, dead: Some(dead) })
    }

    async fn leave(&self) -> Result<(), Error> {
        self.rest(Vec::new()).await?;
        let mut publisher = self.publishes.lock().await;
        publisher.idle = None;
        publisher.link.close().await?;
        self.receives.lock().await.link.close().await?;
        self.looks.lock().await.close().await
    }
}

impl Amqp {
    /// Waits for what the subscription brings. Whoever answers meanwhile has it in turn.
    async fn next(&self, wanted: usize, ended: &CancellationToken) -> Result<Vec<Ring>, Error> {
        let mut deliveries = self.deliveries.lock().await;
        let Some(coming) = deliveries.as_mut() else { return Ok(Vec::new()) };
        let coming_or_end = ended.run_until_cancelled(coming.recv());
        let Ok(first) = timeout(RECEIVE.min(self.overdue), coming_or_end).await else {
            return Ok(Vec::new());
        };
        let mut receiver = self.receives.lock().await;
        let (Some(first), Some(subscription)) = (first.flatten(), receiver.subscription.as_mut()) else {
            (*deliveries, receiver.subscription) = (None, None);
            return Err(Error("the consumer was cancelled, or its channel closed".to_owned()));
        };
        let mut messages = vec![first];
        messages.extend(std::iter::from_fn(|| coming.try_recv().ok()).take(wanted.saturating_sub(1)));
        let mut rings = Vec::new();
        for message in messages {
            let Some(deliver) = message.deliver else { continue };
            let tag = deliver.delivery_tag();
            let body = String::from_utf8(message.content.unwrap_or_default()).unwrap_or_default();
            if let Some(job) = JobId::parse(&body) {
                subscription.unanswered.insert(tag, Instant::now());
                rings.push(Ring { job: Some(job), receipt: format!("{}/{tag}", subscription.name) });
            } else {
                let reject = BasicRejectArguments::new(tag, false);
                let rejected = within(subscription.channel.basic_reject(reject)).await;
                // The others are heard all the same.
                rejected.unwrap_or_else(|error| warn!(%error, "what is no ring cannot be rejected"));
            }
        }
        Ok(rings)
    }
}

// === impl Subscription ===

impl Subscription {
    fn serves(&self, wanted: usize) -> bool {
        self.channel.is_open()
            && !self.ended.is_cancelled()
            && self.prefetch >= self.unanswered.len() + wanted
    }
}

// === impl Ends ===

#[async_trait]
impl ChannelCallback for Ends {
    async fn close(&mut self, _: &Channel, _: CloseChannel) -> Result<(), amqprs::error::Error> {
        self.0.cancel();
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), amqprs::error::Error> {
        self.0.cancel();
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, amqprs::error::Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, _: Ack) {}

    async fn publish_nack(&mut self, _: &Channel, _: Nack) {}

    async fn publish_return(&mut self, _: &Channel, _: Return, _: BasicProperties, _: Vec<u8>) {}
}

// === impl fmt ===

impl fmt::Debug for Amqp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}
