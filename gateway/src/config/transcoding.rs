//! Settings about what becomes of videos once they are here.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use super::Config;
use super::values::limit;
use seekway_settings::{Settings, Stop};

pub(super) const TRANSCODING: &str = "Transcoding";

const PROFILE_BYTES_MAX: usize = 64;

/// What becomes of videos once they are here.
#[derive(Debug, Clone, clap::Args)]
pub struct TranscodingSettings {
    /// Who makes what plays everywhere of videos; embedded: a worker that this gateway starts and keeps running; external:
    /// workers elsewhere; off: nobody, videos play as they are; auto: with PostgreSQL workers elsewhere; with SQLite, where
    /// videos can be uploaded, a worker of its own if `transcode-worker` lies beside the gateway and ffmpeg is installed;
    /// else nobody
    #[arg(long, env = "SEEKWAY_TRANSCODING", value_name = "WHO", default_value = "auto", help_heading = TRANSCODING)]
    transcoding: TranscodingMode,

    /// By which of the workers' profiles, where an uploader names no other
    #[arg(long, env = "SEEKWAY_TRANSCODING_PROFILE", value_name = "NAME", default_value = "default")]
    #[arg(value_parser = profile, help_heading = TRANSCODING)]
    pub transcoding_profile: String,

    /// How long after an attempt at a video what it left behind is looked for once more: longer than the store takes to
    /// finish a request that was under way then
    #[arg(long, env = "SEEKWAY_LEFTOVERS_GRACE", value_name = "TIME", default_value = "10m")]
    #[arg(value_parser = limit, help_heading = TRANSCODING)]
    leftovers_grace: humantime::Duration,

    /// How often how much there is to do is written to stdout as a line of JSON of which `CloudWatch` makes metrics (its
    /// embedded metric format); never without it
    #[arg(long, env = "SEEKWAY_EMF_EVERY", value_name = "TIME", value_parser = limit, help_heading = TRANSCODING)]
    emf_every: Option<humantime::Duration>,
}

/// Who makes what plays everywhere of videos.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum TranscodingMode {
    Auto,
    Embedded,
    External,
    Off,
}

/// The same, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transcoding {
    /// The worker at this path, which the gateway runs.
    Embedded(PathBuf),
    /// Workers elsewhere.
    External,
    /// Nobody.
    Off,
}

// === impl Transcoding ===

/// In the words of the setting.
impl fmt::Display for Transcoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedded(_) => "embedded",
            Self::External => "external",
            Self::Off => "off",
        })
    }
}

// === impl TranscodingSettings ===

impl TranscodingSettings {
    /// How long after its end an attempt may still have a request under way at the store.
    pub(crate) fn leftovers_grace_ms(&self) -> i64 {
        i64::try_from(self.leftovers_grace.as_millis()).unwrap_or(i64::MAX)
    }

    /// How often `CloudWatch` is told how much there is to do.
    pub(crate) fn emf_every(&self) -> Option<Duration> {
        self.emf_every.map(Into::into)
    }

    /// Work needs a database that says what there is to do.
    pub(super) fn check(&self, settings: &Settings, has_catalog: bool) -> Result<(), Stop> {
        let is_wanted = matches!(self.transcoding, TranscodingMode::Embedded | TranscodingMode::External);
        if is_wanted && !has_catalog {
            let why = "it needs videos: uploads that are on, or a --database-url (DATABASE_URL)";
            return Err(settings.wrong("transcoding", why));
        }
        Ok(())
    }
}

// === impl Config ===

impl Config {
    /// Who processes videos here, and why. `worker` is the program to run, or why there is none.
    ///
    /// # Errors
    /// Where the setting asks for a worker that cannot be run.
    pub(crate) fn transcoding(
        &self,
        worker: impl FnOnce() -> Result<PathBuf, String>,
    ) -> Result<(Transcoding, String), String> {
        let chosen = |who| Ok((who, "it is set".to_owned()));
        let off = |why: &str| Ok((Transcoding::Off, why.to_owned()));
        match self.transcoding.transcoding {
            TranscodingMode::Off => chosen(Transcoding::Off),
            TranscodingMode::External => chosen(Transcoding::External),
            TranscodingMode::Embedded => chosen(Transcoding::Embedded(worker()?)),
            TranscodingMode::Auto if !self.has_catalog() => off("there is no database"),
            TranscodingMode::Auto if !self.database.is_embedded() => {
                Ok((Transcoding::External, "workers share the PostgreSQL database".to_owned()))
            }
            TranscodingMode::Auto if !self.takes_uploads() => off("nobody can upload"),
            TranscodingMode::Auto => match worker() {
                Ok(program) => {
                    Ok((Transcoding::Embedded(program), "a worker and ffmpeg are installed".to_owned()))
                }
                Err(why) => off(&why),
            },
        }
    }
}

/// Whether a profile could have that name. Which there are is the workers' to know.
pub(crate) fn is_profile(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=PROFILE_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_plain)
}

fn profile(text: &str) -> Result<String, &'static str> {
    if is_profile(text) { Ok(text.to_owned()) } else { Err("1 to 64 lower-case letters, digits and dashes") }
}

#[cfg(test)]
mod tests {
    use seekway_settings::Configuration;

    use super::*;

    /// Who it is where a worker can be run, and where none can; without `why`.
    #[track_caller]
    fn check(args: &[&str], with_worker: Option<&str>, without: Option<&str>) {
        let config = Config::from_args(["gateway"].iter().chain(args), |_| None);
        let config = config.unwrap_or_else(|stop| panic!("{stop}"));
        let decided = |worker: Result<PathBuf, String>| {
            config.transcoding(|| worker).ok().map(|(who, _)| who.to_string())
        };
        assert_eq!(decided(Ok("/bin/true".into())).as_deref(), with_worker, "{args:?} with a worker");
        assert_eq!(decided(Err("none".to_owned())).as_deref(), without, "{args:?} without a worker");
    }

    #[test]
    fn who_processes_videos_follows_from_what_there_is() {
        let (embedded, external, off) = (Some("embedded"), Some("external"), Some("off"));
        let (postgres, sqlite) = ("--database-url=postgres://db/x", "--database-url=sqlite:x.db");
        check(&[], embedded, off);
        check(&[sqlite], embedded, off);
        check(&["--uploads=off", "--accounts=off"], off, off);
        check(&["--uploads=off", sqlite], off, off);
        check(&[postgres], external, external);
        check(&[postgres, "--uploads=off"], external, external);
        for database in [postgres, sqlite] {
            check(&[database, "--transcoding=embedded"], embedded, None);
            check(&[database, "--transcoding=external"], external, external);
            check(&[database, "--transcoding=off"], off, off);
        }
    }

    #[test]
    fn profiles_have_plain_names() {
        for good in ["default", "a", "1080p-only", &"x".repeat(64)] {
            assert!(is_profile(good), "{good}");
        }
        for bad in ["", "Default", "a b", "a/b", "é", "a_b", &"x".repeat(65)] {
            assert!(!is_profile(bad), "{bad}");
        }
    }
}
