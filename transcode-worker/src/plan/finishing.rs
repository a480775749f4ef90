//! What is made of finished renditions: one file to download, a poster, and a storyboard. Nothing is encoded again.

use crate::profile::Profile;

use super::command::{AUDIO, Step, begun};
use super::{Size, names};

/// A storyboard: one sheet of small pictures, one picture after each so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sheet {
    /// Seconds from picture to picture: a multiple of the time between keyframes, since only those are decoded.
    pub interval: u32,
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
const PICTURES_MAX: f64 = 100.0;
const COLUMNS: u32 = 10;
/// The longer side of one.
const PICTURE_PIXELS: u32 = 160;

/// The storyboard of what takes so long.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(super) fn sheet(sizes: &[Size], seconds: f64, profile: &Profile) -> Sheet {
    let keyframes = f64::from(profile.keyframe_seconds);
    let groups = (seconds / keyframes / PICTURES_MAX).ceil().max(1.0);
    let interval = (groups * keyframes) as u32;
    let pictures = (seconds / f64::from(interval)).ceil().clamp(1.0, PICTURES_MAX) as u32;
    let columns = pictures.min(COLUMNS);
    let Size { width, height, .. } = *sizes.last().expect("there is a picture");
    let even = |side: u32| (PICTURE_PIXELS * side / width.max(height)).max(2) & !1;
    Sheet { interval, columns, rows: pictures.div_ceil(columns), width: even(width), height: even(height) }
}

/// The runs that make them, each of files that are in the folder of outputs by then.
pub(super) fn steps(
    sizes: &[Size],
    has_audio: bool,
    seconds: f64,
    sheet: Option<&Sheet>,
    profile: &Profile,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let output = |file: &str| format!("{}/{file}", names::OUTPUTS);
    if profile.mp4 {
        let mut command = begun("level+warning");
        let files = sizes.first().map(Size::file).into_iter().chain(has_audio.then(|| AUDIO.to_owned()));
        let files: Vec<_> = files.collect();
        for file in &files {
            command.input(format!("file:{}", output(file)));
        }
        for nth in 0..files.len() {
            command.map(format!("{nth}:0"));
        }
        command.args(["-c", "copy", "-map_metadata", "-1", "-movflags", "+faststart"]).format("mp4");
        command.output(format!("file:{}", output("video.mp4")));
        steps.push(Step::new("mp4", command, vec![output("video.mp4")], seconds));
    }
    let Some(largest) = sizes.first() else { return steps };
    if profile.poster {
        let mut command = begun("level+warning");
        // Not the first frame, which is often black; and never one after the end, which would be none.
        command.seek(format!("{:.3}", f64::min(seconds / 4.0, 10.0)));
        command.input(format!("file:{}", output(&largest.file())));
        command.args(["-vf", "thumbnail=30", "-frames:v", "1", "-update", "1", "-q:v", "3"]).format("image2");
        command.output(format!("file:{}", output("poster.jpg")));
        steps.push(Step::new("poster", command, vec![output("poster.jpg")], 1.0));
    }
    if let (Some(sheet), Some(smallest)) = (sheet, sizes.last()) {
        let Sheet { interval, columns, rows, width, height } = sheet;
        let mut command = begun("level+warning");
        command.args(["-skip_frame", "nokey"]).input(format!("file:{}", output(&smallest.file())));
        let filter = format!(
            "fps=1/{interval}:round=near:start_time=0,scale={width}:{height}:flags=fast_bilinear,setsar=1,\
             tile={columns}x{rows}"
        );
        command.args(["-vf", &filter, "-frames:v", "1", "-update", "1", "-q:v", "5"]).format("image2");
        command.output(format!("file:{}", output("storyboard.jpg")));
        steps.push(Step::new("storyboard", command, vec![output("storyboard.jpg")], seconds));
    }
    steps
}
