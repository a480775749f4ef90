//! What is made of sources that differ in everything.

use std::path::{Path, PathBuf};

use crate::sources::{make, probe, ssim, value};
use crate::stand::Stand;

/// Six seconds of a moving picture that no two frames of are alike, with a tone.
const ORDINARY: &str = "-f lavfi -i testsrc2=size=1280x720:rate=30000/1001:duration=6 \
                        -f lavfi -i sine=frequency=440:duration=6 -c:v libx264 -preset ultrafast -c:a aac -shortest";

/// A source, and what the first rendition has to be.
struct Case {
    /// For ffmpeg; the last word is the file.
    source: &'static str,
    size: (u32, u32),
    rate: &'static str,
    frames: u64,
    has_audio: bool,
    /// From the source to what its first rendition should look like, where ffmpeg's own decoder does not do it all.
    look: &'static str,
}

const CASES: [Case; 18] = [
    // Times that begin at a hundred seconds.
    Case {
        source: "-f lavfi -i testsrc2=size=320x180:rate=25:duration=2 -c:v libx264 -preset ultrafast \
                 -output_ts_offset 100 late.mkv",
        size: (320, 180),
        rate: "25/1",
        frames: 50,
        has_audio: false,
        look: "nothing",
    },
    // HDR that says nothing but its transfer.
    Case {
        source: "-f lavfi -i testsrc2=size=320x180:rate=25:duration=1 -c:v libx264 -preset ultrafast \
                 -color_trc smpte2084 -bsf:v h264_metadata=transfer_characteristics=16 half.mp4",
        size: (320, 180),
        rate: "25/1",
        frames: 25,
        has_audio: false,
        look: "nothing",
    },
    // One frame.
    Case {
        source: "-f lavfi -i testsrc2=size=320x180:rate=25 -frames:v 1 -c:v libx264 -preset ultrafast one.mp4",
        size: (320, 180),
        rate: "25/1",
        frames: 1,
        has_audio: false,
        look: "nothing",
    },
    // A second sound that goes on for longer.
    Case {
        source: "-f lavfi -i testsrc2=size=320x180:rate=25:duration=2 -f lavfi -i sine=duration=2 -f lavfi \
                 -i sine=duration=30 -map 0 -map 1 -map 2 -c:v libx264 -preset ultrafast -c:a aac two.mkv",
        size: (320, 180),
        rate: "25/1",
        frames: 50,
        has_audio: true,
        look: "nothing",
    },
    Case {
        source: "-f lavfi -i testsrc2=size=640x360:rate=25:duration=4 -f lavfi -i sine=duration=4 -ac 1 -ar 22050 \
                 -c:v libx264 -preset ultrafast -c:a aac -movflags +faststart mono.mp4",
        size: (640, 360),
        rate: "25/1",
        frames: 100,
        has_audio: true,
        look: "",
    },
    Case {
        source: "-f lavfi -i testsrc2=size=640x360:rate=24000/1001:duration=4 -c:v libx264 -preset ultrafast silent.mkv",
        size: (640, 360),
        rate: "24000/1001",
        frames: 96,
        has_audio: false,
        look: "",
    },
    Case {
        source: "-f lavfi -i testsrc2=size=640x360:rate=30:duration=4 -f lavfi -i sine=duration=4 -c:v libvpx -b:v 2M \
                 -cpu-used 8 -deadline realtime -c:a libopus -ac 2 web.webm",
        size: (640, 360),
        rate: "30/1",
        frames: 120,
        has_audio: true,
        look: "",
    },
    Case {
        source: "-f lavfi -i testsrc2=size=640x360:rate=25:duration=4 -f lavfi -i sine=duration=4 -c:v mpeg4 -q:v 2 \
                 -c:a mp3 old.avi",
        size: (640, 360),
        rate: "25/1",
        frames: 100,
        has_audio: true,
        look: "",
    },
    Case {
        source: "-f lavfi -i testsrc2=size=640x360:rate=50:duration=4 -f lavfi -i sine=duration=4 -c:v libx264 \
                 -preset ultrafast -c:a mp2 broadcast.ts",
        size: (640, 360),
        rate: "50/1",
        frames: 200,
        has_audio: true,
        look: "",
    },
    // Every third frame is missing.
    Case {
        source: "-f lavfi -i testsrc2=size=640x360:rate=30:duration=4 -vf select='mod(n\\,3)' -fps_mode vfr -c:v libx264 \
                 -preset ultrafast variable.mp4",
        size: (640, 360),
        rate: "30/1",
        frames: 119,
        has_audio: false,
        look: "",
    },
    Case {
        source: "-f lavfi -i testsrc2=size=641x361:rate=25:duration=3 -c:v libx264 -pix_fmt yuv444p -preset ultrafast odd.mp4",
        size: (640, 360),
        rate: "25/1",
        frames: 75,
        has_audio: false,
        look: "scale=640:360,",
    },
    Case {
        source: "-f lavfi -i testsrc2=size=480x360:rate=25:duration=3 -vf setsar=4/3 -c:v libx264 -preset ultrafast broad.mp4",
        size: (640, 360),
        rate: "25/1",
        frames: 75,
        has_audio: false,
        look: "scale=640:360,setsar=1,",
    },
    Case {
        source: "-f lavfi -i testsrc2=size=640x360:rate=25:duration=3 -c:v libx265 -preset ultrafast -pix_fmt yuv420p10le \
                 -x265-params log-level=none deep.mp4",
        size: (640, 360),
        rate: "25/1",
        frames: 75,
        has_audio: false,
        look: "",
    },
    Case {
        source: "-f lavfi -i testsrc2=size=640x360:rate=25:duration=3 -c:v libx264 -preset ultrafast -pix_fmt yuv420p10le \
                 -color_primaries bt2020 -color_trc arib-std-b67 -colorspace bt2020nc hdr.mp4",
        size: (640, 360),
        rate: "25/1",
        frames: 75,
        has_audio: false,
        // How it looks is the tone map's to say.
        look: "nothing",
    },
    Case {
        source: "-f lavfi -i testsrc2=size=640x360:rate=50:duration=3 -vf tinterlace=interleave_top,fieldorder=tff \
                 -c:v mpeg2video -flags +ildct+ilme -q:v 2 woven.ts",
        size: (640, 360),
        rate: "25/1",
        frames: 75,
        has_audio: false,
        look: "bwdif=mode=send_frame,",
    },
    // Larger than the largest rendition, and upright.
    Case {
        source: "-f lavfi -i testsrc2=size=1080x1920:rate=25:duration=2 -c:v libx264 -preset ultrafast phone.mov",
        size: (720, 1280),
        rate: "25/1",
        frames: 50,
        has_audio: false,
        look: "scale=720:1280,",
    },
    // Four to three.
    Case {
        source: "-f lavfi -i testsrc2=size=640x480:rate=12:duration=3 -c:v libx264 -preset ultrafast tv.mp4",
        size: (854, 480),
        rate: "12/1",
        frames: 36,
        has_audio: false,
        look: "pad=854:480:-1:-1,",
    },
    // Sound that begins a second late, and goes on for two after the picture.
    Case {
        source: "-f lavfi -i testsrc2=size=640x360:rate=25:duration=3 -itsoffset 1 -f lavfi -i sine=duration=4 \
                 -c:v libx264 -preset ultrafast -c:a aac late.mp4",
        size: (640, 360),
        rate: "25/1",
        frames: 125,
        has_audio: true,
        look: "tpad=stop_mode=clone:stop_duration=2,",
    },
];

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("reads");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("reads").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

