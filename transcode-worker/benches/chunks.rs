//! A film made whole and made in chunks, by real workers on this machine's processors: how long it takes, how large it becomes,
//! and how like the source it is. Run it by `make chunks`.
//!
//! One ffmpeg keeps few processors busy, so what chunks cost is seen with one worker, and what they save with more machines.

#[allow(dead_code)]
#[path = "../tests/worker/sources.rs"]
mod sources;
#[allow(dead_code)]
#[path = "../tests/worker/stand.rs"]
mod stand;

use std::path::{Path, PathBuf};
use std::time::Duration;

use seekway_catalog::JobState;
use tokio::time::{Instant, sleep};

use sources::{make, ssim};
use stand::Stand;

/// Scenes that begin at no keyframe of what is made, with a little grain: much more, and all of it is at `max_kbps`.
const FILM: &str = "-f lavfi -i testsrc2=size=1280x720:rate=30:duration=37,noise=alls=2:allf=t \
                    -f lavfi -i mandelbrot=size=1280x720:rate=30:end_scale=0.02:end_pts=900,trim=duration=23,noise=alls=2:allf=t \
                    -f lavfi -i gradients=size=1280x720:rate=30:duration=31:speed=0.05,noise=alls=3:allf=t \
                    -f lavfi -i sine=frequency=440:duration=91 \
                    -filter_complex [0:v]format=yuv420p,setsar=1[a];[1:v]format=yuv420p,setsar=1[b];[2:v]format=yuv420p,setsar=1[c];[a][b][c]concat=n=3[v] \
                    -map [v] -map 3:a -c:v libx264 -preset ultrafast -crf 18 -c:a aac film.mp4";
const WHOLE: [(&str, &str); 1] = [("SEEKWAY_CHUNK_ABOVE", "0")];
const CHUNKS: [(&str, &str); 2] = [("SEEKWAY_CHUNK_ABOVE", "30s"), ("SEEKWAY_CHUNK_LENGTH", "10s")];
/// Of the one rendition.
const TRACK: &str = "v720.mp4";
const LIKENESS: &str = "[0:v]settb=1/100,setpts=N[a];[1:v]settb=1/100,setpts=N[b];[a][b]ssim";

/// What came of one way to make it.
struct Ran {
    seconds: f64,
    bytes: f64,
    likeness: f64,
    folder: PathBuf,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let stand = Stand::new().await;
        let film = make(stand.folder.path(), FILM);
        println!("a film of 91 s in 1280x720, by the profile `default`; chunks of 10 s");
        println!("  {:26} {:>8} {:>12} {:>10}", "", "wall s", "bytes", "SSIM");
        let mut found: Vec<Ran> = Vec::new();
        for (name, workers, settings) in [
            ("whole, one worker", 1, &WHOLE[..]),
            ("in chunks, one worker", 1, &CHUNKS[..]),
            ("in chunks, two workers", 2, &CHUNKS[..]),
        ] {
            let ran = made(&stand, &film, workers, settings).await;
            println!("  {name:26} {:8.1} {:12.0} {:10.5}", ran.seconds, ran.bytes, ran.likeness);
            found.push(ran);
        }
        let [whole, one, two] = &found[..] else { unreachable!("there are three") };
        println!(
            "  chunks / whole: {:.3} of the time with one worker, {:.3} with two",
            one.seconds / whole.seconds,
            two.seconds / whole.seconds
        );
        println!(
            "  chunks / whole: {:.4} of the bytes; {:+.5} of SSIM",
            one.bytes / whole.bytes,
            one.likeness - whole.likeness
        );
        let alike = ssim(&one.folder.join(TRACK), &whole.folder.join(TRACK), LIKENESS);
        println!("  chunks beside whole: SSIM {alike:.5}");
    });
}

async fn made(stand: &Stand, film: &Path, workers: usize, settings: &[(&str, &str)]) -> Ran {
    let _workers: Vec<_> = (0..workers).map(|_| stand.worker(settings)).collect();
    // They have begun when they look for jobs.
    sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    let (_, job) = stand.job(film, "default").await;
    while stand.catalog.jobs().get(job).await.expect("it is there").state != JobState::Succeeded {
        assert!(began.elapsed() < Duration::from_mins(10), "it does not end");
        sleep(Duration::from_millis(50)).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    let folder = stand.published(job).await;
    let track = folder.join(TRACK);
    let bytes = u32::try_from(track.metadata().expect("it is there").len()).expect("it is short");
    Ran { seconds, bytes: f64::from(bytes), likeness: ssim(film, &track, LIKENESS), folder }
}
