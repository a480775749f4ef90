//! What every scenario stands on: the gateway's binary, a length, and a line that shows how far it is.

use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

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

    /// Starts the gateway in front of `origin`, with more settings as environment variables.
    pub async fn gateway(&self, origin: &Origin, settings: &[(&str, &str)]) -> Result<Gateway, Error> {
        let environment = settings.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let launch = Launch {
            binary: self.binary.clone(),
            endpoint: origin.endpoint(),
            bucket: BUCKET.to_owned(),
            environment,
        };
        Gateway::start(&launch).await
    }

    pub(super) fn clear(&self) {
        self.progress.finish_and_clear();
    }
}

/// What `gateway` weighs, its connections to `origin` included.
pub(super) async fn weigh(gateway: &Gateway, origin: &Origin) -> Result<Footprint, Error> {
    let serving = [gateway.address().port(), gateway.admin_address().port()];
    Footprint::of(gateway.pid(), &serving, &[origin.address().port()]).await
}

/// Lets this process have as many sockets as the system allows it, and says how many that are.
pub(super) fn raise_descriptor_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Refused only where the hard limit is below the soft one, and then the caller learns the soft one.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
