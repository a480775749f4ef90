//! Real files of ffmpeg's through both steps, looked at by parsers that are not ours: `mp4-atom`, ffprobe, and line by line.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{Kind, Options, Source, Track, assemble, package};

const VIDEO: &str = "-c:v libx264 -preset veryfast -profile:v high -bf 2 -crf 21 -sc_threshold 0 -force_key_frames expr:gte(t,n_forced*2) \
     -f mp4 -movflags +cmaf+frag_keyframe";
const AUDIO: &str = "-c:a aac -b:a 128k -ar 48000 -f mp4 -movflags +cmaf+delay_moov -frag_duration 2000000";

/// Runs a program and gives what it printed; it must end well and print no error.
fn run(folder: &Path, program: &str, arguments: &str) -> String {
    let output =
        Command::new(program).current_dir(folder).args(arguments.split_whitespace()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{program} {arguments}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn ffmpeg(folder: &Path, arguments: &str) {
    run(folder, "ffmpeg", &format!("-nostdin -hide_banner -loglevel error {arguments}"));
}

fn made(folder: &Path, id: &str, kind: Kind) -> Track {
    let source = Source { id: id.to_owned(), kind, fragments: vec![folder.join(format!("{id}.in.mp4"))] };
    assemble(&source, &folder.join(format!("{id}.mp4"))).unwrap()
}

#[test]
fn thin() {
    let folder = PathBuf::from("/tmp/pk/t");
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).unwrap();
    ffmpeg(
        &folder,
        &format!(
            "-f lavfi -i testsrc=size=320x180:rate=30000/1001:duration=10,format=yuv420p {VIDEO} v180.in.mp4"
        ),
    );
    ffmpeg(
        &folder,
        &format!(
            "-f lavfi -i testsrc=size=160x90:rate=30000/1001:duration=10,format=yuv420p {VIDEO} v90.in.mp4"
        ),
    );
    ffmpeg(&folder, &format!("-f lavfi -i sine=f=440:r=48000:d=10 {AUDIO} -ac 2 a0.in.mp4"));
    let tracks = [
        made(&folder, "v180", Kind::Video),
        made(&folder, "v90", Kind::Video),
        made(&folder, "a0", Kind::Audio),
    ];
    let packaged = package(&tracks, &Options::default(), &folder).unwrap();
    println!("{tracks:#?} {packaged:#?}");
}
