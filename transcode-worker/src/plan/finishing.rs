//! What is made of finished renditions: one file to download, a poster, and a storyboard. Nothing is encoded again.

use serde::{Deserialize, Serialize};

use crate::probe::Rational;
use crate::profile::Profile;

use super::command::{AUDIO, Step, begun, guard};
use super::{Size, names};

/// A storyboard: one sheet of small pictures, one picture after each so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sheet {
    /// One picture of so many keyframes, since only those are decoded.
    pub every: u64,
    /// Seconds from picture to picture.
    pub interval: f64,
    /// Pictures beside each other.
    pub columns: u32,
    /// Pictures below each other.
    pub rows: u32,
    /// Pixels of a picture.
    pub width: u32,
    /// See `width`.
    pub height: u32,
}

/// Pictures of a storyboard at most; a sheet of them is then 1600 pixels wide or high.
const PICTURES_MAX: u64 = 100;
const COLUMNS: u32 = 10;
/// The longer side of one.
const PICTURE_PIXELS: u32 = 160;

/// The storyboard of so many frames, of which each `group`th is a keyframe.
pub(super) fn sheet(sizes: &[Size], frames: u64, group: u32, rate: Rational) -> Sheet {
    let keyframes = frames.div_ceil(group.into()).max(1);
    let every = keyframes.div_ceil(PICTURES_MAX);
    // At most a hundred of them, and every so many frames at most ten minutes of some: within u32.
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let pictures = small(keyframes.div_ceil(every));
    let columns = pictures.min(COLUMNS);
    let Size { width, height, .. } = *sizes.last().expect("there is a picture");
    let even = |side: u32| (PICTURE_PIXELS * side / width.max(height)).max(2) & !1;
    Sheet {
        every,
        interval: f64::from(small(every * u64::from(group))) / rate.value(),
        columns,
        rows: pictures.div_ceil(columns),
        width: even(width),
        height: even(height),
    }
}

/// The run that makes one file of the largest picture and the sound, out of what the encoders wrote: players other than
/// browsers show the first frame of an assembled file for two.
pub(super) fn whole(sizes: &[Size], has_audio: bool, seconds: f64) -> Step {
    let mut command = begun("level+warning");
    let files = sizes.first().map(Size::file).into_iter().chain(has_audio.then(|| AUDIO.to_owned()));
    let files: Vec<_> = files.collect();
    for file in &files {
        command.args(guard()).input(format!("file:{}/{file}", names::ENCODED));
    }
    for nth in 0..files.len() {
        command.map(format!("{nth}:0"));
    }
    command.args(["-c", "copy", "-map_metadata", "-1", "-movflags", "+faststart"]).format("mp4");
    let output = format!("{}/video.mp4", names::OUTPUTS);
    command.output(format!("file:{output}"));
    Step::new("mp4", command, vec![output], seconds)
}

/// The runs that make the others, each of files that are in the folder of outputs by then.
pub(super) fn steps(sizes: &[Size], seconds: f64, sheet: Option<&Sheet>, profile: &Profile) -> Vec<Step> {
    let mut steps = Vec::new();
    let output = |file: &str| format!("{}/{file}", names::OUTPUTS);
    let Some(largest) = sizes.first() else { return steps };
    if profile.poster {
        let mut command = begun("level+warning");
        // Not the first frame, which is often black; and never one after the end, which would be none.
        if seconds >= 1.0 {
            command.seek(format!("{:.3}", f64::min(seconds / 4.0, 10.0)));
        }
        command.args(guard()).input(format!("file:{}", output(&largest.file())));
        command.args(["-vf", "thumbnail=30", "-frames:v", "1", "-update", "1", "-q:v", "3"]).format("image2");
        command.output(format!("file:{}", output("poster.jpg")));
        steps.push(Step::new("poster", command, vec![output("poster.jpg")], 1.0));
    }
    if let (Some(sheet), Some(smallest)) = (sheet, sizes.last()) {
        let Sheet { every, columns, rows, width, height, .. } = sheet;
        let mut command = begun("level+warning");
        command
            .args(guard())
            .args(["-skip_frame", "nokey"])
            .input(format!("file:{}", output(&smallest.file())));
        let filter = format!(
            "select=not(mod(n\\,{every})),scale={width}:{height}:flags=fast_bilinear,setsar=1,\
             tile={columns}x{rows}"
        );
        command
            .args(["-vf", &filter, "-fps_mode", "passthrough", "-frames:v", "1", "-update", "1", "-q:v", "5"])
            .format("image2");
        command.output(format!("file:{}", output("storyboard.jpg")));
        steps.push(Step::new("storyboard", command, vec![output("storyboard.jpg")], seconds));
    }
    steps
}
