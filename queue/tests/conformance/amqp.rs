//! Somebody else at a `RabbitMQ`.

use amqprs::BasicProperties;
use amqprs::channel::{
    BasicGetArguments, BasicPublishArguments, Channel, QueueDeclareArguments, QueueDeleteArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};

pub(crate) struct Amqp {
    channel: Channel,
    _connection: Connection,
}

impl Amqp {
    pub(crate) async fn open(url: &str) -> Self {
        let port = url.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
        let arguments = OpenConnectionArguments::new("127.0.0.1", port, "guest", "guest");
        let connection = Connection::open(&arguments).await.expect("connects");
        let channel = connection.open_channel(None).await.expect("opens");
        Self { channel, _connection: connection }
    }

    pub(crate) async fn publish(&self, queue: &str, body: &str) {
        let arguments = BasicPublishArguments::new("", queue);
        let body = body.as_bytes().to_vec();
        self.channel.basic_publish(BasicProperties::default(), body, arguments).await.expect("publishes");
        // What comes after it on this channel is answered after it.
        drop(self.get("video_processing.dlq").await);
    }

    /// All that is in a queue, which it leaves there.
    pub(crate) async fn all(&self, queue: &str) -> String {
        let mut all = String::new();
        while let Some(body) = self.get(queue).await {
            all.push_str(&body);
        }
        all
    }

    /// A classic queue without arguments.
    pub(crate) async fn declare_plain(&self, queue: &str) {
        let declare = QueueDeclareArguments::durable_client_named(queue);
        self.channel.queue_declare(declare).await.expect("declares");
    }

    pub(crate) async fn delete(&self, queue: &str) {
        self.channel.queue_delete(QueueDeleteArguments::new(queue)).await.expect("deletes");
    }

    async fn get(&self, queue: &str) -> Option<String> {
        let got = self.channel.basic_get(BasicGetArguments::new(queue)).await.expect("gets");
        got.map(|(_, _, body)| String::from_utf8(body).expect("a text"))
    }
}
