//! What every scenario stands on: the gateway's binary, a length, and a line that shows how far it is.

use std::{net::SocketAddr, path::PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{Figures, Value};
pub(super) use crate::load::crowd::raise_descriptor_limit;
use crate::{
    Error,
    footprint::Footprint,
    gateway::{Gateway, Launch},
    origin::Origin,
};

/// The bucket of every scenario.
pub(super) const BUCKET: &str = "media";

/// How much of a scenario is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// Seconds, for tests.
    Short,
    /// Up to minutes, for `make soak`.
    Long,
}

/// Where a scenario is run.
#[derive(Debug)]
pub struct Stage {
    binary: PathBuf,
    length: Length,
    progress: ProgressBar,
}

// === impl Stage ===

impl Stage {
    pub(super) fn new(name: &'static str, binary: PathBuf, length: Length) -> Self {
        let template = "{prefix}: {msg} [{bar:40}] {pos}/{len} {elapsed}";
        let style =
            ProgressStyle::with_template(template).expect("the template is valid").progress_chars("=> ");
        // It hides itself when standard error is no terminal.
        let progress = ProgressBar::new(0).with_style(style).with_prefix(name);
        Self { binary, length, progress }
    }

    /// What this length has of something.
    pub fn pick<T>(&self, short: T, long: T) -> T {
        match self.length {
            Length::Short => short,
            Length::Long => long,
        }
    }

    /// Begins a step of the scenario, in which `count` things will be [`done`](Self::done).
    pub fn begin(&self, doing: &'static str, count: usize) {
        self.progress.reset();
        self.progress.set_length(count as u64);
        self.progress.set_message(doing);
    }

    /// One thing is done.
    pub fn done(&self) {
        self.progress.inc(1);
    }

    /// The gateway's memory for `clients` at once: its defaults, or an eighth of them in the short form.
    pub fn memory_for(&self, clients: usize) -> Vec<(&'static str, String)> {
        let mebibytes = |short: u64, long: u64| format!("{}MiB", self.pick(short, long));
        vec![
            ("CACHE_MEMORY_BYTES", mebibytes(64, 512)),
            ("MEMORY_BUDGET_BYTES", mebibytes(32, 256)),
            ("SEEKWAY_SOCKET_MEMORY_BYTES", mebibytes(32, 256)),
            // The bound is a sum over connections, so one too many would make it loose.
            ("SEEKWAY_MAX_CONNECTIONS", clients.to_string()),
        ]
    }

    /// Starts the gateway in front of `origin`, with more settings as environment variables.
    pub async fn gateway(&self, origin: &Origin, settings: &[(&str, String)]) -> Result<Gateway, Error> {
        Gateway::start(&self.launch(origin, settings)).await
    }

    /// What [`gateway`](Self::gateway) starts.
    pub fn launch(&self, origin: &Origin, settings: &[(&str, String)]) -> Launch {
        Launch {
            binary: self.binary(),
            endpoint: origin.endpoint(),
            bucket: BUCKET.to_owned(),
            environment: settings.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        }
    }

    /// The gateway's binary.
    pub fn binary(&self) -> PathBuf {
        self.binary.clone()
    }

    pub(super) fn clear(&self) {
        self.progress.finish_and_clear();
    }
}

/// Watches what a gateway weighs, and keeps the most that was seen.
#[derive(Debug)]
pub(super) struct Scale<'a> {
    gateway: &'a Gateway,
    /// Where it serves.
    ports: Vec<u16>,
    /// Where its store does.
    store_port: u16,
    before: Footprint,
    peak: Footprint,
    heaviest: u64,
}

impl<'a> Scale<'a> {
    /// Weighs a gateway that has nothing to do yet.
    pub(super) fn new(gateway: &'a Gateway, origin: &Origin) -> Result<Self, Error> {
        Self::in_front_of(gateway, origin.address())
    }

    /// The same in front of any store, by its address.
    pub(super) fn in_front_of(gateway: &'a Gateway, store: SocketAddr) -> Result<Self, Error> {
        let ports = vec![gateway.address().port(), gateway.admin_address().port()];
        let store_port = store.port();
        let before = Footprint::of(gateway.pid(), &ports, &[store_port])?;
        Ok(Self { gateway, ports, store_port, before, peak: before, heaviest: before.total() })
    }

    /// Counts the sockets of this port, too.
    pub(super) fn and_at(mut self, port: u16) -> Self {
        self.ports.push(port);
        self
    }

    /// Weighs it again.
    pub(super) fn weigh(&mut self) -> Result<Footprint, Error> {
        let now = Footprint::of(self.gateway.pid(), &self.ports, &[self.store_port])?;
        self.peak = self.peak.peak(now);
        self.heaviest = self.heaviest.max(now.total());
        Ok(now)
    }

    /// How much more it weighs at its peak than before.
    pub(super) fn grown(&self) -> Footprint {
        let Footprint { resident, sockets, socket_count, machine_tcp } = self.before;
        Footprint {
            resident: self.peak.resident - resident,
            sockets: self.peak.sockets - sockets,
            socket_count: self.peak.socket_count - socket_count,
            machine_tcp: self.peak.machine_tcp - machine_tcp,
        }
    }

    /// The promise: resident memory and kernel memory of the sockets stay below what the gateway says of itself.
    pub(super) async fn judge(&self, figures: &mut Figures) -> Result<(), Error> {
        let metrics = self.gateway.metrics().await?;
        let bytes = |name| metrics.get(name).map(|bytes| Value::Bytes(whole(bytes)));
        let Some(limit) = bytes("seekway_memory_limit_bytes") else {
            let answer = "no seekway_memory_limit_bytes".to_owned();
            return Err(Error::UnexpectedAnswer { request: "GET /metrics".to_owned(), answer });
        };
        figures.note("resident before", Value::Bytes(self.before.resident));
        figures.note("resident", Value::Bytes(self.peak.resident));
        if let Some(in_use) = bytes("seekway_budget_in_use_bytes") {
            figures.note("  of it, buffers at the end", in_use);
        }
        figures.note("kernel memory of its sockets", Value::Bytes(self.peak.sockets));
        figures.note("  of how many sockets", Value::Count(self.peak.socket_count));
        figures.note("  beside it, sockstat of the whole machine", Value::Bytes(self.grown().machine_tcp));
        figures.at_most("resident and sockets together", Value::Bytes(self.heaviest), limit);
        Ok(())
    }
}

/// A metric that counts whole things.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it was written as a whole number"
)]
pub(super) fn whole(metric: f64) -> u64 {
    metric as u64
}
