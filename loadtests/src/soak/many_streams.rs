//! `h2load`: a hundred streams on each of ten connections, for as long as a minute.

use super::{Figures, Scenario, Stage, Value, stage::BUCKET};
use crate::{
    Error, h2load,
    origin::{Origin, Shape},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "many-streams",
    promise: "100 HTTP/2 streams on 10 connections are served without one error",
    run: |stage| Box::pin(run(stage)),
};

async fn run(stage: &Stage) -> Result<Figures, Error> {
    let origin = Origin::start(Shape::default())?;
    origin.put_pattern(BUCKET, "film.mp4", 64 << 20, 1);
    let gateway = stage.gateway(&origin, &[]).await?;
    let url = format!("http://{}/media/film.mp4", gateway.address());
    let [how, much] = stage.pick(["-n", "2000"], ["-D", "60"]);
    stage.begin("loading", 1);
    // It fails when a single request does.
    let range = "range: bytes=1048576-1114111";
    let loaded = h2load::run(&["-c", "10", "-m", "100", "-H", range, how, much, &url]).await?;
    stage.done();

    let mut figures = Figures::default();
    figures.at_least("requests answered with 2xx", Value::Count(loaded.requests), Value::Count(2000));
    figures.note("requests a second", Value::Ratio(loaded.requests_per_second));
    figures.note("it took", Value::from(loaded.elapsed));
    Ok(figures)
}
