//! What workers tell each other of jobs that were split: as JSON in the catalog, which does not read it.
//!
//! A chunk's brief is complete: what ffmpeg is told was decided when the video was split, so that all chunks are encoded alike
//! whatever the worker's profiles say by then.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::outputs::{Input, Output, Run};
use crate::plan::{Cut, Plan, Step};
use crate::problem::Problem;
use crate::profile::Reference;

/// What a job is, where it is not all that its profile makes of the video.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Brief {
    /// Some frames of all renditions.
    Chunk(Box<Chunk>),
    /// The sound.
    Sound,
    /// To put parts together.
    Join(Box<Join>),
    /// All of it, and not in parts, because of this.
    Whole(String),
}

/// Some frames of all renditions.
#[derive(Debug, Serialize, Deserialize)]
pub struct Chunk {
    /// Which.
    pub cut: Cut,
    /// Makes them.
    pub encode: Step,
    /// Decodes what was made.
    pub check: Step,
    /// Of the version that was split.
    pub etag: String,
    /// The bytes of it that are enough, where that is known.
    pub spans: Option<Vec<Range<u64>>>,
    /// What is laid over it, and its SHA-256.
    pub watermark: Option<(Reference, String)>,
}

/// What becomes of the parts.
#[derive(Debug, Serialize, Deserialize)]
pub struct Join {
    /// What the whole has to be.
    pub plan: Plan,
    /// What it is made of.
    pub inputs: Vec<Input>,
}

/// What a part has made.
#[derive(Debug, Serialize, Deserialize)]
pub struct Made {
    /// Files below the attempt's prefix.
    pub outputs: Vec<Output>,
    /// What was run.
    pub runs: Vec<Run>,
}

// === impl Brief ===

impl Brief {
    /// As the catalog keeps it.
    pub fn json(&self) -> String {
        json(self)
    }

    /// Reads what [`json`](Self::json) writes.
    ///
    /// # Errors
    /// It is another worker's: those that are older or newer may say other things.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        parse(text)
    }
}

// === impl Made ===

impl Made {
    /// See [`Brief::json`].
    pub fn json(&self) -> String {
        json(self)
    }

    /// See [`Brief::parse`].
    ///
    /// # Errors
    /// As there.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        parse(text)
    }
}

fn json(said: &impl Serialize) -> String {
    serde_json::to_string(said).expect("it is all text and numbers")
}

fn parse<'t, T: Deserialize<'t>>(text: &'t str) -> Result<T, Problem> {
    serde_json::from_str(text).map_err(|error| {
        let text = "this worker does not understand what another one says of the job";
        Problem::infrastructure(text).because(error.to_string())
    })
}
