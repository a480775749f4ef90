//! One video over many workers: what is made in chunks is what is made whole, and what is lost costs a chunk only.

use std::path::{Path, PathBuf};
use std::time::Duration;

use seekway_catalog::{Job, JobId, JobState, Phase, VideoState};
use tokio::time::{Instant, sleep};

use crate::sources::{make, probe, ssim, value};
use crate::stand::{Stand, Worker};

/// 600 frames with sound, in five chunks.
const SOURCE: &str = "-f lavfi -i testsrc2=size=854x480:rate=30000/1001:duration=20 -f lavfi \
                      -i sine=frequency=440:duration=20 -c:v libx264 -preset ultrafast -g 50 -c:a aac long.mp4";
const ABOVE: (&str, &str) = ("SEEKWAY_CHUNK_ABOVE", "5s");
const LENGTH: (&str, &str) = ("SEEKWAY_CHUNK_LENGTH", "4s");
const WHOLE: (&str, &str) = ("SEEKWAY_CHUNK_ABOVE", "0");
const LEASE: (&str, &str) = ("SEEKWAY_WORKER_LEASE", "2s");

fn splitting(stand: &Stand) -> Worker {
    stand.worker(&[ABOVE, LENGTH, LEASE])
}

/// The parts of a job, once `is` holds of them.
async fn parts(stand: &Stand, job: JobId, is: impl Fn(&[Job]) -> bool) -> Vec<Job> {
    let until = Instant::now() + Duration::from_mins(1);
    loop {
        let parts = stand.catalog.jobs().parts(job).await.expect("lists");
        if !parts.is_empty() && is(&parts) {
            return parts;
        }
        assert!(Instant::now() < until, "{parts:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn receipt(folder: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(folder.join("receipt.json")).expect("reads")).expect("JSON")
}

/// The packets of a file's first track, as times of decoding and showing.
fn times(file: &Path) -> String {
    probe(file, "-select_streams v:0 -show_entries packet=pts,dts")
}

/// All frames of a file can be decoded. How many there are.
fn decoded(file: &Path) -> u64 {
    let lines = probe(
        file,
        "-err_detect explode -count_frames -select_streams v:0 -show_entries stream=nb_read_frames",
    );
    value(&lines, "nb_read_frames").parse().expect("a number")
}

/// Whatever both have published is alike: the same times, frame by frame the same picture, and about as many bytes.
fn alike(chunks: &Path, whole: &Path) {
    let names = |folder: &Path| {
        let entries = std::fs::read_dir(folder).expect("reads");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("reads").file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(chunks), names(whole));
    let tracks = names(chunks).into_iter().filter_map(|name| name.into_string().ok());
    for name in tracks.filter(|name| name.starts_with('v') && name.trim_end_matches(".mp4") != name) {
        let (one, other): (PathBuf, PathBuf) = (chunks.join(&name), whole.join(&name));
        assert_eq!(times(&one), times(&other), "{name}");
        assert_eq!(decoded(&one), decoded(&other), "{name}");
        let same = ssim(&one, &other, "[0:v]settb=1/100,setpts=N[a];[1:v]settb=1/100,setpts=N[b];[a][b]ssim");
        assert!(same > 0.985, "{name}: {same}");
        let bytes =
            |file: &Path| u32::try_from(file.metadata().expect("it is there").len()).expect("it is short");
        let ratio = f64::from(bytes(&one)) / f64::from(bytes(&other));
        assert!((0.9..1.1).contains(&ratio), "{name}: {ratio}");
    }
}

#[tokio::test]
async fn a_killed_worker_costs_a_long_video_one_chunk() {
    let stand = Stand::new().await;
    let source = make(stand.folder.path(), SOURCE);
    let (video, job) = stand.job(&source, "ladder").await;
    let mut workers: Vec<_> = (0..3).map(|_| splitting(&stand)).collect();
    // One that is at a chunk while another is made already.
    let is_chunk = |part: &Job| part.brief.as_deref().is_some_and(|brief| brief.contains("chunk"));
    let runs = |parts: &[Job]| {
        let is_made = parts.iter().any(|part| is_chunk(part) && part.made.is_some());
        is_made && parts.iter().any(|part| is_chunk(part) && part.state == JobState::Running)
    };
    let now = parts(&stand, job, runs).await;
    assert_eq!(now.len(), 6, "five chunks and the sound");
    assert_eq!(stand.catalog.jobs().get(job).await.expect("it is there").state, JobState::Waiting);
    let hit = now.iter().find(|part| is_chunk(part) && part.state == JobState::Running).expect("it was seen");
    let pid = hit.worker.as_deref().and_then(|worker| worker.split('/').nth(1)).expect("it is named");
    workers.retain(|worker| worker.0.id().to_string() != pid);
    assert_eq!(workers.len(), 2);
    let folder = stand.published(job).await;
    for part in stand.catalog.jobs().parts(job).await.expect("lists") {
        let was_hit = part.id == hit.id && part.interruptions == 1;
        assert_eq!(
            (part.state, part.attempt),
            (JobState::Succeeded, if was_hit { 2 } else { 1 }),
            "{part:?}"
        );
        assert_eq!(part.made, None, "it is of no more use");
    }
    stand.is_settled(&[job]).await;
    assert_eq!(receipt(&folder)["planned_frames"], 600);
    let events = stand.catalog.videos().events_after(video, 0, 1000).await.expect("lists");
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["uploaded", "processing", "ready"]);
    drop(workers);
    let _whole = stand.worker(&[WHOLE]);
    let (_, other) = stand.job(&source, "ladder").await;
    alike(&folder, &stand.published(other).await);
}

#[tokio::test]
async fn chunks_are_what_the_whole_would_be_of_whatever_is_steady() {
    let stand = Stand::new().await;
    let folder = stand.folder.path();
    make(folder, "-f lavfi -i color=white:size=64x64 -frames:v 1 mark.png");
    let profiles = format!(
        "[plain]\nrenditions = [{{ short_side = 180, max_kbps = 800 }}]\n\
         [cut]\ntrim_start = \"1s\"\ntrim_length = \"8s\"\nrenditions = [{{ short_side = 180, max_kbps = 800 }}]\n\
         [cut.audio]\nnormalise = true\n\
         [marked]\nrenditions = [{{ short_side = 180, max_kbps = 800 }}]\nmp4 = false\nstoryboard = false\n\
         [marked.watermark]\nimage = \"file:{0}/mark.png\"\n\
         [around]\nrenditions = [{{ short_side = 180, max_kbps = 800 }}]\n[around.intro]\nvideo = \"file:{0}/pal.mp4\"\n",
        folder.display()
    );
    std::fs::write(folder.join("profiles.toml"), profiles).expect("writes");
    let profiles = folder.join("profiles.toml").display().to_string();
    let tone = "-f lavfi -i sine=duration=12 -c:a aac -shortest";
    let picture = |rate: &str| format!("-f lavfi -i testsrc2=size=320x180:rate={rate}:duration=12");
    // What is made in chunks, and what stays whole.
    let cases = [
        ("plain", format!("{} {tone} -c:v libx264 -preset veryfast pal.mp4", picture("25")), true),
        (
            "cut",
            format!("{} {tone} -c:v libx264 -preset veryfast -movflags +faststart cut.mp4", picture("25")),
            true,
        ),
        ("marked", format!("{} -c:v libx264 -preset ultrafast silent.mp4", picture("24000/1001")), true),
        (
            "plain",
            format!(
                "{} {tone} -c:v libx264 -preset veryfast -x264-params open-gop=1 open.mkv",
                picture("30000/1001")
            ),
            true,
        ),
        (
            "plain",
            format!(
                "{} -vf tinterlace=interleave_top,fieldorder=tff -c:v mpeg2video -flags +ildct+ilme -q:v 2 woven.mov",
                picture("50")
            ),
            true,
        ),
        (
            "plain",
            format!(
                "{} -vf select='mod(n\\,3)' -fps_mode vfr -c:v libx264 -preset ultrafast variable.mp4",
                picture("30")
            ),
            false,
        ),
        ("plain", format!("{} -c:v libx264 -preset ultrafast broadcast.ts", picture("25")), false),
        ("around", format!("{} -c:v libx264 -preset ultrafast between.mp4", picture("25")), false),
        ("plain", "-f lavfi -i sine=duration=12 -c:a aac heard.m4a".to_owned(), false),
    ];
    let mut made = Vec::new();
    for (profile, arguments, _) in &cases {
        let source = make(folder, arguments);
        made.push((stand.job(&source, profile).await.1, source));
    }
    let chunked: Vec<_> = (0..2)
        .map(|_| stand.worker(&[ABOVE, ("SEEKWAY_CHUNK_LENGTH", "2s"), ("SEEKWAY_PROFILES", &profiles)]))
        .collect();
    let mut all = Vec::new();
    for (job, _) in &made {
        all.push(stand.published(*job).await);
    }
    drop(chunked);
    let _whole = stand.worker(&[WHOLE, ("SEEKWAY_PROFILES", &profiles)]);
    for (((profile, _, is_split), (job, source)), folder) in cases.iter().zip(&made).zip(&all) {
        let parts = stand.catalog.jobs().parts(*job).await.expect("lists");
        assert_eq!(parts.len() > 2, *is_split, "{}: {} parts", source.display(), parts.len());
        assert_eq!(receipt(folder)["note"], serde_json::Value::Null, "{}", source.display());
        if *is_split {
            let (_, other) = stand.job(source, profile).await;
            eprintln!("{}", source.display());
            alike(folder, &stand.published(other).await);
        }
    }
}

#[tokio::test]
async fn of_a_large_source_a_chunk_fetches_what_it_needs() {
    let stand = Stand::new().await;
    // Some 70 MB, with the index behind the media, as cameras have it.
    let source = make(
        stand.folder.path(),
        "-f lavfi -i testsrc2=size=320x180:rate=25:duration=40,noise=alls=60:allf=t -f lavfi -i sine=duration=40 \
         -c:v libx264 -preset ultrafast -qp 6 -g 50 -pix_fmt yuv420p -c:a aac camera.mov",
    );
    let size = source.metadata().expect("it is there").len();
    assert!(size > 40_000_000, "{size}");
    let (_, job) = stand.job(&source, "default").await;
    let _worker = splitting(&stand);
    let parts = parts(&stand, job, |_| true).await;
    for part in &parts {
        let brief: serde_json::Value =
            serde_json::from_str(part.brief.as_deref().expect("it has one")).expect("JSON");
        let Some(spans) = brief["chunk"]["spans"].as_array() else { continue };
        let bytes = |span: &serde_json::Value| {
            span["end"].as_u64().zip(span["start"].as_u64()).map(|(end, start)| end - start)
        };
        let fetched: u64 = spans.iter().filter_map(bytes).sum();
        assert!((8_000_000..size / 2).contains(&fetched), "{fetched} of {size}");
    }
    let folder = stand.published(job).await;
    // None of them was encoded a second time with all of it.
    let receipt = receipt(&folder);
    let runs =
        receipt["runs"].as_array().expect("a list").iter().filter(|run| run["name"] == "encode").count();
    assert_eq!(runs, parts.len());
    let alike = ssim(
        &source,
        &folder.join("v180.mp4"),
        "[0:v]scale=320:180,settb=1/100,setpts=N[a];[1:v]settb=1/100,setpts=N[b];[a][b]ssim",
    );
    assert!(alike > 0.6, "{alike}: noise is what is lost first");
    assert_eq!(decoded(&folder.join("v180.mp4")), 1000);
    stand.is_settled(&[job]).await;
}

#[tokio::test]
async fn a_short_video_does_not_wait_for_a_long_one() {
    let stand = Stand::new().await;
    let source = make(stand.folder.path(), SOURCE);
    let short = make(
        stand.folder.path(),
        "-f lavfi -i testsrc2=size=320x180:rate=25:duration=2 -c:v libx264 -preset ultrafast short.mp4",
    );
    let (_, long) = stand.job(&source, "default").await;
    let _worker = splitting(&stand);
    parts(&stand, long, |_| true).await;
    let (_, next) = stand.job(&short, "default").await;
    stand.published(next).await;
    let now = stand.catalog.jobs().get(long).await.expect("it is there");
    assert_eq!(now.state, JobState::Waiting, "the one worker has more of it to do");
    stand.is_settled(&[long, next]).await;
}

#[tokio::test]
async fn a_long_video_that_is_given_up_or_deleted_leaves_nothing() {
    let stand = Stand::new().await;
    let source = make(stand.folder.path(), SOURCE);
    let _workers = [splitting(&stand), splitting(&stand)];
    let is_under_way = |parts: &[Job]| {
        parts.iter().any(|part| part.made.is_some())
            && parts.iter().any(|part| part.state == JobState::Running)
    };
    let (video, job) = stand.job(&source, "ladder").await;
    parts(&stand, job, is_under_way).await;
    assert_eq!(stand.catalog.jobs().cancel(job).await.expect("is given up"), JobState::Cancelled);
    assert!(stand.catalog.jobs().parts(job).await.expect("lists").is_empty());
    assert_eq!(stand.video(video).await.state, VideoState::Uploaded);
    stand.is_quiet().await;
    let (deleted, other) = stand.job(&source, "ladder").await;
    parts(&stand, other, is_under_way).await;
    stand.catalog.videos().delete(deleted).await.expect("is being deleted");
    stand.is_quiet().await;
    // Tried again it begins anew, and everything else is told of as left.
    stand.catalog.jobs().redrive(job).await.expect("is tried again");
    let done = parts(&stand, job, |parts| parts.iter().all(|part| part.state == JobState::Succeeded)).await;
    assert_eq!(done.len(), 6);
    stand.ended(job).await;
    let below = format!("processed/{deleted}/");
    for key in stand.keys().await.iter().filter(|key| key.starts_with(&below)) {
        let key = seekway_storage::ObjectKey::new(key).expect("a key");
        stand.store.delete(&key).await.expect("deletes, as the gateway does with all of a deleted video");
    }
    stand.is_settled(&[job]).await;
}

#[tokio::test]
async fn a_chunk_that_is_dead_ends_the_whole_and_is_what_is_tried_again() {
    let stand = Stand::new().await;
    let source = make(stand.folder.path(), SOURCE);
    let (video, job) = stand.job(&source, "default").await;
    let worker = splitting(&stand);
    parts(&stand, job, |parts| parts.iter().any(|part| part.made.is_some())).await;
    // Somebody has moved the source.
    let key = stand.video(video).await.source.key;
    let moved = seekway_storage::ObjectKey::new(&key).expect("a key");
    stand.store.delete(&moved).await.expect("deletes");
    let dead = loop {
        for part in stand.catalog.jobs().parts(job).await.expect("lists") {
            if part.state == JobState::Retry {
                let _ = stand.catalog.jobs().hurry(part.id).await;
            }
        }
        let now = stand.catalog.jobs().get(job).await.expect("it is there");
        if now.state == JobState::Dead {
            break now;
        }
        sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(dead.problem.as_deref(), Some("it is not in the store"));
    assert_eq!(stand.video(video).await.state, VideoState::Failed);
    let idle =
        |parts: &[Job]| !parts.iter().any(|part| matches!(part.state, JobState::Leased | JobState::Running));
    let before = parts(&stand, job, idle).await;
    assert!(
        before.iter().all(|part| !matches!(part.state, JobState::Queued | JobState::Retry)),
        "{before:?}"
    );
    drop(worker);
    stand.put(&key, &source).await;
    // Another version of it has another tag, and is told by that.
    stand.catalog.jobs().redrive(job).await.expect("is tried again");
    let _worker = splitting(&stand);
    let failed = parts(&stand, job, |parts| parts.iter().any(|part| part.failures > 0)).await;
    let said = failed.iter().find_map(|part| part.problem.as_deref()).expect("a reason");
    assert_eq!(said, "it is not in the store as it was");
    let made = |parts: &[Job]| -> Vec<_> {
        parts.iter().filter(|part| part.made.is_some()).map(|part| (part.id, part.attempt)).collect()
    };
    let kept = made(&before);
    assert!(!kept.is_empty() && kept.iter().all(|one| made(&failed).contains(one)), "{failed:?}");
    // Given up, it begins with the source that there is.
    stand.catalog.jobs().cancel(job).await.expect("is given up");
    stand.catalog.jobs().redrive(job).await.expect("is tried again");
    stand.is_settled(&[job]).await;
}

#[tokio::test]
async fn what_cannot_be_made_in_chunks_is_made_whole() {
    let stand = Stand::new().await;
    let source = make(stand.folder.path(), SOURCE);
    // Some frames are damaged, of which the packets say nothing.
    let lines = probe(&source, "-select_streams v:0 -show_entries packet=pos,size");
    let numbers = |key: &str| -> Vec<u64> {
        lines.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')?.parse().ok()).collect()
    };
    let (places, sizes) = (numbers("pos"), numbers("size"));
    let mut bytes = std::fs::read(&source).expect("reads");
    for nth in [100, 300] {
        let (at, size) =
            (usize::try_from(places[nth]).expect("small"), usize::try_from(sizes[nth]).expect("small"));
        bytes[at..at + size].fill(0);
    }
    std::fs::write(&source, bytes).expect("writes");
    let _worker = splitting(&stand);
    let (_, job) = stand.job(&source, "default").await;
    let folder = stand.published(job).await;
    let note = receipt(&folder)["note"].as_str().expect("it is said why").to_owned();
    assert!(note.contains("frames could be made, and not 120"), "{note}");
    assert_eq!(decoded(&folder.join("v480.mp4")), 600);
    assert!(stand.catalog.jobs().parts(job).await.expect("lists").is_empty());
    stand.is_settled(&[job]).await;
}

#[tokio::test]
async fn what_was_joined_and_lost_its_worker_is_joined_again() {
    let stand = Stand::new().await;
    let source = make(stand.folder.path(), SOURCE);
    let (video, job) = stand.job(&source, "default").await;
    let worker = splitting(&stand);
    let mut percent = 0;
    let joined = loop {
        let now = stand.catalog.jobs().get(job).await.expect("it is there");
        let progress = stand.video(video).await.progress;
        if let Some(progress) = progress.filter(|_| now.state == JobState::Waiting) {
            assert!(progress.percent >= percent, "{progress:?} after {percent}");
            percent = progress.percent;
            assert_eq!(progress.phase, Phase::Transcoding);
        }
        if now.attempt == 2 && now.state == JobState::Running {
            break now;
        }
        sleep(Duration::from_millis(5)).await;
    };
    drop(worker);
    let _next = splitting(&stand);
    let done = stand.ended(job).await;
    assert!(percent > 50, "{percent}");
    assert!(done.attempt >= joined.attempt && done.interruptions <= 1, "{done:?}");
    for part in stand.catalog.jobs().parts(job).await.expect("lists") {
        assert_eq!(part.attempt, 1, "{part:?}");
    }
    stand.is_settled(&[job]).await;
}