fn receipt(folder: &Path) -> serde_json::Value {
    let text = std::fs::read(folder.join("receipt.json")).expect("reads");
    serde_json::from_slice(&text).expect("JSON")
}

/// The file of the first rendition.
fn best(folder: &Path) -> PathBuf {
    let first = names(folder).into_iter().filter(|name| name.starts_with('v') && name.ends_with("0.mp4"));
    folder.join(
        first
            .max_by_key(|name| name[1..].trim_end_matches(".mp4").parse::<u32>().ok())
            .expect("there is one"),
    )
}

fn counted(file: &Path) -> u64 {
    value(
        &probe(file, "-count_frames -select_streams v:0 -show_entries stream=nb_read_frames"),
        "nb_read_frames",
    )
    .parse()
    .expect("a number")
}

#[tokio::test]
async fn a_ladder_has_all_that_players_need() {
    let stand = Stand::new().await;
    let source = make(stand.folder.path(), &format!("{ORDINARY} a.mp4"));
    let _worker = stand.worker(&[]);
    let (video, job) = stand.job(&source, "ladder").await;
    let folder = stand.published(job).await;
    assert_eq!(
        names(&folder),
        [
            "a0.m3u8",
            "a0.mp4",
            "manifest.mpd",
            "master.m3u8",
            "poster.jpg",
            "receipt.json",
            "storyboard.jpg",
            "storyboard.vtt",
            "v360.m3u8",
            "v360.mp4",
            "v360_iframes.m3u8",
            "v480.m3u8",
            "v480.mp4",
            "v480_iframes.m3u8",
            "v720.m3u8",
            "v720.mp4",
            "v720_iframes.m3u8",
            "video.mp4"
        ]
    );
    for (file, width, height) in
        [("v720.mp4", "1280", "720"), ("v480.mp4", "854", "480"), ("v360.mp4", "640", "360")]
    {
        let lines =
            probe(&folder.join(file), "-count_frames -show_entries stream=width,height,nb_read_frames");
        let found = ["width", "height", "nb_read_frames"].map(|key| value(&lines, key));
        assert_eq!(found, [width, height, "180"], "{file}");
        let alike = ssim(
            &source,
            &folder.join(file),
            &format!(
                "[0:v]scale={width}:{height},settb=1/100,setpts=N[a];[1:v]settb=1/100,setpts=N[b];[a][b]ssim"
            ),
        );
        assert!(alike > 0.93, "{file}: {alike}");
    }
    let whole = probe(&folder.join("video.mp4"), "-show_entries format=duration,nb_streams");
    assert_eq!(value(&whole, "nb_streams"), "2");
    let published = stand.video(video).await;
    let outputs: serde_json::Value =
        serde_json::from_str(&published.published.expect("published")).expect("JSON");
    assert_eq!(outputs["files"]["hls"], "master.m3u8");
    assert_eq!(outputs["renditions"][0]["name"], "720p");
    assert_eq!(outputs["renditions"][0]["frame_rate"], "30000/1001");
    let receipt = receipt(&folder);
    assert_eq!(receipt["planned_frames"], 180);
    assert!(receipt["drift_ms"].as_f64().expect("there are both").abs() < 50.0, "{receipt:#}");
    for output in receipt["outputs"].as_array().expect("a list") {
        let bytes =
            folder.join(output["name"].as_str().expect("a name")).metadata().expect("it is there").len();
        assert_eq!(output["bytes"], bytes);
    }
    assert_eq!(names(&stand.scratch()), ["lock"]);
}

