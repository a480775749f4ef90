//! What the work begins with: files that come from the store, and what is in them.

use std::path::{Path, PathBuf};

use seekway_catalog::{AssetId, Phase, Video};
use tokio::task::spawn_blocking;

use super::{Bench, PROBED_AT, Tools, WHOLE, share};
use crate::fetch::{Fetched, fetch};
use crate::ffmpeg::Programs;
use crate::outputs::{self, Input};
use crate::plan::{ImageKind, Inputs, Plan, frame_rate, names};
use crate::probe::{Cadence, Limits, Packet, Packets, Probe, packets, streams};
use crate::problem::Problem;
use crate::profile::{Profile, Reference};

/// Bytes that ffprobe may say of a file's streams.
const HEADERS_MAX: usize = 4 * 1024 * 1024;

impl Bench<'_> {
    pub(super) async fn fetch_source(&mut self, video: &Video) -> Result<(), Problem> {
        let key = &video.source.key;
        let most = self.tools.programs.bounds.folder_bytes / 2;
        if video.source.size > most {
            let most = bytesize::ByteSize(most);
            return Err(Problem::input(format!("it is too large: at most {most} are processed")));
        }
        self.meter.at(Phase::Fetching, 0.0, None, None);
        let to = self.path(names::SOURCE);
        let fetched = fetch(&self.tools.store, key, &to, |bytes, all| {
            self.meter.at(Phase::Fetching, PROBED_AT * share(bytes, all), None, None);
        });
        let fetched = fetched.await?;
        if video.source.sha256.as_ref().is_some_and(|sha256| *sha256 != fetched.sha256) {
            return Err(Problem::infrastructure("it is not in the store as it was uploaded").because(key));
        }
        self.inputs.push(Input::new("source", fetched));
        Ok(())
    }

    /// Fetches what the profile puts around the video, and finds out what is in all of it.
    pub(super) async fn inputs(&mut self, profile: &Profile) -> Result<Inputs, Problem> {
        self.meter.at(Phase::Probing, PROBED_AT, None, None);
        let watch = |probe: &Probe| {
            let video = probe.video.as_ref().filter(|_| probe.is_indexed())?;
            // Where headers say no rate, packets do, when all have been read.
            (video.frame_rate.num > 0).then(|| Cadence::new(video.index, frame_rate(probe, profile)))
        };
        let may_split = self.may_split(profile);
        let Tools { programs, limits, .. } = self.tools;
        let looked = look(programs, limits, self.folder.path(), names::SOURCE, |probe| {
            if may_split { watch(probe) } else { None }
        });
        let (source, packets, cadence) = looked.await?;
        self.watched = cadence.map(|cadence| (cadence, packets));
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

    pub(super) async fn fetch_reference(
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
                    let mut from = std::fs::File::open(from).map_err(|error| {
                        Problem::infrastructure("its file is not on the worker").because(error.to_string())
                    })?;
                    let bytes = std::io::copy(&mut from, &mut std::fs::File::create_new(&to)?)?;
                    Ok::<_, Problem>(Fetched {
                        bytes,
                        etag: String::new(),
                        sha256: crate::fetch::sha256(&to)?,
                    })
                });
                let copied = copied.await.map_err(std::io::Error::other)??;
                self.inputs.push(Input::new(what, copied));
                return Ok(());
            }
            Reference::Object(key) => key.clone(),
            Reference::Asset(id) => {
                let unknown = || Problem::infrastructure(format!("there is no asset {id:?}"));
                let asset = self.tools.catalog.assets().get(AssetId::parse(id).ok_or_else(unknown)?).await;
                match asset {
                    Err(seekway_catalog::Error::NotFound) => return Err(unknown()),
                    asset => asset?.source.key,
                }
            }
        };
        let fetched = fetch(&self.tools.store, &key, &to, |_, _| {}).await?;
        self.inputs.push(Input::new(what, fetched));
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
        let made_by = video.published.as_deref().and_then(outputs::profile_of);
        if made_by.as_deref() != Some(self.job.profile.as_str()) {
            let made_by = made_by.unwrap_or_else(|| "another".to_owned());
            let text = format!(
                "what is published of it was made by the profile {made_by:?}: its renditions go with no other's"
            );
            return Err(Problem::input(text));
        }
        let tracks = plan.files().map(|file| (names::ENCODED, file));
        let whole = (profile.mp4 && plan.whole.is_none()).then(|| (names::OUTPUTS, WHOLE.to_owned()));
        for (folder, file) in tracks.chain(whole) {
            let to = self.path(&format!("{folder}/{file}"));
            if !to.exists() {
                let key = format!("{prefix}{file}");
                let fetched = fetch(&self.tools.store, &key, &to, |_, _| {}).await?;
                self.inputs.push(Input::new("rendition", fetched));
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
    look(programs, limits, folder, file, |_| None).await.map(|(probe, ..)| probe)
}

/// The same, with what the packets say besides to whom `watch` makes of the headers.
async fn look(
    programs: &Programs,
    limits: &Limits,
    folder: &Path,
    file: &str,
    watch: impl FnOnce(&Probe) -> Option<Cadence>,
) -> Result<(Probe, Packets, Option<Cadence>), Problem> {
    let mut json = String::new();
    programs
        .probe(file, &streams::ARGUMENTS, folder, |line| {
            if json.len() < HEADERS_MAX {
                json.push_str(line);
            }
        })
        .await?;
    let probe = streams::parse(json.as_bytes(), limits)?;
    let (mut packets, mut cadence) = (Packets::of(&probe.container), watch(&probe));
    let take = |line: &str| {
        if let Some(packet) = Packet::parse(line) {
            packets.take(&packet);
            if let Some(cadence) = &mut cadence {
                cadence.take(&packet);
            }
        }
    };
    programs.probe(file, &packets::ARGUMENTS, folder, take).await?;
    Ok((probe.measured(&packets, limits)?, packets, cadence))
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
