//! Redis Streams: a ring is an entry of [`STREAM`], heard through one consumer group.
//!
//! An entry that was received and not answered stays with its consumer. Whoever receives next takes over those that have
//! been with anybody for longer than [`Options::overdue`](crate::Options::overdue); one that was taken over too often, or
//! names no job, goes to [`DEAD`]. What takes several steps is one script, so that nobody who is killed leaves half of it.
//!
//! `XGROUP DELCONSUMER` forgets what the consumer has not answered. So that is added again first ([`LEAVE`]).

mod upkeep;

use std::time::Duration;

use async_trait::async_trait;
use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, Pipeline, RedisError, cmd};
use seekway_catalog::JobId;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::brokered::Broker;
use crate::{Depth, Error, Finding, Ring, Sieve};

const STREAM: &str = "seekway:jobs";
const DEAD: &str = "seekway:jobs:dead";
const GROUP: &str = "workers";
const FIELD: &str = "job";
/// Entries that a stream keeps, about: rings beyond that are rung for again once the others are heard.
const STREAM_MAX: u32 = 100_000;
const DEAD_MAX: u32 = 10_000;
/// An entry that so many have received and nobody answered is dead.
const DELIVERIES_MAX: u32 = 20;
/// Time for a connection, and for each answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// A receive waits so long in Redis, or shorter where overdue entries are to be looked for earlier.
const BLOCK: Duration = Duration::from_secs(5);
/// A consumer without entries whose process has not been heard of for so long is removed.
const CONSUMER_LASTS: Duration = Duration::from_hours(1);

/// Takes over what is overdue. `KEYS`: stream, dead stream. `ARGV`: group, consumer, what is overdue in milliseconds, how
/// many, deliveries, entries of the dead stream, the age of a consumer that is gone. Answers with ids and jobs in turn.
const TAKE_OVER: &str = r"
local taken = {}
for _, entry in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], '-', '+', ARGV[4])) do
  local id = entry[1]
  local claimed = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], id)[1]
  if not claimed or not claimed[2] then
    redis.call('XACK', KEYS[1], ARGV[1], id)
  elseif entry[4] >= tonumber(ARGV[5]) then
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[6], '*', 'problem', 'received too often', unpack(claimed[2]))
    redis.call('XACK', KEYS[1], ARGV[1], id)
    redis.call('XDEL', KEYS[1], id)
  else
    taken[#taken + 1] = id
    taken[#taken + 1] = claimed[2][2]
  end
end
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  if consumer[4] == 0 and consumer[6] > tonumber(ARGV[7]) and consumer[2] ~= ARGV[2] then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer[2])
  end
end
return taken
";

/// Leaves what a consumer has not answered to others, and removes it. `KEYS`: stream. `ARGV`: group, consumer.
const LEAVE: &str = r"
for _, entry in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1000, ARGV[2])) do
  local found = redis.call('XRANGE', KEYS[1], entry[1], entry[1])[1]
  if found then redis.call('XADD', KEYS[1], '*', unpack(found[2])) end
  redis.call('XACK', KEYS[1], ARGV[1], entry[1])
  redis.call('XDEL', KEYS[1], entry[1])
end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
";

/// Rings by Redis Streams.
#[derive(Debug)]
pub(crate) struct Redis {
    client: Client,
    shown: String,
    consumer: String,
    overdue: Duration,
    commands: Lane,
    /// Waits in Redis, and would hold up all others on its connection.
    receives: Lane,
}

/// A connection, once there is one.
#[derive(Default)]
struct Lane(Mutex<Option<MultiplexedConnection>>);

