//! What one client may have at once and in a second.
//!
//! A client is an IPv4 address, or an IPv6 network of 64 bits: that is what one customer is given (RFC 6177
//! §2, RFC 4291 §2.5.1), and within it addresses cost nothing.
//!
//! Rates are metered by GCRA (the generic cell rate algorithm, ITU-T I.371 annex A): one number for each, the
//! time up to which everything let through is paid for. No queue, no timer that refills.
//!
//! Clients are kept only while they matter, and never more than [`CLIENTS_MAX`]: beyond that, newcomers share
//! one allowance for each shard of the table. A flood of addresses makes it stricter, never larger.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// More would be a flood: four times the connections that are allowed by default. About 10 MiB.
pub const CLIENTS_MAX: usize = SHARDS * SHARD_CLIENTS_MAX;

const SHARDS: usize = 64;
const SHARD_CLIENTS_MAX: usize = 1024;
/// Below this a shard is not worth looking through for clients to forget.
const SHARD_CLIENTS_SWEPT: usize = 32;

/// What a paced body sends in one step, as a time: short enough to be smooth, long enough that a client costs
/// fifty timers in a second at most, however many streams it has.
const STEP: Duration = Duration::from_millis(20);
/// Steps are not smaller than a packet.
const STEP_BYTES_MIN: u64 = 1024;
/// Timers go off a little late. What was missed in this time is made up for.
const CATCH_UP: Duration = STEP;

/// The limits of each client; 0 is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub connections: u32,
    /// Requests in a second, in the long run.
    pub requests_per_second: u32,
    /// Requests at once after a pause; at least 1.
    pub requests_burst: u32,
    /// Bytes of bodies in a second, over all of its connections and streams.
    pub bytes_per_second: u64,
}

/// All clients that have something.
pub struct Clients {
    limits: Limits,
    /// When time began, for the meters.
    epoch: Instant,
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
}

/// What one client has.
#[derive(Debug, Default)]
pub struct Client {
    connections: AtomicU32,
    requests: Meter,
    bytes: Meter,
}

/// A client's connection, until dropped.
#[derive(Debug)]
pub struct Connection(Arc<Client>);

struct Shard {
    clients: HashMap<IpAddr, Arc<Client>>,
    /// As many as this are looked through before another one is added.
    sweep_at: usize,
    /// Whoever comes when there are too many.
    others: Arc<Client>,
}

/// The time up to which what was let through is paid for, in nanoseconds of the epoch.
#[derive(Debug, Default)]
struct Meter(AtomicU64);

// === impl Clients ===

impl Clients {
    /// Nothing, if nothing is limited: then no request pays for it.
    pub fn new(limits: Limits) -> Option<Arc<Self>> {
        let unlimited = Limits { requests_burst: limits.requests_burst, ..Limits::default() };
        (limits != unlimited).then(|| {
            let shard = || Mutex::new(Shard::default());
            let shards = std::iter::repeat_with(shard).take(SHARDS).collect();
            Arc::new(Self { limits, epoch: Instant::now(), hasher: RandomState::new(), shards })
        })
    }

