//! Messages that the broker confirms.

use std::collections::BTreeSet;

use amqprs::callbacks::ChannelCallback;
use amqprs::channel::{BasicPublishArguments, Channel, ConfirmSelectArguments};
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, Nack, Return};
use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::Error;

/// More confirmations than that may not have been read: a batch has fewer messages.
const CONFIRMS_MAX: usize = 1024;

/// A channel whose messages the broker confirms. One batch at a time is on its way.
pub(super) struct Publishing {
    pub(super) channel: Channel,
    confirms: mpsc::Receiver<Confirm>,
    next_tag: u64,
}

/// What a broker says of messages up to, or only, that one.
struct Confirm {
    tag: u64,
    is_multiple: bool,
    problem: Option<String>,
}

struct Confirms(mpsc::Sender<Confirm>);

// === impl Publishing ===

impl Publishing {
    pub(super) async fn begin(channel: Channel) -> Result<Self, amqprs::error::Error> {
        let (sender, confirms) = mpsc::channel(CONFIRMS_MAX);
        channel.register_callback(Confirms(sender)).await?;
        channel.confirm_select(ConfirmSelectArguments::new(false)).await?;
        Ok(Self { channel, confirms, next_tag: 1 })
    }

    pub(super) async fn publish(&mut self, queue: &str, bodies: &[String]) -> Result<(), Error> {
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
        let mut left: BTreeSet<u64> = (first..self.next_tag).collect();
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
