//! Ten big files come in at once, faster than the store takes them: what is in memory of them is what the configuration
//! allows for uploads, however long they are and however many.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{Figures, Scenario, Stage, Value, stage::Scale};
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
/// One for each upload, and some that nobody takes.
const CONNECTIONS: u64 = 2 * UPLOADS as u64;
const S3_REQUESTS: u64 = 16;
/// What each of these takes at most, as docs/configuration.md has it: "How much memory it takes".
const CONNECTION_BYTES: u64 = (272 + 16) << 10;
const S3_CONNECTION_BYTES: u64 = 448 << 10;
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
        // Nobody reads.
        ("CACHE_MEMORY_BYTES", "16MiB".to_owned()),
        ("MEMORY_BUDGET_BYTES", "16MiB".to_owned()),
        ("SEEKWAY_SOCKET_MEMORY_BYTES", "1MiB".to_owned()),
        ("SEEKWAY_MAX_CONNECTIONS", CONNECTIONS.to_string()),
        ("SEEKWAY_S3_REQUESTS_MAX", S3_REQUESTS.to_string()),
    ];
    let launch = Launch::with_uploads(&stage.binary(), &seaweed, &bucket, &settings);
    let gateway = Gateway::start(&launch).await?;
    let films = vec![Film { path: TUS_PATH.to_owned(), size: 0, seed: None }];
    let address = gateway.address();
    let target = Arc::new(Target { address, host: address.to_string(), films });
    let uploads = Uploads { at_once: UPLOADS, bytes, piece_bytes: u64::MAX };
    let plan = |requests: u64, seed: u64| {
        let length = Length { time: Duration::MAX, requests };
        Drive { threads: 2, length, seed, verify_every: 0, progress: Progress::default() }
    };
    // A short one before, so that what is weighed is memory of uploads, and not the code that takes them.
    let first = Workload::Uploads(Uploads { at_once: 1, bytes: MIB, ..uploads });
    drive(&target, first, &plan(1, 0)).await?;
    let mut scale = Scale::in_front_of(&gateway, seaweed.address())?;

    stage.begin("uploading", 1);
    let plan = plan(UPLOADS as u64, 1);
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
    found.put_checked(bucket.check(&uploads, plan.seed).await?);
    stage.done();

    let mut figures = Figures::default();
    figures.at_least("uploads", Value::Count(found.requests), Value::Count(UPLOADS as u64));
    figures.none("uploads with a wrong byte", found.wrong);
    let why = found.first_failure.map(|why| format!(": {why}")).unwrap_or_default();
    figures.none(format!("uploads that failed{why}"), found.failed);
    figures.note("of each", Value::Bytes(bytes));
    figures.note("it took", Value::from(Duration::from_secs_f64(found.seconds)));
    figures.note("memory for parts", Value::Bytes(upload_memory));
    let connections = S3_REQUESTS * S3_CONNECTION_BYTES + CONNECTIONS * CONNECTION_BYTES;
    // An eighth is what the sum there has for the allocator.
    let allowed = upload_memory + upload_memory / 8 + connections;
    let grown = scale.grown().resident;
    figures.at_most("resident beyond that before", Value::Bytes(grown), Value::Bytes(allowed));
    scale.judge(&mut figures).await?;
    Ok(figures)
}
