//! What a plan says, in the arguments that ffmpeg gets.

use super::*;
use crate::probe::{Audio, Span, Video};
use crate::profile::{Profile, Profiles};

fn video(width: u32, height: u32, rate: (u32, u32), seconds: f64) -> Video {
    Video {
        index: 0,
        codec: "h264".to_owned(),
        width,
        height,
        rotation: 0,
        pixel_aspect: Rational { num: 1, den: 1 },
        frame_rate: Rational { num: rate.0, den: rate.1 },
        base_rate: None,
        is_interlaced: false,
        transfer: None,
        has_primaries: true,
        has_matrix: false,
        span: Span { start: 0.0, end: seconds, packets: 1 },
    }
}

fn file(video: Option<Video>, has_audio: bool, seconds: f64) -> Probe {
    let audio = has_audio.then(|| Audio {
        index: 1,
        codec: "aac".to_owned(),
        sample_rate: 44_100,
        channels: 1,
        span: Span { start: 0.0, end: seconds, packets: 1 },
    });
    Probe { container: "mov".to_owned(), promised_seconds: None, video, audio }
}

fn inputs(source: Probe) -> Inputs {
    Inputs { source, intro: None, outro: None, watermark: None }
}

fn profile(text: &str) -> Profile {
    let text = format!("[x]\nrenditions = [{{ short_side = 720, max_kbps = 3000 }}]\n{text}");
    Profiles::parse(&text).expect("it is right").get("x").expect("it is there").clone()
}

/// The value after an argument.
fn after<'s>(step: &'s Step, flag: &str) -> Vec<&'s str> {
    let pairs = step.args.windows(2);
    pairs.filter(|pair| pair[0] == flag).map(|pair| pair[1].as_str()).collect()
}

#[test]
fn a_ladder_is_one_decode_of_one_guarded_file() {
    let profiles = Profiles::builtin();
    let inputs = inputs(file(Some(video(1920, 1080, (30_000, 1001), 10.0)), true, 10.0));
    let plan = plan(&inputs, profiles.get("ladder").expect("built in"), None, None).expect("a plan");
    assert_eq!(after(&plan.encode, "-i"), ["file:in/source"]);
    let steps = [&plan.encode].into_iter().chain(&plan.whole).chain(&plan.finishing);
    for step in steps {
        let (inputs, guards) = (after(step, "-i"), after(step, "-format_whitelist"));
        assert_eq!(inputs.len(), guards.len(), "{step:?}");
        assert!(inputs.iter().all(|input| input.starts_with("file:")), "{step:?}");
    }
    assert_eq!(after(&plan.encode, "-g"), ["60"; 4]);
    assert_eq!(plan.frames, 300);
    let expected =
        ["v1080.mp4", "v720.mp4", "v480.mp4", "v360.mp4", "a0.mp4"].map(|file| format!("encoded/{file}"));
    assert_eq!(plan.encode.outputs, expected);
    assert_eq!(
        after(&plan.encode, "-filter_complex"),
        [
            "[0:0]fps=30000/1001:start_time=0,trim=end_frame=300,scale=1920:1080:flags=bicubic,setsar=1,format=yuv420p,\
          settb=AVTB[c0];[c0]split=4[s0][s1][s2][s3];[s0]scale=1920:1080:flags=bicubic,setsar=1[v0];\
          [s1]scale=1280:720:flags=bicubic,setsar=1[v1];[s2]scale=854:480:flags=bicubic,setsar=1[v2];\
          [s3]scale=640:360:flags=bicubic,setsar=1[v3];\
          [0:1]aresample=48000:async=1:first_pts=0,aformat=sample_fmts=fltp:channel_layouts=stereo,\
          apad=whole_dur=10.010000,atrim=duration=10.010000[h0];[h0]anull,atrim=start_sample=1024,asetpts=PTS-STARTPTS[a]"
        ]
    );
}