    /// The client at `address`.
    pub fn client(&self, address: IpAddr) -> Arc<Client> {
        let key = network(address);
        let nth = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).expect("below 64");
        let mut shard = self.shards[nth].lock().unwrap_or_else(PoisonError::into_inner);
        shard.client(key, self.now())
    }

    /// How many clients are known.
    pub fn count(&self) -> usize {
        let lock = |shard: &Mutex<Shard>| shard.lock().map_or(0, |shard| shard.clients.len());
        self.shards.iter().map(lock).sum()
    }

    /// A connection from `address`; nothing if it has as many as it may have.
    pub fn connect(&self, address: IpAddr) -> Option<Connection> {
        let connection = Connection(self.client(address));
        let before = connection.0.connections.fetch_add(1, Ordering::Relaxed);
        // What is too much is dropped, and so counted back.
        (self.limits.connections == 0 || before < self.limits.connections).then_some(connection)
    }

    /// Counts a request of `client`, or says in how many seconds it may ask again.
    pub fn admit(&self, client: &Client) -> Result<(), u64> {
        let Limits { requests_per_second: rate, requests_burst: burst, .. } = self.limits;
        if rate == 0 {
            return Ok(());
        }
        let cost = 1_000_000_000 / u64::from(rate);
        let debt_max = cost * u64::from(burst.max(1) - 1);
        let admitted = client.requests.take_within(debt_max, cost, self.now());
        admitted.map_err(|wait| wait.div_ceil(1_000_000_000))
    }

    /// Whether bodies are paced.
    pub fn paces(&self) -> bool {
        self.limits.bytes_per_second != 0
    }

    /// At most so many bytes are sent in one step.
    pub(super) fn step_bytes(&self) -> usize {
        let steps_per_second = u64::try_from(1000 / STEP.as_millis()).expect("50");
        let bytes = (self.limits.bytes_per_second / steps_per_second).max(STEP_BYTES_MIN);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Takes its turn for `bytes`, which may be sent when the returned time has passed.
    pub(super) fn take_turn(&self, client: &Client, bytes: usize) -> Duration {
        let cost = u128::from(bytes as u64) * 1_000_000_000 / u128::from(self.limits.bytes_per_second.max(1));
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        let catch_up = u64::try_from(CATCH_UP.as_nanos()).expect("20 ms");
        Duration::from_nanos(client.bytes.take(cost, catch_up, self.now()))
    }

    fn now(&self) -> u64 {
        // Far enough from 0 that there is always something to catch up with.
        let now = self.epoch.elapsed() + Duration::from_secs(1);
        u64::try_from(now.as_nanos()).expect("584 years are enough")
    }
}

/// What counts as one client: the address, or an IPv6 address's first 64 bits.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

// === impl Shard ===

impl Default for Shard {
    fn default() -> Self {
        Self { clients: HashMap::new(), sweep_at: SHARD_CLIENTS_SWEPT, others: Arc::default() }
    }
}

impl Shard {
    fn client(&mut self, key: IpAddr, now: u64) -> Arc<Client> {
        if let Some(client) = self.clients.get(&key) {
            return client.clone();
        }
        if self.clients.len() >= self.sweep_at {
            self.clients.retain(|_, client| client.matters(now));
            // Half of them new before it is done again, so that each newcomer pays for a few looks only.
            self.sweep_at = (2 * self.clients.len()).clamp(SHARD_CLIENTS_SWEPT, SHARD_CLIENTS_MAX);
            if self.clients.len() >= SHARD_CLIENTS_MAX {
                return self.others.clone();
            }
        }
        self.clients.entry(key).or_default().clone()
    }
}

// === impl Client ===

impl Client {
    /// Whether forgetting it would give it something: somebody holds it, or a meter is not yet paid for.
    fn matters(self: &Arc<Self>, now: u64) -> bool {
        Arc::strong_count(self) > 1 || self.requests.is_owed(now) || self.bytes.is_owed(now)
    }
}

// === impl Connection ===

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Meter ===

