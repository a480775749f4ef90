//! Somebody else at an SQS.

use aws_config::BehaviorVersion;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{Credentials, Region};

pub(crate) async fn publish(queue: &str, body: &str) {
    let client = client(queue).await;
    client.send_message().queue_url(queue).message_body(body).send().await.expect("sends");
}

/// All that is in a queue, which stays there.
pub(crate) async fn all(queue: &str) -> String {
    let receive = client(queue).await.receive_message().queue_url(queue);
    let received = receive.max_number_of_messages(10).visibility_timeout(0).send().await.expect("receives");
    received.messages().iter().filter_map(|message| message.body()).collect()
}

/// Makes a queue without attributes, and its queue of dead letters.
pub(crate) async fn make(queue: &str) {
    let name = queue.rsplit_once('/').expect("a path").1;
    for name in [name.to_owned(), format!("{name}-dlq")] {
        client(queue).await.create_queue().queue_name(name).send().await.expect("makes");
    }
}

async fn client(queue: &str) -> Client {
    let endpoint = queue.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    let http_client = aws_smithy_http_client::Builder::new().build_http();
    let loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http_client);
    let loader = loader.endpoint_url(endpoint).region(Region::new("us-east-1"));
    let loader = loader.credentials_provider(Credentials::new("a", "b", None, None, "tests"));
    Client::new(&loader.load().await)
}