#[test]
fn everything_at_once_is_still_one_encode() {
    let text = "aspect = \"16:9\"\ntrim_start = \"2s\"\ntrim_length = \"5s\"\n[x.watermark]\nimage = \"asset:1\"\n\
                corner = \"bottom-left\"\n[x.audio]\nnormalise = true";
    let mut hdr = video(1080, 1920, (25, 1), 20.0);
    (hdr.transfer, hdr.pixel_aspect) = (Some("arib-std-b67".to_owned()), Rational { num: 4, den: 3 });
    let inputs = Inputs {
        source: file(Some(hdr), false, 20.0),
        intro: Some(file(Some(video(320, 240, (30, 1), 2.0)), true, 2.0)),
        outro: Some(file(Some(video(101, 57, (24_000, 1001), 1.0)), false, 1.0)),
        watermark: Some(ImageKind::Png),
    };
    let first = plan(&inputs, &profile(text), None, None).expect("a plan");
    let measure = first.loudness.expect("it is measured first");
    assert!(after(&measure, "-filter_complex")[0].ends_with("print_format=json[a]"));
    assert_eq!((first.frames, first.seconds), (200, 8.0));
    let said = |number: &str| number.to_owned();
    let loudness = Loudness {
        input_i: said("-20"),
        input_tp: said("-3"),
        input_lra: said("1"),
        input_thresh: said("-30"),
        target_offset: said("0.1"),
    };
    let plan = plan(&inputs, &profile(text), Some(&loudness), None).expect("a plan");
    assert_eq!(plan.loudness, None);
    assert_eq!(
        after(&plan.encode, "-i"),
        ["file:in/intro", "file:in/source", "file:in/outro", "file:in/watermark"]
    );
    assert_eq!(after(&plan.encode, "-ss"), ["2.000000"]);
    let graph = after(&plan.encode, "-filter_complex")[0];
    for part in [
        "setparams=colorspace=bt2020nc,zscale=t=linear",
        "tonemap=hable",
        "concat=n=3:v=1:a=0[whole]",
        "concat=n=3:v=0:a=1[heard]",
        "measured_I=-20",
        "overlay=x=20:y=H-h-20",
        // Upright once its pixels are square, in a frame of nine to sixteen.
        "scale=720:960:flags=bicubic",
        "pad=720:1280:",
    ] {
        assert!(graph.contains(part), "{part} in {graph}");
    }
    assert_eq!(graph.matches("anullsrc").count(), 2);
    assert_eq!((plan.renditions[0].width, plan.renditions[0].height), (720, 1280));
}

#[test]
fn sound_alone_and_pictures_alone_are_processed_too() {
    let sound = plan(&inputs(file(None, true, 3.0)), &profile(""), None, None).expect("a plan");
    assert_eq!(
        (sound.encode.outputs, sound.renditions.len(), sound.frames),
        (vec!["encoded/a0.mp4".to_owned()], 0, 0)
    );
    let mute = file(Some(video(320, 180, (25, 1), 3.0)), true, 3.0);
    let silent = plan(&inputs(mute), &profile("[x.audio]\nkeep = false"), None, None).expect("a plan");
    assert_eq!(silent.encode.outputs, ["encoded/v180.mp4"]);
    assert!(!silent.encode.args.iter().any(|arg| arg == "-c:a"));
    let nothing = plan(&inputs(file(None, true, 3.0)), &profile("[x.audio]\nkeep = false"), None, None);
    assert_eq!(nothing.expect_err("nothing").to_string(), "nothing is left of it without its sound");
}

#[test]
fn a_rate_is_one_that_players_know_or_the_sources_own_within_bounds() {
    let rate = |num, den| {
        let inputs = inputs(file(Some(video(320, 180, (num, den), 3.0)), false, 3.0));
        plan(&inputs, &profile(""), None, None).expect("a plan").frame_rate.to_string()
    };
    assert_eq!(rate(2_997, 100), "30000/1001");
    assert_eq!(rate(24, 1), "24");
    assert_eq!(rate(1_000_000, 1), "60");
    assert_eq!(rate(29_321, 1_207), "243/10");
    assert_eq!(rate(1, 100), "1");
    assert_eq!(rate(12, 1), "12");
    let mut gaps = video(320, 180, (20, 1), 3.0);
    gaps.base_rate = Some(Rational { num: 30, den: 1 });
    let steady = |video| {
        let inputs = inputs(file(Some(video), false, 3.0));
        plan(&inputs, &profile(""), None, None).expect("a plan").frame_rate.to_string()
    };
    assert_eq!(steady(gaps.clone()), "30");
    gaps.base_rate = Some(Rational { num: 90_000, den: 1 });
    assert_eq!(steady(gaps.clone()), "20");
    (gaps.base_rate, gaps.is_interlaced) = (Some(Rational { num: 30, den: 1 }), true);
    assert_eq!(steady(gaps), "20");
}

