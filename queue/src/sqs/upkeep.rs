//! The two queues: how they are made, what is wrong with those that are there, and what lies in the second.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use serde_json::Value;

use super::{ANSWER_WITHIN, BATCH, RECEIVES_MAX, Refusal, Sqs};
use crate::{DeadLetter, Error, Finding, Sieve};

/// Seconds that SQS keeps a message at most: 14 days.
const KEPT: &str = "1209600";
/// For so long nobody else sees a dead letter that is looked at, in seconds.
const SIFTING: i32 = 120;
/// A letter that was to be seen and is not is looked for this long, in seconds.
const SIFT_POLL: i32 = 1;

// === impl Sqs ===

impl Sqs {
    fn dead_name(&self) -> String {
        format!("{}-dlq", self.url.name)
    }

    /// What the queue is made with.
    async fn attributes(&self) -> Vec<(Attribute, String)> {
        let region = self.client().await.config().region().map(ToString::to_string).unwrap_or_default();
        let dead = format!("arn:aws:sqs:{region}:{}:{}", self.url.account, self.dead_name());
        let redrive = serde_json::json!({ "deadLetterTargetArn": dead, "maxReceiveCount": RECEIVES_MAX });
        vec![
            (Attribute::VisibilityTimeout, self.overdue.as_secs().to_string()),
            (Attribute::ReceiveMessageWaitTimeSeconds, super::POLL_MAX.as_secs().to_string()),
            (Attribute::RedrivePolicy, redrive.to_string()),
        ]
    }

    /// Dead letters are kept as long as SQS does.
    fn dead_attributes() -> Vec<(Attribute, String)> {
        vec![(Attribute::MessageRetentionPeriod, KEPT.to_owned())]
    }

    /// Makes what is missing. What is there is taken as it is.
    pub(super) async fn make_queues(&self) -> Result<(), Error> {
        self.make(&self.dead_name(), Self::dead_attributes()).await?;
        self.make(&self.url.name, self.attributes().await).await
    }

    async fn make(&self, name: &str, attributes: Vec<(Attribute, String)>) -> Result<(), Error> {
        match self.told(name).await {
            Err(refusal) if refusal.is_missing => {}
            // Who may only send and receive finds out soon enough.
            Err(refusal) if refusal.is_denied => return Ok(()),
            told => return Ok(told.map(drop)?),
        }
        let create = self.client().await.create_queue().queue_name(name);
        let create = create.set_attributes(Some(attributes.iter().cloned().collect()));
        self.ask(ANSWER_WITHIN, create.send()).await.map(drop).map_err(|Refusal { said, .. }| {
            let call = call(name, &attributes);
            Error(format!("the queue {name} is not there and cannot be made ({said}); whoever may: {call}"))
        })
    }

    /// All attributes that the queue has.
    async fn told(&self, name: &str) -> Result<HashMap<Attribute, String>, Refusal> {
        let queue = format!("{}/{}/{name}", self.url.endpoint, self.url.account);
        let get = self.client().await.get_queue_attributes().queue_url(queue);
        let told = self.ask(ANSWER_WITHIN, get.attribute_names(Attribute::All).send()).await?;
        Ok(told.attributes.unwrap_or_default())
    }

