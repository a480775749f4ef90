//! Which faults there are, and in which order a seed deals them.

use std::fmt;
use std::time::Duration;

use seekway_loadtests::way::Traffic;

use crate::fleet::Moment;
use crate::servers::{Backend, Place};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL for a worker that is just at that.
    WorkerKilled(Moment),
    /// SIGKILL for a worker, whatever it does.
    SomeWorkerKilled,
    /// SIGSTOP for a worker for longer than its lease.
    WorkerFrozen,
    /// Somebody fills a worker's disk while it works.
    DiskFull,
    GatewayKilled,
    GatewayFrozen,
    DatabaseKilled,
    DatabasePaused,
    BrokerKilled,
    BrokerPaused,
    /// The broker loses all that it has.
    BrokerEmptied,
    /// Somebody deletes the queue.
    QueueDeleted,
    /// All ways to a server, or those of one process.
    Network(Place, Trouble, Whose),
    /// The store says that it cannot.
    StoreRefuses,
    RungTwice,
    /// Rings are heard by somebody who does nothing about them.
    RingsLost,
    /// The same, but they ring again later.
    RingsLate,
    /// Something in the queue that is no ring.
    Garbage,
}

/// What is wrong with a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    Cut,
    Silent,
    Slow,
}

/// Whose ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    Everybodys,
    OneProcesss,
}

/// Faults in an order that the seed says, each at least once, and then again in another order.
pub(crate) struct Deck {
    all: Vec<Fault>,
    left: Vec<Fault>,
    random: fastrand::Rng,
    /// How often all of them were dealt.
    pub(crate) rounds: usize,
}

// === impl Fault ===

impl Fault {
    /// Those of processes of ours.
    pub(crate) fn of_processes() -> Vec<Self> {
        let killed = Moment::BUSY.into_iter().map(Self::WorkerKilled);
        let others = [
            Self::SomeWorkerKilled,
            Self::WorkerFrozen,
            Self::DiskFull,
            Self::GatewayKilled,
            Self::GatewayFrozen,
        ];
        killed.chain(others).collect()
    }

    /// Those of what they need.
    pub(crate) fn of_servers(backend: Backend) -> Vec<Self> {
        let mut all = vec![Self::StoreRefuses];
        let mut places = vec![Place::Store];
        if backend != Backend::Sqlite {
            all.extend([Self::DatabaseKilled, Self::DatabasePaused]);
            places.push(Place::Database);
        }
        if backend.has_broker() {
            all.extend([Self::BrokerKilled, Self::BrokerPaused, Self::BrokerEmptied]);
            all.extend([Self::RungTwice, Self::RingsLost, Self::RingsLate, Self::Garbage]);
            places.push(Place::Broker);
        }
        if matches!(backend, Backend::Redis | Backend::RabbitMq) {
            all.push(Self::QueueDeleted);
        }
        for place in places {
            for whose in [Whose::Everybodys, Whose::OneProcesss] {
                let troubles = [Trouble::Cut, Trouble::Silent, Trouble::Slow];
                all.extend(troubles.map(|trouble| Self::Network(place, trouble, whose)));
            }
        }
        all
    }

    fn is_of_broker(self) -> bool {
        match self {
            Self::Network(place, ..) => place == Place::Broker,
            Self::BrokerKilled
            | Self::BrokerPaused
            | Self::BrokerEmptied
            | Self::QueueDeleted
            | Self::RungTwice
            | Self::RingsLost
            | Self::RingsLate
            | Self::Garbage => true,
            _ => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WorkerKilled(moment) => write!(f, "a worker is killed while {moment:?}"),
            Self::SomeWorkerKilled => f.write_str("a worker is killed"),
            Self::WorkerFrozen => f.write_str("a worker is frozen for longer than its lease"),
            Self::DiskFull => f.write_str("a worker's disk is full"),
            Self::GatewayKilled => f.write_str("a gateway is killed"),
            Self::GatewayFrozen => f.write_str("a gateway is frozen"),
            Self::DatabaseKilled => f.write_str("the database is killed and started again"),
            Self::DatabasePaused => f.write_str("the database does not answer"),
            Self::BrokerKilled => f.write_str("the broker is killed and started again"),
            Self::BrokerPaused => f.write_str("the broker does not answer"),
            Self::BrokerEmptied => f.write_str("the broker loses all it has"),
            Self::QueueDeleted => f.write_str("the queue is deleted"),
            Self::Network(place, trouble, whose) => {
                let whose = if *whose == Whose::Everybodys { "all ways" } else { "one process's way" };
                let to = format!("{place:?}").to_lowercase();
                write!(f, "{whose} to the {to}: {}", format!("{trouble:?}").to_lowercase())
            }
            Self::StoreRefuses => f.write_str("the store says 503"),
            Self::RungTwice => f.write_str("doorbells ring twice, and for nothing"),
            Self::RingsLost => f.write_str("doorbells are lost"),
            Self::RingsLate => f.write_str("doorbells ring late"),
            Self::Garbage => f.write_str("garbage in the queue"),
        }
    }
}

impl Trouble {
    pub(crate) fn traffic(self) -> Traffic {
        match self {
            Self::Cut => Traffic::Cut,
            Self::Silent => Traffic::Silent,
            Self::Slow => Traffic::Slow(Duration::from_millis(60)),
        }
    }
}

// === impl Deck ===

impl Deck {
    /// `most` of them, which the seed chooses, half of them of the broker where there are some; `None` is all.
    pub(crate) fn new(mut all: Vec<Fault>, most: Option<usize>, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        random.shuffle(&mut all);
        if let Some(most) = most {
            let (mut of_broker, others): (Vec<_>, _) =
                all.into_iter().partition(|fault| fault.is_of_broker());
            of_broker.truncate(most / 2);
            all = of_broker.into_iter().chain(others).take(most).collect();
            random.shuffle(&mut all);
        }
        Self { left: all.clone(), all, random, rounds: 0 }
    }

    pub(crate) fn next(&mut self) -> Fault {
        if self.left.is_empty() {
            self.left.clone_from(&self.all);
            self.random.shuffle(&mut self.left);
        }
        let next = self.left.pop().expect("there are some");
        self.rounds += usize::from(self.left.is_empty());
        next
    }
}
