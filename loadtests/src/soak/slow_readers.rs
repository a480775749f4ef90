//! Clients that read, but slowly: a phone at the edge of its network. Each byte is checked.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tokio::io::AsyncReadExt as _;

use super::{
    Figures, Scenario, Stage, Value,
    crowd::{self, Visitor, answered},
    films::Films,
    stage::{Scale, raise_descriptor_limit},
};
use crate::{Error, origin::Shape};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "slow-readers",
    promise: "memory stays within its bound, and every byte is right, while clients read some KiB a second",
    run: |stage| Box::pin(run(stage)),
};

const RANGE_BYTES: u64 = 8 << 20;
const PIECE_BYTES: usize = 4096;
const PAUSE: Duration = Duration::from_millis(500);
/// The gateway is weighed as often.
const WEIGHED_EVERY: Duration = Duration::from_secs(1);

async fn run(stage: &Stage) -> Result<Figures, Error> {
    let (clients, duration) = stage.pick((100, Duration::from_secs(2)), (1_000, Duration::from_secs(20)));
    raise_descriptor_limit();
    let films = Films::start(Shape::default(), clients, RANGE_BYTES)?;
    let gateway = stage.gateway(films.origin(), &stage.memory_for(clients)).await?;
    let mut scale = Scale::new(&gateway, films.origin())?;

    stage.begin("arriving", clients);
    let visitors =
        crowd::gather(|| stage.done(), gateway.address(), clients, |nth| films.request(nth)).await?;
    let served = answered(&visitors, 206);

    stage.begin("reading", 0);
    let until = Instant::now() + duration;
    let readers = visitors.into_iter().enumerate().filter(|(_, visitor)| visitor.status == 206);
    let reading = try_join_all(readers.map(|(nth, visitor)| read_slowly(&films, nth, visitor, until)));
    let weighing = async {
        while Instant::now() < until {
            scale.weigh()?;
            tokio::time::sleep(WEIGHED_EVERY).await;
        }
        Ok(())
    };
    let (read, ()) = futures_util::future::try_join(reading, weighing).await?;

    let mut figures = Figures::default();
    figures.note("clients", Value::Count(clients as u64));
    figures.at_least("answered with 206", Value::Count(served), Value::Count(clients as u64));
    figures.note("read by all", Value::Bytes(read.iter().map(|read| read.bytes).sum()));
    figures.none("clients with a wrong byte", read.iter().filter(|read| !read.is_right).count() as u64);
    figures.none("clients whose connection ended", read.iter().filter(|read| read.has_ended).count() as u64);
    scale.judge(&mut figures).await?;
    Ok(figures)
}

/// What one client got.
struct Read {
    bytes: u64,
    is_right: bool,
    has_ended: bool,
}

async fn read_slowly(films: &Films, nth: usize, mut visitor: Visitor, until: Instant) -> Result<Read, Error> {
    let mut read = Read { bytes: 0, is_right: true, has_ended: false };
    let mut piece = std::mem::take(&mut visitor.body);
    while Instant::now() < until {
        read.is_right &= films.are_right(nth, read.bytes, &piece);
        read.bytes += piece.len() as u64;
        tokio::time::sleep(PAUSE).await;
        piece.resize(PIECE_BYTES, 0);
        let len = visitor.stream.read(&mut piece).await.unwrap_or_default();
        piece.truncate(len);
        if len == 0 {
            read.has_ended = true;
            break;
        }
    }
    Ok(read)
}
