//! The cues by which players find a picture for a moment in sheets of small pictures: `WebVTT` whose text is a file with a media
//! fragment (W3C Media Fragments §4.2.2), as video players commonly read them.

use std::{fmt::Write, time::Duration};

/// Sheets of small pictures, each filled row by row.
#[derive(Clone, Debug)]
pub struct Sheets {
    /// Their names, relative to the cues, in order.
    pub files: Vec<String>,
    /// Pictures in a row of a sheet.
    pub columns: u32,
    /// Rows of a sheet.
    pub rows: u32,
    /// Pixels of one picture.
    pub width: u32,
    /// Pixels of one picture.
    pub height: u32,
    /// From one picture to the next.
    pub interval: Duration,
}

/// Cues for `duration`: one picture after the other for as long as there are pictures. The last sheet may be partly empty.
pub fn storyboard_vtt(sheets: &Sheets, duration: Duration) -> String {
    let mut out = "WEBVTT\n".to_owned();
    let mut start = Duration::ZERO;
    for file in &sheets.files {
        for row in 0..sheets.rows {
            for column in 0..sheets.columns {
                if start >= duration || sheets.interval.is_zero() {
                    return out;
                }
                let end = (start + sheets.interval).min(duration);
                let (x, y) = (column * sheets.width, row * sheets.height);
                let (width, height) = (sheets.width, sheets.height);
                write!(out, "\n{} --> {}\n{file}#xywh={x},{y},{width},{height}\n", time(start), time(end))
                    .expect("a string takes any text");
                start = end;
            }
        }
    }
    out
}

fn time(at: Duration) -> String {
    let seconds = at.as_secs();
    format!("{:02}:{:02}:{:02}.{:03}", seconds / 3600, seconds / 60 % 60, seconds % 60, at.subsec_millis())
}
