//! What is made of sources that differ in everything.

use std::path::Path;

use crate::sources::{make, probe, value};
use crate::stand::Stand;

/// Ten seconds that count their frames, with a tone.
const ORDINARY: &str = "-f lavfi -i testsrc2=size=1280x720:rate=30000/1001:duration=6 \
                        -f lavfi -i sine=frequency=440:duration=6 -c:v libx264 -preset ultrafast -c:a aac -shortest";

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("reads");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("reads").file_name().into_string().expect("text")).collect();
    names.sort();
    names
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
    }
    let video = stand.video(video).await;
    assert_eq!(video.published.expect("published").contains("\"hls\":\"master.m3u8\""), true);
    assert_eq!(names(&stand.scratch()), [""; 0]);
}