impl Meter {
    /// Adds `cost` unless more than `debt_max` is owed; then says how long that takes to shrink to it.
    fn take_within(&self, debt_max: u64, cost: u64, now: u64) -> Result<(), u64> {
        let paid_until = |before: u64| {
            let owed = before.saturating_sub(now);
            (owed <= debt_max).then(|| now.saturating_add(owed).saturating_add(cost))
        };
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, paid_until);
        taken.map(drop).map_err(|before| before.saturating_sub(now).saturating_sub(debt_max))
    }

    /// Adds `cost` behind what is owed, and says when its turn is. A debt that was paid at most `catch_up` ago
    /// counts as paid just now.
    fn take(&self, cost: u64, catch_up: u64, now: u64) -> u64 {
        let paid_until = |before: u64| Some(before.max(now.saturating_sub(catch_up)).saturating_add(cost));
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, paid_until);
        before.expect("it is always taken").saturating_sub(now)
    }

    fn is_owed(&self, now: u64) -> bool {
        self.0.load(Ordering::Relaxed) > now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn without_limits_there_is_nothing_to_pay_for() {
        assert!(Clients::new(Limits::default()).is_none());
        assert!(Clients::new(Limits { requests_burst: 9, ..Limits::default() }).is_none());
        assert!(Clients::new(Limits { connections: 1, ..Limits::default() }).is_some());
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        for (one, other, same) in [
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
        ] {
            assert_eq!(network(address(one)) == network(address(other)), same, "{one} {other}");
        }
    }

    #[test]
    fn connections_are_counted_and_given_back() {
        let clients = Clients::new(Limits { connections: 2, ..Limits::default() }).expect("limited");
        let (here, there) = (address("192.0.2.1"), address("192.0.2.2"));
        let held: Vec<_> = (0..2).map(|_| clients.connect(here).expect("two are allowed")).collect();
        assert!(clients.connect(here).is_none() && clients.connect(here).is_none());
        assert!(clients.connect(there).is_some(), "another client");
        drop(held);
        assert!(clients.connect(here).is_some());
    }

    #[test]
    fn requests_come_in_bursts_and_then_at_their_rate() {
        let meter = Meter::default();
        // 10 in a second, 5 at once.
        let (cost, debt_max) = (SECOND / 10, 4 * SECOND / 10);
        let now = 100 * SECOND;
        for _ in 0..5 {
            assert_eq!(meter.take_within(debt_max, cost, now), Ok(()));
        }
        assert_eq!(meter.take_within(debt_max, cost, now), Err(cost));
        assert_eq!(meter.take_within(debt_max, cost, now + cost / 2), Err(cost / 2), "asking costs nothing");
        assert_eq!(meter.take_within(debt_max, cost, now + cost), Ok(()));
        assert!(meter.take_within(debt_max, cost, now + cost).is_err());
        let later = now + 60 * SECOND;
        assert!(!meter.is_owed(later));
        let passed = (0..100).filter(|_| meter.take_within(debt_max, cost, later).is_ok()).count();
        assert_eq!(passed, 5, "no more than a burst is saved up");
    }

    #[test]
    fn turns_follow_each_other_without_gaps() {
        let meter = Meter::default();
        let now = 100 * SECOND;
        assert_eq!(meter.take(20, 10, now), 0);
        assert_eq!(meter.take(20, 10, now), 10, "10 were caught up with");
        assert_eq!(meter.take(20, 10, now + 40), 0, "a little late");
        assert_eq!(meter.take(20, 10, now + 40), 10, "and so the next turn is early");
    }

    #[test]
    fn a_flood_of_addresses_is_bounded_and_forgotten() {
        let clients = Clients::new(Limits { bytes_per_second: 1, ..Limits::default() }).expect("limited");
        let holder = clients.client(address("192.0.2.1"));
        for nth in 0..130_000_u32 {
            let client = clients.client(IpAddr::from((0x0a00_0000 + nth).to_be_bytes()));
            // Each one owes an hour, so none can be forgotten yet.
            clients.take_turn(&client, 3600);
        }
        assert_eq!(clients.count(), CLIENTS_MAX);
        let newcomers =
            (0..1000_u32).map(|nth| clients.client(IpAddr::from((0x0b00_0000 + nth).to_be_bytes())));
        assert!(
            newcomers.into_iter().all(|client| client.bytes.is_owed(clients.now())),
            "they share what is owed"
        );
        assert!(Arc::ptr_eq(&holder, &clients.client(address("192.0.2.1"))), "who was there keeps its place");
        for shard in &clients.shards {
            let mut shard = shard.lock().expect("no panic");
            shard.client(address("203.0.113.1"), u64::MAX);
            assert!(shard.clients.len() <= 2, "{} are left", shard.clients.len());
        }
    }
}
