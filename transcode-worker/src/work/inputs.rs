//! What the work begins with: files that come from the store, and what is in them.

use std::path::{Path, PathBuf};

use seekway_catalog::{AssetId, Phase, Video};
use tokio::task::spawn_blocking;

use super::{Bench, PROBED_AT, WHOLE, share};
use crate::fetch::{Fetched, fetch};
use crate::ffmpeg::Programs;
use crate::outputs::Input;
use crate::plan::{AUDIO, ImageKind, Inputs, Plan, Size, names};
use crate::probe::{Limits, Packets, Probe, packets, streams};
use crate::problem::Problem;
use crate::profile::{Profile, Reference};

/// Bytes that ffprobe may say of a file's streams.
const HEADERS_MAX: usize = 4 * 1024 * 1024;

impl Bench<'_> {
    pub(super) async fn fetch_source(&mut self, video: &Video) -> Result<(), Problem> {
        let key = &video.source.key;
        self.meter.at(Phase::Fetching, 0.0, None, None);
        let to = self.path(names::SOURCE);
        let fetched = fetch(&self.tools.store, key, &to, |bytes, all| {
            self.meter.at(Phase::Fetching, PROBED_AT * share(bytes, all), None, None);
        });
        let fetched = fetched.await?;
        if video.source.sha256.as_ref().is_some_and(|sha256| *sha256 != fetched.sha256) {
            return Err(Problem::infrastructure(format!("{key:?} is not in the store as it was uploaded")));
        }
        self.inputs.push(Input::new("source", key, fetched));
        Ok(())
    }

    /// Fetches what the profile puts around the video, and finds out what is in all of it.
    pub(super) async fn inputs(&mut self, profile: &Profile) -> Result<Inputs, Problem> {
        self.meter.at(Phase::Probing, PROBED_AT, None, None);
        let source = self.probe(names::SOURCE).await?;
        let mut clips = [None, None];
        let around = [("intro", names::INTRO, &profile.intro), ("outro", names::OUTRO, &profile.outro)];
        for (probe, (what, file, clip)) in clips.iter_mut().zip(around) {
            if let Some(clip) = clip {
                self.fetch_reference(what, &clip.video, file).await.map_err(|problem| problem.about(what))?;
                *probe = Some(self.probe(file).await.map_err(|problem| problem.about(what))?);
            }
        }
        let mut watermark = None;
        if let Some(wanted) = &profile.watermark {
            let what = "watermark";
            self.fetch_reference(what, &wanted.image, names::WATERMARK)
                .await
                .map_err(|problem| problem.about(what))?;
            watermark = Some(image_kind(self.path(names::WATERMARK)).await?);
        }
        let [intro, outro] = clips;
        Ok(Inputs { source, intro, outro, watermark })
    }

    async fn fetch_reference(
        &mut self,
        what: &'static str,
        of: &Reference,
        file: &str,
    ) -> Result<(), Problem> {
        let to = self.path(file);
        let key = match of {
            Reference::File(path) => {
                let from = path.clone();
                let copied = spawn_blocking(move || {
                    let bytes = std::fs::copy(from, &to)?;
                    Ok(Fetched { bytes, etag: String::new(), sha256: crate::fetch::sha256(&to)? })
                });
                let copied: std::io::Result<Fetched> = copied.await.map_err(std::io::Error::other)?;
                let copied = copied.map_err(|error| Problem::input(format!("{path}: {error}")))?;
                self.inputs.push(Input::new(what, path, copied));
                return Ok(());
            }
            Reference::Object(key) => key.clone(),
            Reference::Asset(id) => {
                let unknown = || Problem::input(format!("there is no asset {id:?}"));
                let asset = self.tools.catalog.assets().get(AssetId::parse(id).ok_or_else(unknown)?).await;
                match asset {
                    Err(seekway_catalog::Error::NotFound) => return Err(unknown()),
                    asset => asset?.source.key,
                }
            }
        };
        let fetched = fetch(&self.tools.store, &key, &to, |_, _| {}).await?;
        self.inputs.push(Input::new(what, &key, fetched));
        Ok(())
    }

    async fn probe(&self, file: &str) -> Result<Probe, Problem> {
        probe(&self.tools.programs, &self.tools.limits, self.folder.path(), file).await
    }

    /// Where one rendition alone was made, the others are taken from what is published.
    pub(super) async fn fetch_published(
        &mut self,
        video: &Video,
        plan: &Plan,
        profile: &Profile,
    ) -> Result<(), Problem> {
        let Some(prefix) = &video.published_prefix else {
            return Err(Problem::input(
                "nothing is published of it, so no rendition of that can be made again",
            ));
        };
        let tracks = plan.renditions.iter().map(Size::file).chain(plan.has_audio.then(|| AUDIO.to_owned()));
        let tracks = tracks.map(|file| (names::ENCODED, file));
        let whole = (profile.mp4 && plan.whole.is_none()).then(|| (names::OUTPUTS, WHOLE.to_owned()));
        for (folder, file) in tracks.chain(whole) {
            let to = self.path(&format!("{folder}/{file}"));
            if !to.exists() {
                let key = format!("{prefix}{file}");
                let fetched = fetch(&self.tools.store, &key, &to, |_, _| {}).await?;
                self.inputs.push(Input::new("rendition", &key, fetched));
            }
        }
        Ok(())
    }
}

/// What is in a file of a folder, by its headers and by its packets.
///
/// # Errors
/// It cannot be processed.
pub async fn probe(
    programs: &Programs,
    limits: &Limits,
    folder: &Path,
    file: &str,
) -> Result<Probe, Problem> {
    let mut json = String::new();
    programs
        .probe(file, &streams::ARGUMENTS, folder, |line| {
            if json.len() < HEADERS_MAX {
                json.push_str(line);
            }
        })
        .await?;
    let probe = streams::parse(json.as_bytes(), limits)?;
    let mut packets = Packets::default();
    programs.probe(file, &packets::ARGUMENTS, folder, |line| packets.line(line)).await?;
    Ok(probe.measured(&packets, limits)?)
}

async fn image_kind(path: PathBuf) -> Result<ImageKind, Problem> {
    use tokio::io::AsyncReadExt as _;
    let mut first = Vec::new();
    tokio::fs::File::open(path).await?.take(8).read_to_end(&mut first).await?;
    if first.starts_with(b"\x89PNG\r\n\x1a\n") {
        Ok(ImageKind::Png)
    } else if first.starts_with(b"\xff\xd8\xff") {
        Ok(ImageKind::Jpeg)
    } else {
        Err(Problem::input("the watermark is neither PNG nor JPEG"))
    }
}