#[tokio::test]
async fn whatever_the_source_is_like_it_plays_everywhere() {
    let stand = Stand::new().await;
    let _worker = stand.worker(&[]);
    let mut jobs = Vec::new();
    for case in &CASES {
        let source = make(stand.folder.path(), case.source);
        jobs.push((case, source.clone(), stand.job(&source, "default").await.1));
    }
    for (case, source, job) in jobs {
        let folder = stand.published(job).await;
        let file = best(&folder);
        let lines = probe(
            &file,
            "-select_streams v:0 -show_entries stream=codec_name,profile,pix_fmt,width,height,r_frame_rate,\
             sample_aspect_ratio,color_transfer",
        );
        let found =
            ["codec_name", "profile", "pix_fmt", "r_frame_rate", "width", "height", "sample_aspect_ratio"]
                .map(|key| value(&lines, key));
        let (width, height) = case.size;
        let (width, height) = (width.to_string(), height.to_string());
        let expected = ["h264", "High", "yuv420p", case.rate, &width, &height, "1:1"];
        assert_eq!(found, expected, "{}", case.source);
        assert!(counted(&file).abs_diff(case.frames) <= 1, "{}: {} frames", case.source, counted(&file));
        assert_eq!(folder.join("a0.mp4").exists(), case.has_audio, "{}", case.source);
        assert_ne!(value(&lines, "color_transfer"), "arib-std-b67", "{}", case.source);
        if case.look != "nothing" {
            let graph = format!(
                "[0:v]{}fps={}:start_time=0,scale={width}:{height},format=yuv420p,settb=1/100,setpts=N[a];[1:v]settb=1/100,setpts=N[b];[a][b]ssim",
                case.look, case.rate
            );
            let alike = ssim(&source, &file, &graph);
            assert!(alike > 0.9, "{}: {alike}", case.source);
        }
    }
}

