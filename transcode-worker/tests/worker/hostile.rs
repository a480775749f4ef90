//! Uploads that mean harm, or are just broken: refused with a reason, or survived, within bounds.

use std::path::{Path, PathBuf};

use seekway_catalog::{Failure, Job, JobState};

use crate::sources::make;
use crate::stand::Stand;

const SMALL: &str = "-f lavfi -i testsrc2=size=320x180:rate=25:duration=4 -f lavfi -i sine=duration=4 \
                     -c:v libx264 -preset ultrafast -c:a aac";

/// The job, which must be dead for what was uploaded, without another try, and with a reason.
async fn refused(stand: &Stand, file: &Path) -> Job {
    let (video, job) = stand.job(file, "default").await;
    let job = stand.ended(job).await;
    assert_eq!((job.state, job.failure, job.attempt), (JobState::Dead, Some(Failure::Input), 1), "{job:?}");
    let video = stand.video(video).await;
    assert_eq!(video.problem, job.problem);
    assert!(video.published_prefix.is_none());
    job
}

fn written(stand: &Stand, name: &str, bytes: &[u8]) -> PathBuf {
    let path = stand.folder.path().join(name);
    std::fs::write(&path, bytes).expect("writes");
    path
}

#[tokio::test]
async fn what_is_no_video_is_refused_in_words() {
    let stand = Stand::new().await;
    let _worker = stand.worker(&[]);
    let secret = make(stand.folder.path(), &format!("{SMALL} secret.ts"));
    let secret = secret.display();
    let playlist = format!("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{secret}\n#EXT-X-ENDLIST\n");
    let nested = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nhttp://127.0.0.1:1/x.ts\n#EXT-X-ENDLIST\n";
    let mut garbage = vec![0; 1 << 20];
    fastrand::Rng::with_seed(6).fill(&mut garbage);
    for (name, bytes) in [
        ("playlist.mp4", playlist.as_bytes()),
        ("nested.mp4", nested.as_bytes()),
        ("concat.mp4", format!("ffconcat version 1.0\nfile '{secret}'\n").as_bytes()),
        (
            "dash.mp4",
            format!("<?xml version=\"1.0\"?><MPD><Period><BaseURL>{secret}</BaseURL></Period></MPD>")
                .as_bytes(),
        ),
        ("text.mp4", b"not a video at all\n"),
        ("garbage.mp4", &garbage),
        ("empty.mp4", b""),
        ("zeros.mp4", &[0; 4096]),
    ] {
        let job = refused(&stand, &written(&stand, name, bytes)).await;
        let problem = job.problem.expect("a reason");
        assert!(problem.contains("cannot process it") || problem.contains("neither"), "{name}: {problem}");
        assert!(!problem.contains(&stand.folder.path().display().to_string()), "{name}: {problem}");
    }
    assert!(stand.keys().await.is_empty());
}

#[tokio::test]
async fn what_was_cut_off_or_damaged_is_called_that() {
    let stand = Stand::new().await;
    let _worker = stand.worker(&[]);
    let whole = make(stand.folder.path(), &format!("{SMALL} -movflags +faststart whole.mp4"));
    let whole = std::fs::read(whole).expect("reads");
    let cut = refused(&stand, &written(&stand, "cut.mp4", &whole[..whole.len() / 2])).await;
    assert!(cut.problem.expect("a reason").starts_with("it was cut off: "));
    // Its end, which says where everything is.
    let last = make(stand.folder.path(), &format!("{SMALL} last.mp4"));
    let last = std::fs::read(last).expect("reads");
    let headless = refused(&stand, &written(&stand, "headless.mp4", &last[..last.len() / 2])).await;
    assert_eq!(headless.problem.as_deref(), Some("ffprobe cannot process it: moov atom not found"));
    assert!(headless.log.expect("the end of the log").contains("Invalid data found"));
    let mut damaged = whole;
    let mut random = fastrand::Rng::with_seed(6);
    let data = damaged.len() / 4..damaged.len();
    for _ in 0..4000 {
        damaged[random.usize(data.clone())] = random.u8(..);
    }
    let (_, job) = stand.job(&written(&stand, "damaged.mp4", &damaged), "default").await;
    let job = stand.ended(job).await;
    // Decoders conceal much: what comes of it is whole, or it is refused.
    assert!(job.state == JobState::Succeeded || job.failure == Some(Failure::Input), "{job:?}");
}

