//! What a round measures on a peer besides the scenario's workload, and what it makes of both.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::{
    report::{CrowdRound, Round},
    rounds::{Turn, Weigh, driven},
};
use crate::{
    Error,
    load::{Crowd, RateSearch, Workload},
    peers::Peer,
};

/// Between two looks at whether a server has anything left to do.
const IDLE_EVERY: Duration = Duration::from_millis(250);
/// A server that takes less of one processor than this is idle.
const IDLE_SHARE: f64 = 0.05;
/// No crowd takes longer to settle; what is measured then is measured beside its arrival.
const IDLE_WITHIN: Duration = Duration::from_secs(30);

/// What else a round has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Also {
    /// Nothing.
    #[default]
    Nothing,
    /// Another workload, right after the first on the same server.
    Beside(Workload),
    /// The workload beside each of these many clients of a crowd, in this order. Its figures are those beside the
    /// last; ratios compare them with those beside the first.
    Crowds(Crowd, Vec<usize>),
    /// A search for the rate of viewers that the server has room for. The round's measurement is the share of it that
    /// is held at the end.
    Rate(RateSearch),
}

// === impl Also ===

impl Also {
    /// A round of `turn`.
    pub(super) async fn round(&self, turn: &Turn<'_>) -> Result<Round, Error> {
        match self {
            Self::Nothing => {
                let mut round = turn.alone().await?;
                if let Workload::Uploads(_) = turn.workload {
                    round.figures.put_uploads(&round.measurement);
                }
                Ok(round)
            }
            Self::Beside(other) => {
                let mut round = turn.alone().await?;
                let beside = driven(turn.peer, *other, turn.drive).await?;
                round.figures.put_beside(&round.measurement, &beside, turn.origin.shape().first_byte_latency);
                round.beside = Some(beside);
                Ok(round)
            }
            Self::Crowds(crowd, sizes) => turn.beside_crowds(*crowd, sizes).await,
            Self::Rate(search) => turn.search(search).await,
        }
    }
}

// === impl Turn ===

impl Turn<'_> {
    async fn beside_crowds(&self, crowd: Crowd, sizes: &[usize]) -> Result<Round, Error> {
        let mut crowds = Vec::new();
        let mut last = None;
        for clients in sizes.iter().copied() {
            let target = Arc::new(self.peer.target().clone());
            let gathered = Crowd { clients, ..crowd }.gather(&target, || {}).await?;
            sleep(crowd.settled).await;
            let idle = until_idle(self.peer).await?;
            let weight = self.peer.weigh()?;
            let mut round = self.watched(Weigh::Never, self.driven()).await?;
            let weight = weight.peak(self.peer.weigh()?);
            (round.memory_bytes, round.socket_bytes) = (weight.memory_bytes, weight.socket_bytes);
            crowds.push(CrowdRound {
                clients: clients as u64,
                served: gathered.served,
                refused: gathered.refused,
                idle,
                memory_bytes: weight.memory_bytes,
                socket_bytes: weight.socket_bytes,
                measurement: round.measurement.clone(),
            });
            last = Some(round);
            drop(gathered);
            until_idle(self.peer).await?;
        }
        let mut round = last.expect("there is a crowd");
        round.figures.put_crowds(&crowds, self.peer.memory_limit_bytes().await?);
        round.crowds = crowds;
        Ok(round)
    }

    async fn search(&self, search: &RateSearch) -> Result<Round, Error> {
        let Workload::Players(players) = self.workload else {
            unreachable!("a rate is one of viewers: {:?}", self.workload)
        };
        let mut found = None;
        let searching = async {
            let target = Arc::new(self.peer.target().clone());
            let searched = search.run(&target, players, self.drive).await?;
            let held = searched.held.measured.clone();
            found = Some(searched);
            Ok(held)
        };
        let mut round = self.watched(Weigh::Meanwhile, searching).await?;
        // What was used and sent in all steps says nothing of the last.
        round.server_cpu_seconds = None;
        if let Some(found) = &found {
            round.figures.put_search(found);
        }
        round.rate = found;
        Ok(round)
    }
}

/// Waits until the server has nothing to do, and says whether that came to be.
async fn until_idle(peer: &Peer) -> Result<bool, Error> {
    let began = Instant::now();
    while began.elapsed() < IDLE_WITHIN {
        let Some(before) = peer.cpu_seconds()? else { return Ok(true) };
        sleep(IDLE_EVERY).await;
        let used = peer.cpu_seconds()?.unwrap_or(before) - before;
        if used < IDLE_SHARE * IDLE_EVERY.as_secs_f64() {
            return Ok(true);
        }
    }
    Ok(false)
}