/// A pipeline's errors are one, which does not say what the server answered.
#[derive(Clone, Copy)]
enum Asked<'a> {
    One(&'a Cmd),
    All(&'a Pipeline),
}

/// What a receive answers: streams, entries, and each one's fields and values in turn.
type Received = Option<Vec<(String, Entries)>>;
type Entries = Vec<(String, Vec<Vec<u8>>)>;
/// How many are pending, and what nobody asks here: the first, the last, and whose.
type Pending = (Option<u64>, Option<String>, Option<String>, Option<Vec<(String, String)>>);

// === impl Redis ===

impl Redis {
    pub(crate) fn new(client: Client, shown: String, overdue: Duration) -> Self {
        let consumer = format!("{}-{:016x}", std::process::id(), fastrand::u64(..));
        Self { client, shown, consumer, overdue, commands: Lane::default(), receives: Lane::default() }
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Error> {
        self.query(&self.commands, Asked::One(command), ANSWER_WITHIN)
            .await
            .map_err(|error| self.said(&error))
    }

    async fn ask_all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, Error> {
        self.query(&self.commands, Asked::All(commands), ANSWER_WITHIN)
            .await
            .map_err(|error| self.said(&error))
    }

    /// After trouble with the connection the next query makes another.
    async fn query<T: FromRedisValue>(
        &self,
        lane: &Lane,
        asked: Asked<'_>,
        limit: Duration,
    ) -> Result<T, RedisError> {
        let mut connection = {
            let mut lane = lane.0.lock().await;
            match &*lane {
                Some(connection) => connection.clone(),
                None => lane.insert(self.connect().await?).clone(),
            }
        };
        let answer = async {
            match asked {
                Asked::One(command) => command.query_async(&mut connection).await,
                Asked::All(commands) => commands.query_async(&mut connection).await,
            }
        };
        let answer = match timeout(limit, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        };
        // What the server refuses it refuses on any connection.
        if answer.as_ref().is_err_and(|error: &RedisError| error.code().is_none()) {
            *lane.0.lock().await = None;
        }
        answer
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_WITHIN))
            // Each query has its own.
            .set_response_timeout(None);
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    fn said(&self, error: &RedisError) -> Error {
        Error(format!("{}: {error}", self.shown))
    }

    /// Redis may have begun anew with nothing.
    async fn unless_lost<T: Default>(&self, answer: Result<T, RedisError>) -> Result<T, Error> {
        match answer {
            Err(error) if error.code() == Some("NOGROUP") => {
                self.ensure().await?;
                Ok(T::default())
            }
            answer => answer.map_err(|error| self.said(&error)),
        }
    }

    async fn take_over(&self, wanted: usize) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let mut script = cmd("EVAL");
        script.arg(TAKE_OVER).arg(2).arg(STREAM).arg(DEAD).arg(GROUP).arg(&self.consumer);
        script.arg(millis(self.overdue)).arg(wanted).arg(DELIVERIES_MAX).arg(DEAD_MAX);
        script.arg(millis(CONSUMER_LASTS));
        let answer = self.query(&self.commands, Asked::One(&script), ANSWER_WITHIN).await;
        let taken: Vec<Vec<u8>> = self.unless_lost(answer).await?;
        let pairs = taken.chunks_exact(2).map(|pair| (text(&pair[0]), pair[1].clone()));
        Ok(pairs.collect())
    }

    async fn take(&self, wanted: usize) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let block = BLOCK.min(self.overdue);
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(&self.consumer).arg("COUNT").arg(wanted);
        read.arg("BLOCK").arg(millis(block)).arg("STREAMS").arg(STREAM).arg(">");
        let answer = self.query(&self.receives, Asked::One(&read), block + ANSWER_WITHIN).await;
        let received: Received = self.unless_lost(answer).await?;
        let entries = received.into_iter().flatten().flat_map(|(_, entries)| entries);
        // The first field is the job, in entries of ours.
        Ok(entries.map(|(id, fields)| (id, fields.get(1).cloned().unwrap_or_default())).collect())
    }

    /// Moves an entry to the dead ones.
    async fn reject(&self, id: &str, body: &[u8]) -> Result<(), Error> {
        let mut pipeline = Pipeline::new();
        pipeline.atomic();
        pipeline.cmd("XADD").arg(DEAD).arg("MAXLEN").arg("~").arg(DEAD_MAX).arg("*");
        pipeline.arg(FIELD).arg(body).arg("problem").arg("names no job").ignore();
        done(&mut pipeline, id);
        self.ask_all(&pipeline).await
    }
}

#[async_trait]
impl Broker for Redis {
    fn name(&self) -> String {
        self.shown.clone()
    }

