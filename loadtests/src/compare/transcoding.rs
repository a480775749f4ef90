//! The worker beside ffmpeg alone: what claiming, fetching, watching and packaging cost, what one decode for all renditions
//! saves, and how long an uploader waits.
//!
//! In each round a film is uploaded to a gateway with its own worker in front of SeaweedFS, twice: by the default profile
//! and by the ladder. Then ffmpeg runs alone with the arguments of the receipt; and once for each rendition of the ladder,
//! with the arguments that `transcode-worker plan` prints for it. What is compared is wall time within a round.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use http::{Method, StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio::{process::Command, time::sleep};

use super::{
    figures::median,
    report::{Bound, Goal},
};
use crate::{
    Error,
    child::{self, find_binary},
    client::Client,
    gateway::{Gateway, Launch},
    seaweed::SeaweedFs,
};

/// What it is called beside the scenarios.
pub const NAME: &str = "transcoding";
const LADDER: [&str; 3] = ["720p", "480p", "360p"];
/// No job of a film takes longer on any machine that is of use.
const READY_WITHIN: Duration = Duration::from_mins(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transcoding {
    /// Seconds that the film plays.
    pub film_seconds: u32,
    /// One after the other.
    pub rounds: Vec<TranscodingRound>,
    /// What it is judged by.
    pub goals: Vec<Goal>,
}

/// One round, in seconds of wall time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TranscodingRound {
    /// From the answer to an upload until its playlist is served.
    pub playable: f64,
    /// What the worker's encode took.
    pub encode: f64,
    /// What ffmpeg takes alone with the same arguments.
    pub bare: f64,
    /// What the worker's encode of three renditions took.
    pub ladder: f64,
    /// What ffmpeg takes alone for each of the three, without the sound, in all.
    pub each: f64,
}

/// Measures; the worker's binary is beside the gateway's.
///
/// # Errors
/// When something does not start, or a job fails.
pub async fn run(
    gateway: &Path,
    film_seconds: u32,
    rounds: usize,
    mut step: impl FnMut(usize),
) -> Result<Transcoding, Error> {
    let worker = gateway.with_file_name("transcode-worker");
    if !worker.is_file() {
        return Err(Error::MissingBinary {
            name: "transcode-worker",
            looked_at: worker.display().to_string(),
        });
    }
    let folder = child::folder(NAME)?;
    let film = folder.path().join("in/source");
    std::fs::create_dir(folder.path().join("in"))?;
    std::fs::create_dir(folder.path().join("encoded"))?;
    make(&film, film_seconds).await?;
    let seaweed = SeaweedFs::start_in_memory().await?;
    let bucket = seaweed.new_bucket().await?;
    // As somebody has it who starts it and uploads from the same machine.
    let settings =
        [("SEEKWAY_TRANSCODING", "embedded"), ("SEEKWAY_UPLOADS", "auto"), ("SEEKWAY_ACCOUNTS", "auto")];
    let settings = settings.map(|(name, value)| (name, value.to_owned()));
    let gateway = Gateway::start(&Launch::with_uploads(gateway, &seaweed, &bucket, &settings)).await?;
    let bench = Bench { gateway, worker, folder: folder.path().to_owned(), film };
    let mut found = Vec::new();
    let mut args: Option<Vec<String>> = None;
    for round in 0..rounds {
        step(round);
        let (measured, used) = bench.round(args.as_deref()).await?;
        found.push(measured);
        args = Some(used);
    }
    Ok(Transcoding { film_seconds, goals: goals(&found), rounds: found })
}

struct Bench {
    gateway: Gateway,
    worker: PathBuf,
    folder: PathBuf,
    film: PathBuf,
}

/// What a job left.
struct Published {
    playable: f64,
    encode: f64,
    args: Vec<String>,
}

// === impl Bench ===

impl Bench {
    /// Who is first meets the caches as they are: from the second round on that is ffmpeg alone, with the arguments of the
    /// round before.
    async fn round(&self, before: Option<&[String]>) -> Result<(TranscodingRound, Vec<String>), Error> {
        let early = match before {
            Some(args) => Some(timed(self.ffmpeg().args(args)).await?),
            None => None,
        };
        let published = self.publish("default").await?;
        let bare = match early {
            Some(bare) => bare,
            None => timed(self.ffmpeg().args(&published.args)).await?,
        };
        let ladder = self.publish("ladder").await?.encode;
        let mut each = 0.0;
        for rendition in LADDER {
            each += self.one(rendition).await?;
        }
        let Published { playable, encode, args } = published;
        Ok((TranscodingRound { playable, encode, bare, ladder, each }, args))
    }

    fn ffmpeg(&self) -> Command {
        let mut command = Command::new("ffmpeg");
        command.current_dir(&self.folder);
        command
    }