    /// What is missing, or lets rings or dead letters vanish.
    pub(super) async fn findings(&self) -> Result<Vec<Finding>, Error> {
        let mut findings = Vec::new();
        let (name, dead) = (self.url.name.clone(), self.dead_name());
        let attributes = self.attributes().await;
        for (queue, wanted) in [(&dead, Self::dead_attributes()), (&name, attributes.clone())] {
            let mut add = |what: String, cure: String| findings.push(Finding { what, cure });
            let told = match self.told(queue).await {
                Ok(told) => told,
                Err(refusal) if refusal.is_missing => {
                    add(format!("the queue {queue} is not there"), call(queue, &wanted));
                    continue;
                }
                Err(refusal) if refusal.is_denied => {
                    let what = format!("the queue {queue} may not be looked at ({})", refusal.said);
                    add(what, "allow sqs:GetQueueAttributes, as docs/queues.md has it".to_owned());
                    continue;
                }
                Err(refusal) => return Err(refusal.into()),
            };
            if queue == &name
                && let Some(problem) = redrive_problem(&told, &dead)
            {
                let redrive = wanted.into_iter().filter(|(name, _)| *name == Attribute::RedrivePolicy);
                let set = shown(redrive.collect::<Vec<_>>().as_slice());
                let url = &self.url.queue;
                let cure = format!("aws sqs set-queue-attributes --queue-url {url} --attributes '{set}'");
                add(format!("the queue {queue} {problem}"), cure);
            }
        }
        Ok(findings)
    }

    /// See [`Doorbells::sift`](crate::Doorbells::sift). What is kept is visible again at the end of it.
    pub(super) async fn sift_dead(&self, sieve: &mut dyn Sieve) -> Result<(), Error> {
        let (queue, mut seen, mut kept) = (self.url.dead(), HashSet::new(), Vec::new());
        let sifted = loop {
            let receive = self.client().await.receive_message().queue_url(&queue);
            let receive = receive
                .max_number_of_messages(i32::try_from(BATCH).unwrap_or(1))
                .wait_time_seconds(SIFT_POLL)
                .visibility_timeout(SIFTING);
            let limit = ANSWER_WITHIN + Duration::from_secs(1);
            let received = match self.ask(limit, receive.send()).await {
                Ok(received) => received.messages.unwrap_or_default(),
                Err(refusal) => break Err(refusal.into()),
            };
            // One that was kept comes again only if this takes long; all have been seen then.
            let is_new = |id: &Option<String>| seen.insert(id.clone().unwrap_or_default());
            let new: Vec<_> = received
                .into_iter()
                .filter({
                    let mut is_new = is_new;
                    move |message| is_new(&message.message_id)
                })
                .collect();
            if new.is_empty() {
                break Ok(());
            }
            let mut failed = None;
            for message in new {
                let receipt = message.receipt_handle.unwrap_or_default();
                let letter = DeadLetter::read(message.body.unwrap_or_default());
                let done = match sieve.is_done(&letter).await {
                    Ok(true) => self.delete(&queue, std::slice::from_ref(&receipt)).await.map(|()| true),
                    kept => kept,
                };
                match done {
                    Ok(true) => {}
                    Ok(false) => kept.push(receipt),
                    Err(error) => {
                        kept.push(receipt);
                        failed = Some(error);
                    }
                }
            }
            if let Some(error) = failed {
                break Err(error);
            }
        };
        for receipt in kept {
            let change = self.client().await.change_message_visibility().queue_url(&queue);
            self.ask(ANSWER_WITHIN, change.receipt_handle(receipt).visibility_timeout(0).send()).await?;
        }
        sifted
    }
}

/// What is wrong with where a queue sends what was received too often.
fn redrive_problem(told: &HashMap<Attribute, String>, dead: &str) -> Option<String> {
    let Some(policy) = told.get(&Attribute::RedrivePolicy) else {
        return Some("has no redrive policy: what nobody can answer goes round for ever".to_owned());
    };
    let policy: Value = serde_json::from_str(policy).unwrap_or_default();
    let target = policy["deadLetterTargetArn"].as_str().unwrap_or_default();
    let is_ours = target.rsplit(':').next() == Some(dead);
    (!is_ours).then(|| format!("has a redrive policy to {target:?} instead of {dead}"))
}

/// What somebody types who may make it.
fn call(name: &str, attributes: &[(Attribute, String)]) -> String {
    format!("aws sqs create-queue --queue-name {name} --attributes '{}'", shown(attributes))
}

fn shown(attributes: &[(Attribute, String)]) -> String {
    let all = attributes.iter().map(|(name, value)| (name.to_string(), value.as_str().into()));
    Value::Object(all.collect()).to_string()
}
