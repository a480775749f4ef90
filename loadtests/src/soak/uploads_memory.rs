//! Ten big files come in at once, faster than the store takes them: what is in memory of them is what the configuration
//! allows, however long they are and however many.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    Figures, Scenario, Stage, Value,
    stage::{Scale, whole},
};
use crate::{
    Error,
    gateway::{Gateway, Launch, TUS_PATH},
    load::{Drive, Film, Length, Progress, Target, Uploads, Workload, drive},
    seaweed::SeaweedFs,
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "uploads-memory",
    promise: "memory stays within its bound while ten uploads at once come in",
    run: |stage| Box::pin(run(stage)),
};

const MIB: u64 = 1 << 20;
const UPLOADS: usize = 10;
/// What reading would take: next to nothing, so that the bound is about uploads.
const CACHE_BYTES: u64 = 16 * MIB;
const SOCKET_BYTES: u64 = MIB;
const WEIGH_EVERY: Duration = Duration::from_millis(20);

async fn run(stage: &Stage) -> Result<Figures, Error> {
    // In the short form the memory is that of two parts for two uploads; ten take turns. The default has room for eight.
    let (upload_memory, bytes) = stage.pick((32 * MIB, 17 * MIB), (128 * MIB, 1024 * MIB));
    let seaweed = SeaweedFs::start().await?;
    let bucket = seaweed.new_bucket().await?;
    let settings = [
        ("SEEKWAY_UPLOAD_MEMORY_BYTES", upload_memory.to_string()),
        // What the memory has to suffice for: the longer the longest upload, the longer its parts.
        ("SEEKWAY_UPLOAD_BYTES_MAX", "2GiB".to_owned()),
        ("CACHE_MEMORY_BYTES", CACHE_BYTES.to_string()),
        ("MEMORY_BUDGET_BYTES", CACHE_BYTES.to_string()),
        ("SEEKWAY_SOCKET_MEMORY_BYTES", SOCKET_BYTES.to_string()),
        ("SEEKWAY_MAX_CONNECTIONS", (2 * UPLOADS).to_string()),
        ("SEEKWAY_S3_REQUESTS_MAX", "16".to_owned()),
    ];
    let launch = Launch::with_uploads(&stage.binary(), &seaweed, &bucket, &settings);
    let gateway = Gateway::start(&launch).await?;
    let mut scale = Scale::in_front_of(&gateway, seaweed.address())?;

    stage.begin("uploading", 1);
    let uploads = Uploads { at_once: UPLOADS, bytes, piece_bytes: u64::MAX };
    let length = Length { time: Duration::MAX, requests: UPLOADS as u64 };
    let plan = Drive { threads: 2, length, seed: 1, verify_every: 0, progress: Progress::default() };
    let films = vec![Film { path: TUS_PATH.to_owned(), size: 0, seed: None }];
    let address = gateway.address();
    let target = Arc::new(Target { address, host: address.to_string(), films });
    let mut found = {
        let weighing = async {
            loop {
                scale.weigh()?;
                sleep(WEIGH_EVERY).await;
            }
        };
        tokio::select! {
            found = drive(&target, Workload::Uploads(uploads), &plan) => found?,
            failed = weighing => return failed,
        }
    };
    stage.done();
    stage.begin("comparing", 1);
    bucket.check(&uploads, plan.seed, &mut found).await?;
    stage.done();

    let mut figures = Figures::default();
    figures.at_least("uploads", Value::Count(found.requests), Value::Count(UPLOADS as u64));
    figures.none("uploads with a wrong byte", found.wrong);
    if let Some(why) = found.first_failure {
        figures.none(format!("failed: {why}"), found.failed);
    }
    figures.note("of each", Value::Bytes(bytes));
    figures.note("it took", Value::from(Duration::from_secs_f64(found.seconds)));
    figures.note("memory for parts", Value::Bytes(upload_memory));
    let metrics = gateway.metrics().await?;
    let limit = whole(metrics.get("seekway_memory_limit_bytes").unwrap_or_default());
    // A cache's buffers and clients' sockets are bounded with the rest, and there were none of the one and few of the
    // other; each buffer counts for an eighth more.
    let buffers = 2 * CACHE_BYTES;
    let left = limit - (buffers + buffers / 8) - SOCKET_BYTES;
    figures.at_most("resident, without the cache's part", Value::Bytes(scale.peak().resident), Value::Bytes(left));
    scale.judge(&mut figures).await?;
    Ok(figures)
}