#[tokio::test]
async fn a_turned_picture_is_turned_back() {
    let stand = Stand::new().await;
    let lying = make(
        stand.folder.path(),
        "-f lavfi -i testsrc2=size=640x360:rate=25:duration=2 -c:v libx264 -preset ultrafast lying.mp4",
    );
    let turned = make(
        stand.folder.path(),
        &format!("-i {} -c copy -metadata:s:v:0 rotate=90 turned.mp4", lying.display()),
    );
    let _worker = stand.worker(&[]);
    let (_, job) = stand.job(&turned, "ladder").await;
    let file = best(&stand.published(job).await);
    let lines = probe(&file, "-show_entries stream=width,height");
    assert_eq!((value(&lines, "width"), value(&lines, "height")), ("360".to_owned(), "640".to_owned()));
    // ffmpeg turns the source by itself, too.
    assert!(
        ssim(&turned, &file, "[0:v]settb=1/100,setpts=N[a];[1:v]settb=1/100,setpts=N[b];[a][b]ssim") > 0.9
    );
}

#[tokio::test]
async fn intro_outro_watermark_trim_and_loudness_are_one_encode() {
    let stand = Stand::new().await;
    let folder = stand.folder.path();
    let source = make(folder, &format!("{ORDINARY} a.mp4"));
    make(
        folder,
        "-f lavfi -i color=red:size=320x240:rate=25:duration=2 -vf setsar=4/3 -c:v libx264 -preset ultrafast intro.mp4",
    );
    make(
        folder,
        "-f lavfi -i color=blue:size=101x57:rate=24000/1001:duration=1 -f lavfi -i sine=duration=1 -ac 1 -ar 22050 \
         -c:v libx264 -pix_fmt yuv444p -preset ultrafast -c:a aac outro.mkv",
    );
    make(folder, "-f lavfi -i color=white:size=64x64 -frames:v 1 mark.png");
    let path = |name: &str| folder.join(name).display().to_string();
    let profiles = format!(
        "[all]\naspect = \"16:9\"\ntrim_start = \"1s\"\ntrim_length = \"3s\"\n\
         renditions = [{{ short_side = 360, max_kbps = 2000 }}]\n\
         [all.watermark]\nimage = \"file:{}\"\ncorner = \"top-left\"\nopacity_percent = 100\n\
         [all.intro]\nvideo = \"file:{}\"\n[all.outro]\nvideo = \"file:{}\"\n[all.audio]\nnormalise = true\n\
         [mute]\nrenditions = [{{ short_side = 360, max_kbps = 2000 }}]\naudio = {{ keep = false }}\n\
         storyboard = false\nposter = false\nmp4 = false",
        path("mark.png"),
        path("intro.mp4"),
        path("outro.mkv"),
    );
    std::fs::write(folder.join("profiles.toml"), profiles).expect("writes");
    let _worker = stand.worker(&[("SEEKWAY_PROFILES", &path("profiles.toml"))]);
    let (_, job) = stand.job(&source, "all").await;
    let out = stand.published(job).await;
    let file = best(&out);
    // Two seconds, three, and one, at the source's rate.
    assert!(counted(&file).abs_diff(180) <= 1, "{}", counted(&file));
    let runs = receipt(&out)["runs"].as_array().expect("a list").len();
    assert_eq!(runs, 5, "loudness, encode, mp4, poster, storyboard");
    for (second, region, colour, what) in [
        (1.0, "crop=40:40:300:160", "red", "the intro"),
        (5.5, "crop=40:40:300:160", "blue", "the outro"),
        (3.0, "crop=30:30:20:20", "white", "the watermark"),
    ] {
        let plain =
            make(folder, &format!("-f lavfi -i color={colour}:size=40x40:rate=30 -frames:v 1 {colour}.png"));
        let graph = format!(
            "[1:v]trim=start={second},setpts=PTS-STARTPTS,{region},scale=40:40,trim=end_frame=1[b];\
             [0:v]scale=40:40,format=yuv420p[a];[a][b]ssim"
        );
        let alike = ssim(&plain, &file, &graph);
        assert!(alike > 0.95, "{what}: {alike}");
    }
    // The middle is the source from its first second on: frames 30 of it and 60 of what was made.
    let graph = "[0:v]scale=640:360,trim=start_frame=30:end_frame=110,settb=1/100,setpts=N,crop=400:300:200:40[a];\
                 [1:v]trim=start_frame=60:end_frame=140,settb=1/100,setpts=N,crop=400:300:200:40[b];[a][b]ssim";
    let alike = ssim(&source, &file, graph);
    assert!(alike > 0.9, "{alike}");
    let (_, mute) = stand.job(&source, "mute").await;
    let out = stand.published(mute).await;
    let expected =
        ["manifest.mpd", "master.m3u8", "receipt.json", "v360.m3u8", "v360.mp4", "v360_iframes.m3u8"];
    assert_eq!(names(&out), expected);
}

