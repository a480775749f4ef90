//! How large the renditions of a picture are.

use serde::{Deserialize, Serialize};

use crate::profile::{Profile, Ratio};

/// One rendition's size and bit rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Size {
    /// Of the whole picture, bars included; even.
    pub width: u32,
    /// See `width`.
    pub height: u32,
    /// libx264's constant rate factor.
    pub crf: u32,
    /// Kilobits a second at most.
    pub max_kbps: u32,
}

// === impl Size ===

impl Size {
    /// What people call it: `720p`, for its shorter side.
    pub fn name(&self) -> String {
        format!("{}p", self.width.min(self.height))
    }

    /// What its file is called.
    pub fn file(&self) -> String {
        format!("v{}.mp4", self.width.min(self.height))
    }
}

/// The renditions that the profile wants and a picture of this size has pixels for, the largest first. None is larger than
/// the picture, and there is at least one.
pub(super) fn sizes(shown: (u32, u32), profile: &Profile) -> Vec<Size> {
    let (wide, high) = frame(shown, profile.aspect);
    let natural = wide.min(high);
    let fits = profile.renditions.iter().filter(|rendition| f64::from(rendition.short_side) <= natural);
    let mut sizes: Vec<_> = fits
        .map(|rendition| {
            let by = f64::from(rendition.short_side) / natural;
            let (width, height) = (even(wide * by), even(high * by));
            Size { width, height, crf: rendition.crf, max_kbps: rendition.max_kbps }
        })
        .collect();
    if sizes.is_empty() {
        let least = profile.renditions.last().expect("a profile has at least one rendition");
        // A side of its own is not rounded up, or it would be scaled up.
        let fit = |side: f64, own: u32| even(if side > f64::from(own) { side } else { side - 0.5 });
        let (width, height) = (fit(wide, shown.0), fit(high, shown.1));
        sizes.push(Size { width, height, crf: least.crf, max_kbps: least.max_kbps });
    }
    sizes
}

/// The largest even size of a picture in a frame of the given size, with its own proportions.
pub(super) fn inside(shown: (u32, u32), frame: (u32, u32)) -> (u32, u32) {
    let by = f64::min(ratio(frame.0, shown.0), ratio(frame.1, shown.1));
    let fit = |side: u32, most: u32| even(f64::from(side) * by).min(most);
    (fit(shown.0, frame.0), fit(shown.1, frame.1))
}

/// The smallest frame of this aspect around a picture that is not scaled; turned where the picture is upright.
fn frame(shown: (u32, u32), aspect: Option<Ratio>) -> (f64, f64) {
    let (wide, high) = (f64::from(shown.0), f64::from(shown.1));
    let Some(Ratio { num, den }) = aspect else { return (wide, high) };
    let (long, short) = (f64::from(num.max(den)), f64::from(num.min(den)));
    let aspect = if high > wide { short / long } else { long / short };
    if wide / high > aspect { (wide, wide / aspect) } else { (high * aspect, high) }
}

fn ratio(a: u32, b: u32) -> f64 {
    f64::from(a) / f64::from(b.max(1))
}

/// The nearest even number, at least 2: H.264 with 4:2:0 has no odd sizes.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn even(side: f64) -> u32 {
    ((side / 2.0).round().clamp(1.0, f64::from(u16::MAX)) as u32) * 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profiles;

    fn all(shown: (u32, u32), profile: &str) -> Vec<(u32, u32)> {
        let profiles = Profiles::builtin();
        let profile = profiles.get(profile).expect("it is built in");
        sizes(shown, profile).iter().map(|size| (size.width, size.height)).collect()
    }

    #[test]
    fn none_is_larger_than_the_source_and_the_shorter_side_counts() {
        assert_eq!(all((1920, 1080), "ladder"), [(1920, 1080), (1280, 720), (854, 480), (640, 360)]);
        assert_eq!(all((1080, 1920), "ladder"), [(1080, 1920), (720, 1280), (480, 854), (360, 640)]);
        assert_eq!(all((1280, 544), "ladder"), [(1130, 480), (848, 360)]);
        assert_eq!(all((321, 181), "ladder"), [(320, 180)]);
        assert_eq!(all((1, 1), "ladder"), [(2, 2)]);
    }

    #[test]
    fn the_default_is_sixteen_to_nine_either_way() {
        assert_eq!(all((1920, 1080), "default"), [(1280, 720)]);
        assert_eq!(all((1080, 1920), "default"), [(720, 1280)]);
        assert_eq!(all((640, 480), "default"), [(854, 480)]);
        assert_eq!(all((1000, 1000), "default"), [(1280, 720)]);
    }

    #[test]
    fn what_is_inside_keeps_its_proportions() {
        assert_eq!(inside((640, 480), (1280, 720)), (960, 720));
        assert_eq!(inside((1920, 1080), (720, 1280)), (720, 406));
        assert_eq!(inside((3, 5000), (1280, 720)), (2, 720));
    }
}