#[tokio::test]
async fn bombs_are_refused_before_they_go_off() {
    let stand = Stand::new().await;
    let limits = [
        ("SEEKWAY_SOURCE_PIXELS_MAX", "500000"),
        ("SEEKWAY_SOURCE_STREAMS_MAX", "4"),
        ("SEEKWAY_SOURCE_TIME_MAX", "10m"),
        ("SEEKWAY_SCRATCH_MAX", "16MiB"),
    ];
    let _worker = stand.worker(&limits);
    let folder = stand.folder.path();
    let large = make(
        folder,
        "-f lavfi -i color=size=1000x1000:rate=1:duration=2 -c:v libx264 -preset ultrafast large.mp4",
    );
    let problem = refused(&stand, &large).await.problem.expect("a reason");
    assert_eq!(problem, "its picture is 1000x1000; at most 500000 pixels are processed");
    let many = make(
        folder,
        "-f lavfi -i testsrc2=size=64x64:duration=1 -c:v mpeg4 -map 0 -map 0 -map 0 -map 0 -map 0 many.mkv",
    );
    let problem = refused(&stand, &many).await.problem.expect("a reason");
    assert_eq!(problem, "it has 5 streams; at most 4 are processed");
    // Two frames, an hour apart.
    let long = make(
        folder,
        "-f lavfi -i testsrc2=size=64x64:rate=1:duration=2 -vf setpts=N*3600/TB -fps_mode vfr -c:v libx264 long.mp4",
    );
    let problem = refused(&stand, &long).await.problem.expect("a reason");
    assert!(problem.ends_with("at most 600 are processed"), "{problem}");
    // A million frames a second, it says.
    let quick = make(
        folder,
        "-f lavfi -i testsrc2=size=64x64:rate=1000:duration=2 -c:v libx264 -preset ultrafast -video_track_timescale 1000000 quick.mp4",
    );
    let (_, job) = stand.job(&quick, "default").await;
    let out = stand.published(job).await;
    let frames =
        crate::sources::probe(&out.join("v64.mp4"), "-count_packets -show_entries stream=nb_read_packets");
    assert_eq!(crate::sources::value(&frames, "nb_read_packets"), "120");
    // What makes more than it may, however small it is.
    let noise = make(
        folder,
        "-f lavfi -i color=size=640x360:rate=25:duration=60,noise=alls=100:allf=t -c:v libx264 -preset ultrafast -crf 40 noise.mp4",
    );
    let (_, job) = stand.job(&noise, "default").await;
    let ended = stand.ended(job).await;
    assert_eq!((ended.state, ended.failure), (JobState::Dead, Some(Failure::Input)), "{ended:?}");
    assert!(ended.problem.expect("a reason").contains("more than"));
    stand.is_quiet().await;
}

#[tokio::test]
async fn an_intro_of_a_million_frames_a_second_does_no_harm() {
    let stand = Stand::new().await;
    let folder = stand.folder.path();
    let source = make(folder, &format!("{SMALL} a.mp4"));
    let intro = make(
        folder,
        "-f lavfi -i testsrc2=size=64x64:rate=999:duration=1 -c:v libx264 -preset ultrafast -video_track_timescale 999000 intro.mp4",
    );
    let profile = format!(
        "[x]\nrenditions = [{{ short_side = 180, max_kbps = 500 }}]\n[x.intro]\nvideo = \"file:{}\"\n\
         [y]\nrenditions = [{{ short_side = 180, max_kbps = 500 }}]\n[y.intro]\nvideo = \"object:nothing\"",
        intro.display()
    );
    let profiles = written(&stand, "profiles.toml", profile.as_bytes());
    let _worker = stand.worker(&[("SEEKWAY_PROFILES", &profiles.display().to_string())]);
    let (_, job) = stand.job(&source, "x").await;
    let out = stand.published(job).await;
    let frames =
        crate::sources::probe(&out.join("v180.mp4"), "-count_packets -show_entries stream=nb_read_packets");
    assert_eq!(crate::sources::value(&frames, "nb_read_packets"), "125");
    let (_, job) = stand.job(&source, "y").await;
    let dead = stand.ended(job).await;
    assert_eq!(dead.problem.as_deref(), Some("intro: \"nothing\" is not in the store"));
    let (_, job) = stand.job(&source, "z").await;
    let dead = stand.ended(job).await;
    assert_eq!(dead.problem.as_deref(), Some("there is no profile \"z\"; there is default, ladder, x, y"));
}

#[tokio::test]
async fn ffmpeg_reaches_neither_files_nor_the_network_nor_the_workers_secrets() {
    let stand = Stand::new().await;
    let folder = stand.folder.path().join("inside");
    std::fs::create_dir(&folder).expect("makes");
    let outside = written(&stand, "outside", b"a secret");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let port = listener.local_addr().expect("bound").port();
    let run = |script: String| {
        let own = env!("CARGO_BIN_EXE_transcode-worker");
        let output = std::process::Command::new(own)
            .args(["sandbox", "--folder"])
            .arg(&folder)
            .args([
                "--memory-bytes",
                "1000000000",
                "--file-bytes",
                "1000000",
                "--cpu-seconds",
                "10",
                "--parent",
            ])
            .arg(std::process::id().to_string())
            .args(["--", "/bin/bash", "-c", &script])
            .output()
            .expect("starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, log) = run(format!("echo x > {}/file", folder.display()));
    assert_eq!(code, Some(0), "its own folder is its: {log}");
    for (script, what) in [
        (format!("cat {}", outside.display()), "read"),
        (format!("echo x > {}", outside.display()), "write"),
        (format!("exec 3<>/dev/tcp/127.0.0.1/{port}"), "connect"),
        (format!("cat /proc/{}/environ", std::process::id()), "look at its parent"),
        (format!("head -c 2000000 /dev/zero > {}/large", folder.display()), "fill the disk"),
    ] {
        let (code, log) = run(script);
        assert_ne!(code, Some(0), "it can {what}: {log}");
    }
    assert_eq!(std::fs::read(&outside).expect("reads"), b"a secret");
}