#[tokio::test]
async fn sound_alone_is_processed_too() {
    let stand = Stand::new().await;
    let source = make(stand.folder.path(), "-f lavfi -i sine=duration=5 -c:a libmp3lame song.mp3");
    let _worker = stand.worker(&[]);
    let (_, job) = stand.job(&source, "ladder").await;
    let out = stand.published(job).await;
    assert_eq!(
        names(&out),
        ["a0.m3u8", "a0.mp4", "manifest.mpd", "master.m3u8", "receipt.json", "video.mp4"]
    );
    let seconds: f64 = value(&probe(&out.join("a0.mp4"), "-show_entries format=duration"), "duration")
        .parse()
        .expect("a number");
    assert!((seconds - 5.0).abs() < 0.1, "{seconds}");
}

#[tokio::test]
async fn one_rendition_is_made_again_beside_the_others() {
    let stand = Stand::new().await;
    let source = make(stand.folder.path(), &format!("{ORDINARY} a.mp4"));
    let _worker = stand.worker(&[]);
    let (video, first) = stand.job(&source, "ladder").await;
    let before = stand.published(first).await;
    let sound = std::fs::read(before.join("a0.mp4")).expect("reads");
    let again = stand.again(video, "ladder", Some("480p")).await;
    let after = stand.published(again).await;
    assert_ne!(before, after);
    assert_eq!(names(&before), names(&after));
    assert_eq!(std::fs::read(after.join("a0.mp4")).expect("reads"), sound);
    let encode = &receipt(&after)["runs"][0]["args"];
    assert_eq!(encode.as_array().expect("a list").iter().filter(|arg| *arg == "libx264").count(), 1);
    let unknown = stand.again(video, "ladder", Some("9p")).await;
    let dead = stand.ended(unknown).await;
    assert_eq!(dead.problem.as_deref(), Some("there is no rendition \"9p\"; there is 720p, 480p, 360p"));
    assert_eq!(stand.video(video).await.state, seekway_catalog::VideoState::Ready);
}

#[tokio::test]
async fn recordings_whose_times_begin_again_are_processed_whole() {
    let stand = Stand::new().await;
    let part = make(
        stand.folder.path(),
        "-f lavfi -i testsrc2=size=320x180:rate=25:duration=3 -f lavfi -i sine=duration=3 -c:v libx264 \
         -preset ultrafast -c:a aac part.ts",
    );
    let twice = stand.folder.path().join("twice.ts");
    std::fs::write(&twice, std::fs::read(&part).expect("reads").repeat(2)).expect("writes");
    let _worker = stand.worker(&[]);
    let (_, job) = stand.job(&twice, "default").await;
    let frames = counted(&best(&stand.published(job).await));
    assert!(frames.abs_diff(150) <= 3, "{frames}");
}
