//! Real files of ffmpeg's through both steps, looked at by parsers that are not ours: `mp4-atom`, ffprobe, and a reader of
//! playlists line by line.

mod files;
mod hostile;
mod manifests;
mod numbers;

use std::{fs, ops::Range, path::PathBuf, process::Command};

use super::{Error, Kind, Options, Packaged, Source, Track, assemble, package};

const X264: &str = "-c:v libx264 -preset veryfast -profile:v high -bf 2 -crf 21 -maxrate 3M -bufsize 6M -sc_threshold 0 \
     -force_key_frames expr:gte(t,n_forced*2) -f mp4";
const CMAF: &str = "-movflags +cmaf+frag_keyframe";
const AAC: &str = "-c:a aac -b:a 128k -ar 48000 -f mp4 -movflags +cmaf+delay_moov -frag_duration 2000000";

/// A folder with what ffmpeg wrote into `in/`, and what was made of it beside.
struct Folder(tempfile::TempDir);

/// A playlist as its lines say.
struct Playlist {
    text: String,
    map: Range<u64>,
    lines: Vec<(f64, Range<u64>)>,
}

// === impl Folder ===

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("in")).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Runs a program here and gives what it printed. It must end well, and print no error.
    fn run(&self, program: &str, arguments: &str) -> String {
        let mut command = Command::new(program);
        let output = command.current_dir(&self.0).args(arguments.split_whitespace()).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{program} {arguments}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn ffmpeg(&self, arguments: &str) -> String {
        self.run("ffmpeg", &format!("-nostdin -hide_banner -loglevel error {arguments}"))
    }

    /// Lets ffmpeg write `in/ID.mp4` with a test picture.
    fn video(&self, id: &str, picture: &str, encoder: &str) {
        self.ffmpeg(&format!("-f lavfi -i testsrc={picture},format=yuv420p {encoder} in/{id}.mp4"));
    }

    fn audio(&self, id: &str, seconds: u32, options: &str) {
        self.ffmpeg(&format!("-f lavfi -i sine=f=440:r=48000:d={seconds} {AAC} {options} in/{id}.mp4"));
    }

    /// Ten seconds of three renditions of video, decoded once, and of audio.
    fn ladder(&self, rate: &str) -> Vec<Track> {
        self.ffmpeg(&format!(
            "-f lavfi -i testsrc=size=320x180:rate={rate}:duration=10 -f lavfi -i sine=f=440:r=48000:d=10 -filter_complex \
             [0:v]format=yuv420p,split=3[a][b][c];[b]scale=160:90[d];[c]scale=114:64,setsar=1[e] \
             -map [a] {X264} {CMAF} in/v180.mp4 -map [d] {X264} {CMAF} in/v90.mp4 -map [e] {X264} {CMAF} in/v64.mp4 \
             -map 1:a {AAC} -ac 2 in/a0.mp4"
        ));
        let mut tracks: Vec<Track> =
            ["v180", "v90", "v64"].iter().map(|id| self.assembled(id, Kind::Video)).collect();
        tracks.push(self.assembled("a0", Kind::Audio));
        tracks
    }

    fn assemble(&self, id: &str, kind: Kind, chunks: &[&str]) -> Result<Track, Error> {
        let fragments = chunks.iter().map(|chunk| self.path(&format!("in/{chunk}.mp4"))).collect();
        assemble(&Source { id: id.to_owned(), kind, fragments }, &self.path(&format!("{id}.mp4")))
    }

    fn assembled(&self, id: &str, kind: Kind) -> Track {
        self.assemble(id, kind, &[id]).unwrap()
    }

    fn package(&self, tracks: &[Track]) -> Packaged {
        package(tracks, &Options::default(), self.0.path()).unwrap()
    }

    fn playlist(&self, name: &str) -> Playlist {
        Playlist::parse(self.text(name))
    }

    /// Every `name` that ffprobe tells of the streams of a file, one for each stream.
    fn probe(&self, what: &str, file: &str) -> Vec<String> {
        let printed = self.run("ffprobe", &format!("-v error {what} -of default=nk=1:nw=1 {file}"));
        printed.split_whitespace().map(str::to_owned).collect()
    }
}

// === impl Playlist ===

impl Playlist {
    fn parse(text: String) -> Self {
        let range = |text: &str| {
            let (len, from) = text.trim_matches('"').split_once('@').unwrap();
            let (len, from): (u64, u64) = (len.parse().unwrap(), from.parse().unwrap());
            from..from + len
        };
        let (mut map, mut durations, mut ranges) = (0..0, Vec::new(), Vec::new());
        for line in text.lines() {
            match line.split_once(':') {
                Some(("#EXT-X-MAP", map_line)) => map = range(map_line.split_once("BYTERANGE=").unwrap().1),
                Some(("#EXTINF", duration)) => {
                    durations.push(duration.trim_end_matches(',').parse().unwrap());
                }
                Some(("#EXT-X-BYTERANGE", bytes)) => ranges.push(range(bytes)),
                _ => assert!(line.starts_with("#EXT") || line.split('.').nth(1) == Some("mp4"), "{line}"),
            }
        }
        assert_eq!(durations.len(), ranges.len());
        Self { lines: durations.into_iter().zip(ranges).collect(), map, text }
    }

    fn duration(&self) -> f64 {
        self.lines.iter().map(|line| line.0).sum()
    }

    fn target(&self) -> f64 {
        value(&self.text, "#EXT-X-TARGETDURATION:").parse().unwrap()
    }
}

/// What stands after `name`, to the end of the attribute.
fn value<'a>(text: &'a str, name: &str) -> &'a str {
    let after = text.split_once(name).unwrap_or_else(|| panic!("no {name} in {text}")).1;
    match after.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap(),
        None => after.split([',', '\n']).next().unwrap(),
    }
}
