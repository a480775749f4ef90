//! `RabbitMQ`: a ring is a message in a quorum queue, which sends what came to nothing to another one.
//!
//! A subscription is a channel of its own, which is closed when nobody waits: then the broker gives what was not answered
//! to others at once. A message that was heard and is overdue is given back. However a subscription ends (the channel is
//! closed by the broker, the consumer is cancelled, the connection is lost), the next receive begins another; a delivery is
//! answered only on the channel that it came by, and once, because the broker closes a channel that answers twice.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use amqprs::callbacks::ChannelCallback;
use amqprs::channel::{
    BasicAckArguments, BasicConsumeArguments, BasicNackArguments, BasicPublishArguments, BasicQosArguments,
    BasicRejectArguments, Channel, ConfirmSelectArguments, ConsumerMessage, QueueDeclareArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::tls::TlsAdaptor;
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, FieldTable, FieldValue, Nack, Return};
use async_trait::async_trait;
use seekway_catalog::JobId;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_util::sync::CancellationToken;

use crate::brokered::Broker;
use crate::{Depth, Error, Ring};

const QUEUE: &str = "video_processing";
const DEAD: &str = "video_processing.dlq";
/// A message that was given back so often is dead. Brokers before 4.3 count each time that a channel ends with it.
const DELIVERIES_MAX: i32 = 20;
/// Time for a connection, and for each answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// A receive waits so long, or shorter where overdue messages are to be looked for earlier.
const RECEIVE: Duration = Duration::from_secs(5);
/// Seconds; after twice this a connection that nothing comes by is lost.
const HEARTBEAT: u16 = 10;

/// Where a `RabbitMQ` is.
#[derive(Clone)]
pub(crate) struct AmqpUrl {
    arguments: OpenConnectionArguments,
    /// The name that its certificate has, where it shows one.
    domain: Option<String>,
}

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

/// A channel whose messages the broker confirms. One batch at a time is on its way.
struct Publishing {
    channel: Channel,
    confirms: mpsc::Receiver<Confirm>,
    next_tag: u64,
}

