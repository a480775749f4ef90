//! Downloads that are cut again and again, and go on where they were with `If-Range`: a train, a lift, a network
//! that changes. What comes out must be the object.

use futures_util::future::try_join_all;
use http::{Method, header};
use tokio::io::AsyncReadExt as _;

use super::{
    Figures, Scenario, Stage, Value, crowd,
    films::Films,
    stage::{Scale, raise_descriptor_limit},
};
use crate::{Error, client::Client, gateway::Gateway, origin::Shape, pattern};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "cut-and-resume",
    promise: "a download that is cut anywhere goes on with If-Range, and every byte of it is right",
    run: |stage| Box::pin(run(stage)),
};

const RANGE_BYTES: u64 = 1 << 20;
/// The most that is read before a cut.
const LEG_BYTES_MAX: u64 = 200_000;

async fn run(stage: &Stage) -> Result<Figures, Error> {
    let clients: usize = stage.pick(16, 400);
    raise_descriptor_limit();
    let films = Films::start(Shape::default(), clients, RANGE_BYTES)?;
    let gateway = stage.gateway(films.origin(), &stage.memory_for(2 * clients)).await?;
    let mut scale = Scale::new(&gateway, films.origin())?;

    stage.begin("resuming", clients);
    let downloads = try_join_all((0..clients).map(|nth| download(stage, &gateway, &films, nth))).await?;
    scale.weigh()?;

    let mut figures = Figures::default();
    figures.note("downloads", Value::Count(clients as u64));
    figures.note("cuts", Value::Count(downloads.iter().map(|download| download.cuts).sum()));
    figures.none("legs that were not resumed", downloads.iter().map(|download| download.refused).sum());
    figures.none(
        "downloads with a wrong byte",
        downloads.iter().filter(|download| !download.is_right).count() as u64,
    );
    scale.judge(&mut figures).await?;
    Ok(figures)
}

/// What came of one.
struct Download {
    cuts: u64,
    refused: u64,
    is_right: bool,
}

async fn download(stage: &Stage, gateway: &Gateway, films: &Films, nth: usize) -> Result<Download, Error> {
    let (path, range) = (Films::path(nth), films.range(nth));
    let mut client = Client::connect(gateway.address()).await?;
    let (answer, _) = client.request(Method::HEAD, &path, &[], "").await?;
    let tag = answer.header(header::ETAG).to_owned();
    drop(client);
    let mut download = Download { cuts: 0, refused: 0, is_right: true };
    let mut offset = 0;
    while offset < RANGE_BYTES {
        let first = range.start + offset;
        let headers = format!("range: bytes={first}-{}\r\nif-range: {tag}\r\n", range.end - 1);
        let stream = crowd::connect(gateway.address(), nth).await?;
        let mut visitor = crowd::ask(stream, &crowd::get(&path, &headers)).await?;
        if visitor.status != 206 {
            download.refused += 1;
            break;
        }
        let leg = 1 + pattern::draw(nth as u64, offset, LEG_BYTES_MAX);
        let mut bytes = std::mem::take(&mut visitor.body);
        while (bytes.len() as u64) < leg.min(RANGE_BYTES - offset) {
            if visitor.stream.read_buf(&mut bytes).await? == 0 {
                break;
            }
        }
        download.is_right &= !bytes.is_empty() && films.are_right(nth, offset, &bytes);
        offset += bytes.len() as u64;
        download.cuts += u64::from(offset < RANGE_BYTES);
        if bytes.is_empty() {
            break;
        }
    }
    stage.done();
    Ok(download)
}
