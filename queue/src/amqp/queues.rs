//! The two queues: how they are made, what is wrong with those that are there, and what lies in the second.
//!
//! A declaration that the broker refuses closes the channel, so each has one of its own.

use std::sync::{Arc, Mutex, PoisonError};

use amqprs::callbacks::ChannelCallback;
use amqprs::channel::{BasicAckArguments, BasicGetArguments, Channel, QueueDeclareArguments};
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, FieldTable, FieldValue, Nack, Return};
use async_trait::async_trait;

use super::Amqp;
use crate::{DeadLetter, Error, Finding, Sieve};

pub(super) const QUEUE: &str = "video_processing";
pub(super) const DEAD: &str = "video_processing.dlq";
/// A message that was given back so often is dead. Brokers before 4.3 count each time that a channel ends with it.
const DELIVERIES_MAX: i32 = 20;
/// `access-refused`, `not-found` and `precondition-failed` of AMQP 0-9-1, section 1.8 (reply codes).
const REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const OTHER_ARGUMENTS: u16 = 406;

type Arguments = Vec<(&'static str, FieldValue)>;

/// What the broker answers to a declaration.
enum Declared {
    /// The queue is there, with so many messages that wait.
    Has(u64),
    /// Why not, by the reply code and in the broker's words.
    Refused(u16, String),
}

/// Why the broker closed a channel.
#[derive(Clone, Default)]
struct Refusal(Arc<Mutex<Option<(u16, String)>>>);

/// Each queue with what it is declared with, in the order in which they have to be there.
fn queues() -> [(&'static str, Arguments); 2] {
    let text = |value: &str| FieldValue::S(value.try_into().expect("a text"));
    let dead = vec![("x-queue-type", text("quorum"))];
    let queue = vec![
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", FieldValue::I(DELIVERIES_MAX)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(DEAD)),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ];
    [(DEAD, dead), (QUEUE, queue)]
}

// === impl Amqp ===

impl Amqp {
    async fn declare(&self, queue: &str, arguments: Option<&Arguments>) -> Result<Declared, Error> {
        let (channel, refusal) = (self.channel().await?, Refusal::default());
        self.within(channel.register_callback(refusal.clone())).await?;
        let mut table = FieldTable::new();
        for (name, value) in arguments.into_iter().flatten() {
            table.insert((*name).try_into().expect("a short name"), value.clone());
        }
        let mut declare = QueueDeclareArguments::durable_client_named(queue);
        let declare = declare.passive(arguments.is_none()).arguments(table).finish();
        match self.within(channel.queue_declare(declare)).await {
            Ok(found) => {
                // The connection has a bound of channels.
                drop(self.within(channel.close()).await);
                Ok(Declared::Has(found.map_or(0, |(_, messages, _)| u64::from(messages))))
            }
            Err(error) => {
                let refused = refusal.0.lock().unwrap_or_else(PoisonError::into_inner).take();
                refused.map(|(code, why)| Declared::Refused(code, why)).ok_or(error)
            }
        }
    }

    /// How many messages wait there.
    pub(super) async fn count(&self, queue: &str) -> Result<u64, Error> {
        match self.declare(queue, None).await? {
            Declared::Has(messages) => Ok(messages),
            Declared::Refused(_, why) => Err(Error(format!("{}: {why}", self.shown))),
        }
    }

    /// Makes what is missing. What is there is taken as it is.
    pub(super) async fn make_queues(&self) -> Result<(), Error> {
        for (queue, arguments) in queues() {
            if let Declared::Has(_) = self.declare(queue, None).await? {
                continue;
            }
            if let Declared::Refused(_, why) = self.declare(queue, Some(&arguments)).await? {
                let shown = call(queue, &arguments);
                return Err(Error(format!(
                    "{}: the queue {queue} is not there and cannot be made ({why}); as an administrator: {shown}",
                    self.shown
                )));
            }
        }
        Ok(())
    }

    /// What is missing, or is not as it would be made here.
    pub(super) async fn findings(&self) -> Result<Vec<Finding>, Error> {
        let mut findings = Vec::new();
        for (queue, arguments) in queues() {
            let mut add = |what: String, cure: String| findings.push(Finding { what, cure });
            match self.declare(queue, None).await? {
                Declared::Refused(NOT_FOUND, _) => {
                    add(format!("the queue {queue} is not there"), call(queue, &arguments));
                    continue;
                }
                Declared::Refused(_, why) => {
                    let cure = format!("rabbitmqctl set_permissions, as docs/queues.md has it for {queue}");
                    add(format!("the queue {queue} may not be looked at ({why})"), cure);
                    continue;
                }
                Declared::Has(_) => {}
            }
            // Declaring what is there compares it. Who may not declare has a queue that somebody else looks after.
            match self.declare(queue, Some(&arguments)).await? {
                Declared::Refused(OTHER_ARGUMENTS, why) => {
                    let cure =
                        format!("rabbitmqadmin delete queue name={queue}; {}", call(queue, &arguments));
                    add(format!("the queue {queue} is made in another way ({why})"), cure);
                }
                Declared::Refused(REFUSED, _) | Declared::Has(_) => {}
                Declared::Refused(_, why) => return Err(Error(format!("{}: {why}", self.shown))),
            }
        }
        Ok(findings)
    }

    /// What is kept is published anew before the old one goes: a broker counts how often a message is given back, and
    /// in the end drops it.
    pub(super) async fn sift_dead(&self, sieve: &mut dyn Sieve) -> Result<(), Error> {
        let count = self.count(DEAD).await?;
        let channel = self.channel().await?;
        let sifted = self.sift_by(&channel, count, sieve).await;
        // It gives back what is not answered.
        sifted.and(self.within(channel.close()).await)
    }

    async fn sift_by(&self, channel: &Channel, count: u64, sieve: &mut dyn Sieve) -> Result<(), Error> {
        for _ in 0..count {
            let got = self.within(channel.basic_get(BasicGetArguments::new(DEAD))).await?;
            let Some((got, _, body)) = got else { break };
            let text = String::from_utf8_lossy(&body).into_owned();
            if !sieve.is_done(&DeadLetter::read(text.clone())).await? {
                self.publish(DEAD, &[text]).await?;
            }
            let ack = BasicAckArguments::new(got.delivery_tag(), false);
            self.within(channel.basic_ack(ack)).await?;
        }
        Ok(())
    }
}

// === impl Refusal ===

#[async_trait]
impl ChannelCallback for Refusal {
    async fn close(&mut self, _: &Channel, close: CloseChannel) -> Result<(), amqprs::error::Error> {
        let why = (close.reply_code(), close.reply_text().clone());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), amqprs::error::Error> {
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, amqprs::error::Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, _: Ack) {}

    async fn publish_nack(&mut self, _: &Channel, _: Nack) {}

    async fn publish_return(&mut self, _: &Channel, _: Return, _: BasicProperties, _: Vec<u8>) {}
}

/// What an administrator types to make it.
fn call(queue: &str, arguments: &Arguments) -> String {
    let all = arguments.iter().map(|(name, value)| match value {
        FieldValue::I(number) => ((*name).to_owned(), serde_json::json!(number)),
        value => ((*name).to_owned(), serde_json::json!(value.to_string())),
    });
    let shown = serde_json::Value::Object(all.collect());
    format!("rabbitmqadmin declare queue name={queue} durable=true arguments='{shown}'")
}