/// What a broker says of messages up to, or only, that one.
struct Confirm {
    tag: u64,
    is_multiple: bool,
    problem: Option<String>,
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

struct Confirms(mpsc::Sender<Confirm>);

/// Hears of the end of a subscription.
struct Ends(CancellationToken);

// === impl AmqpUrl ===

impl AmqpUrl {
    /// `amqp[s]://[USER:PASSWORD@]HOST[:PORT][/VHOST]`, parts percent-encoded.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let decoded =
            |part: &str| percent_encoding::percent_decode_str(part).decode_utf8().ok().map(Cow::into_owned);
        let (scheme, rest) = text.split_once("://")?;
        let is_tls = scheme == "amqps";
        let (user, place) = rest.rsplit_once('@').unwrap_or(("guest:guest", rest));
        let (user, password) = user.split_once(':')?;
        let (address, vhost) = place.split_once('/').unwrap_or((place, ""));
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (address, if is_tls { 5671 } else { 5672 }),
        };
        let refused = |part: &str| part.contains(['/', '?', '#', ',']);
        if host.is_empty() || refused(user) || refused(host) || refused(vhost) {
            return None;
        }
        let mut arguments = OpenConnectionArguments::new(host, port, &decoded(user)?, &decoded(password)?);
        let vhost = decoded(vhost)?;
        arguments.virtual_host(if vhost.is_empty() { "/" } else { &vhost }).heartbeat(HEARTBEAT);
        Some(Self { arguments, domain: is_tls.then(|| host.trim_matches(['[', ']']).to_owned()) })
    }

    /// The machine's own roots, so that a private authority is known where the machine knows it.
    async fn connect(&self) -> Result<Connection, amqprs::error::Error> {
        let mut arguments = self.arguments.clone();
        if let Some(domain) = &self.domain {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
            arguments.tls_adaptor(TlsAdaptor::new(TlsConnector::from(Arc::new(config)), domain.clone()));
        }
        Connection::open(&arguments).await
    }
}

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

    /// What is there under that name: its messages. An error where there is none.
    async fn look(&self, queue: &str) -> Result<u64, Error> {
        let channel = self.channel().await?;
        let mut declare = QueueDeclareArguments::durable_client_named(queue);
        let found = self.within(channel.queue_declare(declare.passive(true).finish())).await?;
        Ok(found.map_or(0, |(_, messages, _)| u64::from(messages)))
    }

    async fn make(&self, queue: &str, arguments: &[(&str, FieldValue)]) -> Result<(), Error> {
        let Err(missing) = self.look(queue).await else { return Ok(()) };
        // One that is away is not told what to make.
        let channel = self.channel().await?;
        let mut table = FieldTable::new();
        for (name, value) in arguments {
            table.insert((*name).try_into().expect("a short name"), value.clone());
        }
        let mut declare = QueueDeclareArguments::durable_client_named(queue);
        let made = self.within(channel.queue_declare(declare.arguments(table).finish())).await;
        made.map(drop).map_err(|Error(why)| {
            Error(format!(
                "the queue {queue} is not there ({missing}) and cannot be made ({why}); as an administrator: \
                 rabbitmqadmin declare queue name={queue} durable=true arguments='{}'",
                shown(arguments)
            ))
        })
    }

    /// Publishes, and returns once the broker has them all.
    async fn publish(&self, queue: &str, bodies: &[String]) -> Result<(), Error> {
        let mut idle = self.publishes.lock().await;
        // Whatever goes wrong, what is late would be taken for another's. So it is another channel then.
        let mut publishing = match idle.take_if(|publishing| publishing.channel.is_open()) {
            Some(publishing) => publishing,
            None => self.publishing().await?,
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

    async fn publishing(&self) -> Result<Publishing, Error> {
        let channel = self.channel().await?;
        let (sender, confirms) = mpsc::channel(1024);
        self.within(channel.register_callback(Confirms(sender))).await?;
        self.within(channel.confirm_select(ConfirmSelectArguments::new(false))).await?;
        Ok(Publishing { channel, confirms, next_tag: 1 })
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
        let text = |value: &str| FieldValue::S(value.try_into().expect("a text"));
        self.make(DEAD, &[("x-queue-type", text("quorum"))]).await?;
        let arguments = [
            ("x-queue-type", text("quorum")),
            ("x-delivery-limit", FieldValue::I(DELIVERIES_MAX)),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text(DEAD)),
            ("x-dead-letter-strategy", text("at-least-once")),
            ("x-overflow", text("reject-publish")),
        ];
        self.make(QUEUE, &arguments).await
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
        let body = serde_json::json!({ "job": job.to_string(), "problem": problem });
        self.publish(DEAD, &[body.to_string()]).await
    }

    /// What is in flight, and how old the oldest is, only the broker's management interface tells.
    async fn depth(&self) -> Result<Depth, Error> {
        let (waiting, dead) = (self.look(QUEUE).await?, self.look(DEAD).await?);
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

// === impl Publishing ===

impl Publishing {
    async fn publish(&mut self, queue: &str, bodies: &[String]) -> Result<(), Error> {
        let first = self.next_tag;
        for body in bodies {
            let mut arguments = BasicPublishArguments::new("", queue);
            // Without it a message for a queue that is not there would be confirmed, too.
            arguments.mandatory(true);
            let mut properties = BasicProperties::default();
            properties.with_delivery_mode(2);
            let published =
                self.channel.basic_publish(properties.finish(), body.clone().into_bytes(), arguments);
            published.await.map_err(|error| Error(error.to_string()))?;
            self.next_tag += 1;
        }
        let mut left: std::collections::BTreeSet<u64> = (first..self.next_tag).collect();
        while !left.is_empty() {
            let closed = || Error("the channel was closed".to_owned());
            let confirm = self.confirms.recv().await.ok_or_else(closed)?;
            if let Some(problem) = confirm.problem {
                return Err(Error(problem));
            }
            left.retain(|tag| if confirm.is_multiple { *tag > confirm.tag } else { *tag != confirm.tag });
        }
        Ok(())
    }
}

// === impl Confirms ===

impl Confirms {
    async fn say(&self, tag: u64, is_multiple: bool, problem: Option<String>) {
        // Nobody listens after an error; the channel goes with it.
        drop(self.0.send(Confirm { tag, is_multiple, problem }).await);
    }
}

#[async_trait]
impl ChannelCallback for Confirms {
    async fn close(&mut self, _: &Channel, close: CloseChannel) -> Result<(), amqprs::error::Error> {
        self.say(0, false, Some(close.to_string())).await;
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), amqprs::error::Error> {
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, amqprs::error::Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        self.say(ack.delivery_tag(), ack.mutiple(), None).await;
    }

    async fn publish_nack(&mut self, _: &Channel, nack: Nack) {
        self.say(nack.delivery_tag(), nack.multiple(), Some("the queue is full".to_owned())).await;
    }

    async fn publish_return(&mut self, _: &Channel, returned: Return, _: BasicProperties, _: Vec<u8>) {
        self.say(0, false, Some(format!("undeliverable: {}", returned.reply_text()))).await;
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

/// As `rabbitmqadmin` takes them.
fn shown(arguments: &[(&str, FieldValue)]) -> String {
    let all = arguments.iter().map(|(name, value)| match value {
        FieldValue::I(number) => ((*name).to_owned(), serde_json::json!(number)),
        value => ((*name).to_owned(), serde_json::json!(value.to_string())),
    });
    serde_json::Value::Object(all.collect()).to_string()
}
