//! `RabbitMQ`: a ring is a message in a quorum queue, which sends what came to nothing to another one.
//!
//! A subscription is a channel of its own, which is closed when nobody waits: then the broker gives what was not answered
//! to others at once. A message that was heard and is overdue is given back. However a subscription ends (the channel is
//! closed by the broker, the consumer is cancelled, the connection is lost), the next receive begins another; a delivery is
//! answered only on the channel that it came by, and once, because the broker closes a channel that answers twice.

mod publishing;
mod queues;
mod url;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use amqprs::callbacks::ChannelCallback;
use amqprs::channel::{
    BasicAckArguments, BasicConsumeArguments, BasicNackArguments, BasicQosArguments, BasicRejectArguments,
    Channel, ConsumerMessage,
};
use amqprs::connection::Connection;
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, Nack, Return};
use async_trait::async_trait;
use seekway_catalog::JobId;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::brokered::Broker;
use crate::{Depth, Error, Finding, Ring, Sieve, dead_letter};
use publishing::Publishing;
use queues::{DEAD, QUEUE};

pub(crate) use url::AmqpUrl;

/// Time for a connection, and for each answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// A receive waits so long, or shorter where overdue messages are to be looked for earlier.
const RECEIVE: Duration = Duration::from_secs(5);

/// Rings by `RabbitMQ`.
pub(crate) struct Amqp {
    url: AmqpUrl,
    shown: String,
    overdue: Duration,
    connection: Mutex<Option<Connection>>,
    publishes: Mutex<Option<Publishing>>,
    receives: Mutex<Option<Subscription>>,
    /// What comes by the subscription; apart from it, because who answers shall not wait for it.
    deliveries: Mutex<Option<mpsc::UnboundedReceiver<ConsumerMessage>>>,
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
        let (connection, publishes, receives, deliveries) = Default::default();
        Self { url, shown, overdue, connection, publishes, receives, deliveries }
    }

    /// Nothing waits longer than that for the broker.
    async fn within<T>(
        &self,
        asked: impl Future<Output = Result<T, amqprs::error::Error>>,
    ) -> Result<T, Error> {
        match timeout(ANSWER_WITHIN, asked).await {
            Ok(answer) => answer.map_err(|error| Error(format!("{}: {error}", self.shown))),
            Err(_) => Err(Error(format!("{}: no answer within {ANSWER_WITHIN:?}", self.shown))),
        }
    }

    /// A new channel, on the connection that there is or a new one.
    async fn channel(&self) -> Result<Channel, Error> {
        let mut connection = self.connection.lock().await;
        if let Some(open) = connection.take_if(|connection| connection.is_open())
            && let Ok(channel) = self.within(open.open_channel(None)).await
        {
            *connection = Some(open);
            return Ok(channel);
        }
        let open = self.within(self.url.connect()).await?;
        let channel = self.within(open.open_channel(None)).await?;
        *connection = Some(open);
        Ok(channel)
    }

    /// Publishes, and returns once the broker has them all.
    async fn publish(&self, queue: &str, bodies: &[String]) -> Result<(), Error> {
        let mut idle = self.publishes.lock().await;
        // Whatever goes wrong, what is late would be taken for another's. So it is another channel then.
        let mut publishing = if let Some(open) = idle.take_if(|publishing| publishing.channel.is_open()) {
            open
        } else {
            let channel = self.channel().await?;
            self.within(Publishing::begin(channel)).await?
        };
        let outcome = timeout(ANSWER_WITHIN, publishing.publish(queue, bodies)).await;
        match outcome {
            Ok(Ok(())) => *idle = Some(publishing),
            Ok(Err(Error(why))) => {
                drop(idle);
                // It may have begun anew with nothing.
                self.ensure().await?;
                return Err(Error(format!("{}: {why}", self.shown)));
            }
            Err(_) => {
                *self.connection.lock().await = None;
                return Err(Error(format!("{}: not confirmed within {ANSWER_WITHIN:?}", self.shown)));
            }
        }
        Ok(())
    }

    async fn subscribe(&self, prefetch: usize) -> Result<Subscription, Error> {
        let (channel, ended) = (self.channel().await?, CancellationToken::new());
        self.within(channel.register_callback(Ends(ended.clone()))).await?;
        let count = u16::try_from(prefetch).unwrap_or(u16::MAX);
        self.within(channel.basic_qos(BasicQosArguments::new(0, count, false))).await?;
        let name = format!("seekway-{:016x}", fastrand::u64(..));
        let consume = BasicConsumeArguments::new(QUEUE, &name);
        let (_, deliveries) = self.within(channel.basic_consume_rx(consume)).await?;
        *self.deliveries.lock().await = Some(deliveries);
        Ok(Subscription { name, channel, ended, prefetch, unanswered: BTreeMap::new() })
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
        let bodies: Vec<_> = jobs.iter().map(JobId::to_string).collect();
        self.publish(QUEUE, &bodies).await
    }

    async fn receive(&self, wanted: usize) -> Result<Vec<Ring>, Error> {
        let mut receives = self.receives.lock().await;
        let serves = |subscription: &mut Subscription| {
            subscription.channel.is_open()
                && !subscription.ended.is_cancelled()
                && subscription.prefetch >= subscription.unanswered.len() + wanted
        };
        let serving = receives.take_if(|subscription| serves(subscription));
        let subscription = if let Some(serving) = serving {
            receives.insert(serving)
        } else {
            if let Some(before) = receives.take() {
                drop(self.within(before.channel.close()).await);
            }
            let mut begun = self.subscribe(wanted).await;
            if begun.is_err() {
                self.ensure().await?;
                begun = self.subscribe(wanted).await;
            }
            receives.insert(begun?)
        };
        let overdue = |since: &Instant| since.elapsed() >= self.overdue;
        let late: Vec<_> = subscription.unanswered.extract_if(.., |_, since| overdue(since)).collect();
        for (tag, _) in late {
            let nack = BasicNackArguments::new(tag, false, true);
            self.within(subscription.channel.basic_nack(nack)).await?;
        }
        let ended = subscription.ended.clone();
        drop(receives);
        self.next(wanted, &ended).await
    }

    /// The broker gives all of the channel's messages to others.
    async fn rest(&self, _unheard: Vec<Ring>) -> Result<(), Error> {
        match self.receives.lock().await.take() {
            Some(subscription) => self.within(subscription.channel.close()).await,
            None => Ok(()),
        }
    }

    async fn answered(&self, ring: Ring) -> Result<(), Error> {
        let mut receives = self.receives.lock().await;
        let Some((name, tag)) = ring.receipt.split_once('/') else { return Ok(()) };
        let (Some(subscription), Ok(tag)) = (receives.as_mut(), tag.parse()) else { return Ok(()) };
        // One of another channel has been given back with it.
        if subscription.name != name || subscription.unanswered.remove(&tag).is_none() {
            return Ok(());
        }
        self.within(subscription.channel.basic_ack(BasicAckArguments::new(tag, false))).await
    }

    async fn bury(&self, job: JobId, problem: &str) -> Result<(), Error> {
        self.publish(DEAD, &[dead_letter::write(job, problem)]).await
    }

    async fn sift(&self, sieve: &mut dyn Sieve) -> Result<(), Error> {
        self.sift_dead(sieve).await
    }

    /// What is in flight, and how old the oldest is, only the broker's management interface tells.
    async fn depth(&self) -> Result<Depth, Error> {
        let (waiting, dead) = (self.count(QUEUE).await?, self.count(DEAD).await?);
        Ok(Depth { waiting, oldest: None, in_flight: None, dead })
    }

    async fn leave(&self) -> Result<(), Error> {
        *self.publishes.lock().await = None;
        match self.connection.lock().await.take() {
            Some(connection) => self.within(connection.close()).await,
            None => Ok(()),
        }
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
        let mut receives = self.receives.lock().await;
        let (Some(first), Some(subscription)) = (first.flatten(), receives.as_mut()) else {
            (*deliveries, *receives) = (None, None);
            return Err(Error(format!("{}: the consumer was cancelled, or its channel closed", self.shown)));
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
                self.within(subscription.channel.basic_reject(reject)).await?;
            }
        }
        Ok(rings)
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