    async fn ensure(&self) -> Result<(), Error> {
        self.make_group().await
    }

    async fn inspect(&self) -> Result<Vec<Finding>, Error> {
        self.findings().await
    }

    async fn ring(&self, jobs: &[JobId]) -> Result<(), Error> {
        let mut pipeline = Pipeline::new();
        for job in jobs {
            pipeline.cmd("XADD").arg(STREAM).arg("MAXLEN").arg("~").arg(STREAM_MAX).arg("*");
            pipeline.arg(FIELD).arg(job.to_string()).ignore();
        }
        self.ask_all(&pipeline).await
    }

    async fn receive(&self, wanted: usize) -> Result<Vec<Ring>, Error> {
        let mut entries = self.take_over(wanted).await?;
        if entries.is_empty() {
            entries = self.take(wanted).await?;
        }
        let mut rings = Vec::with_capacity(entries.len());
        for (receipt, body) in entries {
            match JobId::parse(&text(&body)) {
                Some(job) => rings.push(Ring { job: Some(job), receipt }),
                None => self.reject(&receipt, &body).await?,
            }
        }
        Ok(rings)
    }

    /// They are added again, since nobody could have them before they are overdue.
    async fn rest(&self, unheard: Vec<Ring>) -> Result<(), Error> {
        if unheard.is_empty() {
            return Ok(());
        }
        let mut pipeline = Pipeline::new();
        pipeline.atomic();
        for ring in &unheard {
            pipeline.cmd("XADD").arg(STREAM).arg("*").arg(FIELD);
            pipeline.arg(ring.job.map(|job| job.to_string()).unwrap_or_default()).ignore();
            done(&mut pipeline, &ring.receipt);
        }
        self.ask_all(&pipeline).await
    }

    async fn answered(&self, ring: Ring) -> Result<(), Error> {
        let mut pipeline = Pipeline::new();
        done(&mut pipeline, &ring.receipt);
        self.ask_all(&pipeline).await
    }

    async fn bury(&self, job: JobId, problem: &str) -> Result<(), Error> {
        let mut add = cmd("XADD");
        add.arg(DEAD).arg("MAXLEN").arg("~").arg(DEAD_MAX).arg("*");
        add.arg(FIELD).arg(job.to_string()).arg("problem").arg(problem);
        self.ask::<String>(&add).await.map(drop)
    }

    async fn sift(&self, sieve: &mut dyn Sieve) -> Result<(), Error> {
        self.sift_dead(sieve).await
    }

    async fn depth(&self) -> Result<Depth, Error> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("XLEN").arg(STREAM).cmd("XLEN").arg(DEAD);
        pipeline.cmd("XRANGE").arg(STREAM).arg("-").arg("+").arg("COUNT").arg(1).cmd("TIME");
        let (all, dead, oldest, now): (u64, u64, Entries, (u64, u64)) = self.ask_all(&pipeline).await?;
        let mut pending = cmd("XPENDING");
        pending.arg(STREAM).arg(GROUP);
        let answer = self.query::<Pending>(&self.commands, Asked::One(&pending), ANSWER_WITHIN).await;
        let in_flight = self.unless_lost(answer).await?.0.unwrap_or_default();
        let since = oldest.first().and_then(|(id, _)| id.split_once('-')?.0.parse().ok());
        let now = Duration::from_secs(now.0) + Duration::from_micros(now.1);
        let oldest = since.map(|since| now.saturating_sub(Duration::from_millis(since)));
        Ok(Depth { waiting: all.saturating_sub(in_flight), oldest, in_flight: Some(in_flight), dead })
    }

    async fn leave(&self) -> Result<(), Error> {
        let mut script = cmd("EVAL");
        script.arg(LEAVE).arg(1).arg(STREAM).arg(GROUP).arg(&self.consumer);
        self.ask(&script).await
    }
}

// === impl Lane ===

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lane")
    }
}

/// An entry is neither pending nor there any more.
fn done(pipeline: &mut Pipeline, id: &str) {
    pipeline.cmd("XACK").arg(STREAM).arg(GROUP).arg(id).ignore();
    pipeline.cmd("XDEL").arg(STREAM).arg(id).ignore();
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
