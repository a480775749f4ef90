//! The console in a real browser: it shows what workers do, and plays what they publish. The stream is one that ffmpeg makes.

use std::path::Path;
use std::process::Stdio;

use seekway_catalog::{Failure, NewVideo, Phase, Progress, Source, Visibility};
use seekway_storage::{Attributes, ObjectKey};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::{ENV, begun, outputs, put};
use crate::support::tools::{root, run_in};
use crate::uploads::stand::Uploading;

/// Two qualities, and the sound apart from both.
const STREAM: &str = "-nostdin -loglevel error -f lavfi -i testsrc2=size=640x360:rate=25:duration=6 \
    -f lavfi -i sine=frequency=220:sample_rate=48000:duration=6 -map 0:v -map 0:v -map 1:a \
    -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 50 -keyint_min 50 -sc_threshold 0 -b:v 500k -s:v:1 320x180 -b:v:1 100k -c:a aac \
    -f hls -hls_time 2 -hls_playlist_type vod -hls_segment_type fmp4 -hls_segment_filename %v-%d.m4s \
    -hls_fmp4_init_filename init.mp4 -master_pl_name master.m3u8 \
    -var_stream_map v:0,agroup:a|v:1,agroup:a|a:0,agroup:a,default:yes %v.m3u8";
const PICTURES: &str = "-nostdin -loglevel error -f lavfi -i testsrc2=size=80x45:rate=1:duration=6 -vf tile=6x1 \
    -frames:v 1 -update 1 storyboard.jpg";

pub(super) fn ffmpeg(folder: &Path, arguments: &str) {
    let arguments: Vec<_> = arguments.split_whitespace().map(|text| text.replace('|', " ")).collect();
    let output = run_in(folder, "ffmpeg", &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn add(up: &Uploading, title: &str) {
    let key = format!("original/2026/11/23/{title}.mp4");
    put(up, &key).await;
    let source = Source {
        key,
        etag: "\"1\"".to_owned(),
        version: None,
        size: 9,
        sha256: None,
        content_type: Some("video/mp4".to_owned()),
        container: None,
    };
    let profile = Some("default".to_owned());
    let new = NewVideo { title: title.to_owned(), visibility: Visibility::Private, source, profile };
    up.catalog.videos().add(None, &new).await.expect("added").expect("new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_shows_work_and_plays_what_is_published() {
    let up = Uploading::embedded(&[ENV[0], ENV[2]]).await;
    let made = TempDir::new().expect("a folder");
    ffmpeg(made.path(), STREAM);
    ffmpeg(made.path(), PICTURES);
    let cue = |nth: u32| {
        format!("00:00:0{nth}.000 --> 00:00:0{}.000\nstoryboard.jpg#xywh={},0,80,45\n\n", nth + 1, nth * 80)
    };
    let cues: String = (0..6).map(cue).collect();
    std::fs::write(made.path().join("storyboard.vtt"), format!("WEBVTT\n\n{cues}")).expect("written");
    std::fs::copy(made.path().join("storyboard.jpg"), made.path().join("poster.jpg")).expect("copied");
    for title in ["Good", "Bad"] {
        add(&up, title).await;
    }

    let script = root().join("tests/browser/published.mjs");
    let url = format!("http://localhost:{}/", up.stand().address().port());
    let mut browser = tokio::process::Command::new("node");
    browser.arg(script).arg(url).stdout(Stdio::piped()).kill_on_drop(true);
    let mut browser = browser.spawn().expect("node runs; scripts/setup test installs it");
    let mut lines = BufReader::new(browser.stdout.take().expect("piped")).lines();
    let jobs = up.catalog.jobs();
    let mut good = None;
    while let Some(line) = lines.next_line().await.expect("text") {
        println!("{line}");
        match line.as_str() {
            "now process" => {
                let job = begun(&up).await;
                let progress = Progress {
                    phase: Phase::Transcoding,
                    percent: 40,
                    speed_milli: Some(1500),
                    eta_seconds: Some(9),
                };
                jobs.set_progress(job.id, 1, progress).await.expect("notes");
                let bad = begun(&up).await;
                jobs.fail(bad.id, 1, Failure::Input, "It has no picture.", None).await.expect("fails");
                good = Some(job);
            }
            "now publish" => {
                let job = good.as_ref().expect("it was begun");
                for entry in std::fs::read_dir(made.path()).expect("readable") {
                    let entry = entry.expect("readable");
                    let name = entry.file_name().into_string().expect("a plain name");
                    let key = ObjectKey::new(&format!("{}{name}", job.prefix())).expect("a key");
                    let bytes = std::fs::read(entry.path()).expect("readable");
                    let body = Box::pin(futures_util::stream::once(async { Ok(bytes.into()) }));
                    up.store.put(&key, &Attributes::default(), body).await.expect("stored");
                }
                jobs.succeed(job.id, 1, &outputs()).await.expect("publishes");
            }
            _ => {}
        }
    }
    let status = browser.wait().await.expect("it ends");
    assert!(status.success(), "{status}");
}