    /// Uploads the film, and waits until it plays.
    async fn publish(&self, profile: &str) -> Result<Published, Error> {
        const BOUNDARY: &str = "film";
        let mut client = Client::connect(self.gateway.address()).await?;
        let mut body = Vec::new();
        for (name, value) in [("title", "film"), ("profile", profile)] {
            let part =
                format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            body.extend_from_slice(part.as_bytes());
        }
        let file = "content-disposition: form-data; name=\"file\"; filename=\"film.mp4\"";
        body.extend_from_slice(format!("--{BOUNDARY}\r\n{file}\r\n\r\n").as_bytes());
        body.extend_from_slice(&std::fs::read(&self.film)?);
        body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        let kind = (header::CONTENT_TYPE, format!("multipart/form-data; boundary={BOUNDARY}"));
        let (answer, body) = client.request(Method::POST, "/api/videos", &[kind], body).await?;
        let began = Instant::now();
        let made = json("POST /api/videos", answer.status, &body)?;
        let video = made["url"].as_str().unwrap_or_default().to_owned();
        let playback = loop {
            let (answer, body) = client.request(Method::GET, &video, &[], "").await?;
            let now = json(&video, answer.status, &body)?;
            match now["state"].as_str() {
                Some("ready") => break now["playback"].clone(),
                Some("failed") => return Err(unexpected(&video, &now["problem"].to_string())),
                _ if began.elapsed() > READY_WITHIN => return Err(unexpected(&video, &now.to_string())),
                _ => sleep(LOOK_EVERY).await,
            }
        };
        let mut fetch = async |what: &str| {
            let path = playback[what].as_str().unwrap_or_default().to_owned();
            let (answer, body) = client.request(Method::GET, &path, &[], "").await?;
            if answer.status == StatusCode::OK {
                Ok(body)
            } else {
                Err(unexpected(&path, answer.status.as_str()))
            }
        };
        fetch("hls").await?;
        let playable = began.elapsed().as_secs_f64();
        let receipt = json("the receipt", StatusCode::OK, &fetch("receipt").await?)?;
        let runs = receipt["runs"].as_array().cloned().unwrap_or_default();
        let encode =
            runs.iter().find(|run| run["name"] == "encode").ok_or_else(|| unexpected("runs", "no encode"))?;
        let args = encode["args"].as_array().into_iter().flatten();
        Ok(Published {
            playable,
            encode: encode["seconds"].as_f64().unwrap_or_default(),
            args: args.filter_map(|arg| arg.as_str().map(str::to_owned)).collect(),
        })
    }

    /// One rendition of the ladder, by ffmpeg alone.
    async fn one(&self, rendition: &str) -> Result<f64, Error> {
        let mut plan = Command::new(&self.worker);
        plan.arg("plan").arg(&self.film).args(["--profile", "ladder", "--rendition", rendition]);
        let printed = plan.output().await?;
        let text = String::from_utf8_lossy(&printed.stdout).into_owned();
        let line = text.lines().skip_while(|line| *line != "# encode").nth(1);
        let line = line.ok_or_else(|| unexpected("plan", &String::from_utf8_lossy(&printed.stderr)))?;
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(&self.folder);
        timed(&mut shell).await
    }
}

async fn timed(command: &mut Command) -> Result<f64, Error> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let began = Instant::now();
    let status = command.status().await?;
    if status.success() {
        Ok(began.elapsed().as_secs_f64())
    } else {
        Err(unexpected("ffmpeg", &status.to_string()))
    }
}

/// A film with movement and sound, such as people upload.
async fn make(to: &Path, seconds: u32) -> Result<(), Error> {
    let ffmpeg = find_binary("ffmpeg")?;
    let mut command = Command::new(ffmpeg);
    command.args(["-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i"]);
    command.arg(format!("testsrc2=size=1280x720:rate=30:duration={seconds},noise=alls=8:allf=t"));
    command.args(["-f", "lavfi", "-i", &format!("sine=frequency=440:duration={seconds}")]);
    command
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-crf", "23", "-c:a", "aac", "-f", "mp4"])
        .arg(to);
    timed(&mut command).await.map(drop)
}

fn goals(rounds: &[TranscodingRound]) -> Vec<Goal> {
    let goal = |text: &str, figure: fn(&TranscodingRound) -> f64, bound: Bound| {
        let value = median(rounds.iter().map(figure).filter(|value| value.is_finite()));
        Goal { text: text.to_owned(), value, bound, met: value.is_some_and(|value| bound.holds(value)) }
    };
    vec![
        goal(
            "the worker's encode, in parts of ffmpeg alone with the same arguments",
            |round| round.encode / round.bare,
            Bound::AtMost(1.03),
        ),
        goal(
            "three renditions of one decode, in parts of one ffmpeg for each",
            |round| round.ladder / round.each,
            Bound::AtMost(1.0),
        ),
        goal(
            "from the end of an upload until it plays, in parts of ffmpeg alone",
            |round| round.playable / round.bare,
            Bound::AtMost(1.25),
        ),
    ]
}

fn json(request: &str, status: StatusCode, body: &[u8]) -> Result<serde_json::Value, Error> {
    let text = String::from_utf8_lossy(body);
    if !status.is_success() {
        return Err(unexpected(request, &format!("{status}: {text}")));
    }
    serde_json::from_str(&text).map_err(|error| unexpected(request, &error.to_string()))
}

fn unexpected(request: &str, answer: &str) -> Error {
    Error::UnexpectedAnswer { request: request.to_owned(), answer: answer.to_owned() }
}

// === impl Transcoding ===

impl fmt::Display for Transcoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { film_seconds, rounds, goals } = self;
        writeln!(f, "{NAME}: a film of {film_seconds} s in 1280x720 with sound; wall time in s")?;
        let row = |name: &str, figure: fn(&TranscodingRound) -> f64| {
            let cells: Vec<_> = rounds.iter().map(|round| format!("{:8.2}", figure(round))).collect();
            format!("  {name:<36}{}", cells.join(""))
        };
        writeln!(f, "{}", row("upload's end until it plays", |round| round.playable))?;
        writeln!(f, "{}", row("the worker's encode", |round| round.encode))?;
        writeln!(f, "{}", row("ffmpeg alone, same arguments", |round| round.bare))?;
        writeln!(f, "{}", row("three renditions, one decode", |round| round.ladder))?;
        writeln!(f, "{}", row("three renditions, an ffmpeg for each", |round| round.each))?;
        goals.iter().try_for_each(|goal| writeln!(f, "  {goal}"))
    }
}