#[test]
fn what_cannot_be_is_named() {
    let source = || inputs(file(Some(video(320, 180, (25, 1), 3.0)), true, 3.0));
    let late = plan(&source(), &profile("trim_start = \"3s\""), None, None);
    assert_eq!(
        late.expect_err("late").to_string(),
        "trim_start is 3 seconds, and it is only 3.000 seconds long"
    );
    let unknown = plan(&source(), &profile(""), None, Some("720p"));
    assert_eq!(unknown.expect_err("unknown").to_string(), "there is no rendition \"720p\"; there is 180p");
    let mut mute = source();
    mute.intro = Some(file(None, true, 1.0));
    assert_eq!(
        plan(&mute, &profile(""), None, None).expect_err("mute").to_string(),
        "the intro has no video"
    );
}

#[test]
fn a_chunk_is_told_the_same_but_for_where_it_begins() {
    let profiles = Profiles::builtin();
    let inputs = inputs(file(Some(video(1280, 720, (30_000, 1001), 20.02)), true, 20.02));
    let ladder = profiles.get("ladder").expect("built in");
    let whole = plan(&inputs, ladder, None, None).expect("a plan");
    assert_eq!((whole.frames, whole.keyframe_frames), (600, 60));
    let cut = |nth: u64| Cut { first: nth * 120, frames: 120 };
    let first = chunk(&inputs, ladder, cut(0), 1).expect("a plan");
    let second = chunk(&inputs, ladder, cut(1), 1).expect("a plan");
    assert_eq!(after(&first, "-ss"), [""; 0]);
    assert_eq!(after(&second, "-ss"), ["3.937267"], "two frames are there for filters that look back");
    assert_eq!(after(&second, "-t"), ["4.137467"]);
    assert_eq!(after(&first, "-output_ts_offset"), ["0.000000"; 3]);
    assert_eq!(after(&second, "-output_ts_offset"), ["4.004000"; 3]);
    assert_eq!(second.outputs, ["encoded/v720.mp4", "encoded/v480.mp4", "encoded/v360.mp4"]);
    assert!(!second.args.iter().any(|arg| arg == "-c:a"));
    let graph = after(&second, "-filter_complex")[0];
    let chosen = "[0:0]trim=start=0.050050:end=4.054050,setpts=N/(30000/1001)/TB,fps=30000/1001:start_time=0,trim=end_frame=120,";
    assert!(graph.starts_with(chosen), "{graph}");
    assert!(
        after(&first, "-filter_complex")[0]
            .contains("start_time=0,tpad=start_mode=clone:start=1,trim=end_frame=120")
    );
    for flag in ["-crf", "-maxrate", "-bufsize", "-g", "-keyint_min", "-preset", "-profile:v", "-bf"] {
        assert_eq!(after(&second, flag), after(&whole.encode, flag), "{flag}");
    }
    let sound = sound(&inputs, ladder, None).expect("a plan");
    assert_eq!(sound.outputs, ["encoded/a0.mp4"]);
    let heard = |step: &Step| {
        after(step, "-filter_complex")[0].rsplit_once("[0:1]").map(|(_, sound)| sound.to_owned())
    };
    assert_eq!(heard(&sound), heard(&whole.encode));
}

#[test]
fn one_rendition_alone_comes_without_the_others_and_without_sound() {
    let profiles = Profiles::builtin();
    let inputs = inputs(file(Some(video(1920, 1080, (25, 1), 10.0)), true, 10.0));
    let plan = plan(&inputs, profiles.get("ladder").expect("built in"), None, Some("480p")).expect("a plan");
    assert_eq!(plan.encode.outputs, ["encoded/v480.mp4"]);
    assert_eq!(plan.renditions.len(), 4);
    assert!(plan.has_audio);
}
