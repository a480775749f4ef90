//! The programs that people use read from both stores what is in them, byte for byte and frame for frame.
//! S3 is a real server here, and the gateway a process of its own.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use seekway_loadtests::gateway::{Gateway, Launch};
use seekway_loadtests::seaweed::SeaweedFs;
use tempfile::TempDir;

use crate::support::Stand;
use crate::support::path_text;
use crate::support::tools::{place_sample, sample_video, stdout_of};

const BUCKET: &str = "films";

/// What every player does with `url`.
fn check(url: &str) {
    let folder = TempDir::new().expect("a temporary folder");
    curl_resumes_a_download(url, folder.path());
    aria2_downloads_with_eight_connections(url, folder.path());
    ffmpeg_seeks_to_the_same_frame(url);
    ffprobe_finds_the_same_duration(url);
}

#[tokio::test]
async fn players_read_from_a_folder() {
    let stand = Stand::local(&[]);
    place_sample(&stand.media());
    let url = format!("http://{}/media/sample.mp4", stand.address());
    tokio::task::spawn_blocking(move || check(&url)).await.expect("every player is content");
}

#[tokio::test]
async fn players_read_from_s3() {
    let seaweed = SeaweedFs::start().await.unwrap_or_else(|error| panic!("{error}"));
    seaweed.create_bucket(BUCKET).await.unwrap_or_else(|error| panic!("{error}"));
    let sample = fs::read(sample_video()).expect("it was just made");
    seaweed.put(BUCKET, "sample.mp4", "video/mp4", sample).await.unwrap_or_else(|error| panic!("{error}"));
    let launch = Launch {
        binary: PathBuf::from(env!("CARGO_BIN_EXE_gateway")),
        endpoint: seaweed.endpoint(),
        bucket: BUCKET.to_owned(),
        environment: [
            ("AWS_ACCESS_KEY_ID", seaweed.access_key()),
            ("AWS_SECRET_ACCESS_KEY", seaweed.secret_key()),
        ]
        .map(|(name, value)| (OsString::from(name), OsString::from(value)))
        .to_vec(),
    };
    let gateway = Gateway::start(&launch).await.unwrap_or_else(|error| panic!("{error}"));
    let url = format!("http://{}/media/sample.mp4", gateway.address());
    tokio::task::spawn_blocking(move || check(&url)).await.expect("every player is content");
}

#[track_caller]
fn assert_downloaded(file: &Path) {
    let (downloaded, sample) = (fs::read(file).expect("a file"), fs::read(sample_video()).expect("a file"));
    assert_eq!(downloaded.len(), sample.len(), "{}", file.display());
    let same = downloaded.iter().zip(&sample).take_while(|(one, other)| one == other).count();
    assert_eq!(same, sample.len(), "{}: the first wrong byte is at {same}", file.display());
}

fn curl_resumes_a_download(url: &str, folder: &Path) {
    let file = folder.join("curl.mp4");
    let sample = fs::read(sample_video()).expect("it was made");
    for partial in [0, 1, 1_234_567, sample.len() - 1] {
        fs::write(&file, &sample[..partial]).expect("a new file");
        stdout_of("curl", &["--fail", "--silent", "--show-error", "-C", "-", "-o", path_text(&file), url]);
        assert_downloaded(&file);
    }
    // And from a wrong beginning nothing is guessed: curl must be told so.
    let told =
        stdout_of("curl", &["--silent", "-o", "/dev/null", "-w", "%{http_code}", "-r", "999999999-", url]);
    assert_eq!(told, "416");
}

fn aria2_downloads_with_eight_connections(url: &str, folder: &Path) {
    let arguments =
        ["-x8", "-s8", "-k1M", "--no-conf", "--quiet", "-o", "aria2.mp4", "-d", path_text(folder), url];
    stdout_of("aria2c", &arguments);
    assert_downloaded(&folder.join("aria2.mp4"));
}

fn ffmpeg_seeks_to_the_same_frame(url: &str) {
    for second in ["40", "3.2", "58"] {
        let frame = |input: &str| {
            let arguments = ["-nostdin", "-v", "error", "-ss", second, "-i", input, "-frames:v", "1", "-an"];
            let hash = stdout_of("ffmpeg", &[&arguments[..], &["-f", "framemd5", "-"]].concat());
            hash.lines().rfind(|line| !line.starts_with('#')).expect("one frame").to_owned()
        };
        assert_eq!(frame(url), frame(path_text(sample_video())), "at {second} s");
    }
}

fn ffprobe_finds_the_same_duration(url: &str) {
    let duration = |input: &str| {
        let entries = "format=duration,size:stream=codec_name,nb_frames";
        stdout_of("ffprobe", &["-v", "error", "-show_entries", entries, "-of", "json", input])
    };
    let found = duration(url);
    assert!(found.contains("duration"), "{found}");
    assert_eq!(found, duration(path_text(sample_video())));
}
