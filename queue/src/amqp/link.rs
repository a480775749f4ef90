//! A connection, made when one is wanted. One that was given up is closed first, however long that takes: a broker with
//! an alarm does not read what those say that have published, and would get one more with each try.

use std::time::Duration;

use amqprs::channel::Channel;
use amqprs::connection::Connection;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::AmqpUrl;
use crate::Error;

/// Time for a connection, and for each answer.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(3);

#[derive(Default)]
pub(super) struct Link {
    open: Option<Connection>,
    /// Ends with the one that was given up.
    closing: Option<JoinHandle<()>>,
}

// === impl Link ===

impl Link {
    /// A new channel.
    pub(super) async fn channel(&mut self, url: &AmqpUrl) -> Result<Channel, Error> {
        if let Some(closing) = &mut self.closing {
            let ended = timeout(ANSWER_WITHIN, closing).await;
            drop(ended.map_err(|_| Error("a connection that was given up has not ended".to_owned()))?);
            self.closing = None;
        }
        let connection = match self.open.take().filter(Connection::is_open) {
            Some(connection) => connection,
            None => within(url.connect()).await?,
        };
        let channel = within(self.open.insert(connection).open_channel(None)).await;
        if channel.is_err() {
            self.give_up();
        }
        channel
    }

    /// Who does not answer is not asked again here, and what it says too late would be taken for something else.
    pub(super) fn give_up(&mut self) {
        if let Some(connection) = self.open.take() {
            self.closing = Some(tokio::spawn(async move { drop(connection.close().await) }));
        }
    }

    pub(super) async fn close(&mut self) -> Result<(), Error> {
        match self.open.take() {
            Some(connection) => within(connection.close()).await,
            None => Ok(()),
        }
    }
}

/// Nothing waits longer than that for the broker.
pub(super) async fn within<T>(
    asked: impl Future<Output = Result<T, amqprs::error::Error>>,
) -> Result<T, Error> {
    match timeout(ANSWER_WITHIN, asked).await {
        Ok(answer) => answer.map_err(|error| Error(error.to_string())),
        Err(_) => Err(Error(format!("no answer within {ANSWER_WITHIN:?}"))),
    }
}
