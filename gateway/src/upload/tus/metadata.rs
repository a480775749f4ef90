//! `Upload-Metadata`: pairs of a key and a value in Base64.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use seekway_catalog::Purpose;

use super::super::Refusal;
use crate::respond::Problem;

/// Some clients leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// More is no description of a file.
const BYTES_MAX: usize = 4096;

/// What a client says of its file.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    raw: String,
    pairs: Vec<(String, String)>,
}

// === impl Metadata ===

impl Metadata {
    /// Reads the header's value. A key comes once; a value need not be there.
    pub(crate) fn parse(raw: &str) -> Result<Self, Problem> {
        if raw.len() > BYTES_MAX {
            return Err(Refusal::Bad("Upload-Metadata is at most 4096 bytes long.").into());
        }
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in raw.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (key, encoded) = pair.split_once(' ').unwrap_or((pair, ""));
            let value = BASE64.decode(encoded.trim()).ok();
            let value = value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            let Some(value) = value.filter(|_| pairs.iter().all(|(other, _)| other != key)) else {
                let wrong = "Upload-Metadata is pairs of a key and a value in Base64, separated by commas.";
                return Err(Refusal::Bad(wrong).into());
            };
            pairs.push((key.to_owned(), value));
        }
        Ok(Self { raw: raw.to_owned(), pairs })
    }

    /// As it came, to be told again.
    pub(crate) fn raw(&self) -> &str {
        &self.raw
    }

    /// The file's name: tus-js-client and Uppy call it `filename` or `name`.
    pub(crate) fn name(&self) -> &str {
        self.first(&["filename", "name"]).unwrap_or_default()
    }

    pub(crate) fn title(&self) -> &str {
        self.first(&["title"]).unwrap_or_default()
    }

    pub(crate) fn media_type(&self) -> Option<&str> {
        self.first(&["filetype", "type", "contentType"])
    }

    /// A video, unless `purpose` says otherwise.
    pub(crate) fn purpose(&self) -> Result<Purpose, Problem> {
        let Some(word) = self.first(&["purpose"]) else { return Ok(Purpose::Video) };
        Purpose::parse(word)
            .ok_or_else(|| Refusal::Bad("The purpose is video, watermark, intro or outro.").into())
    }

    /// By which profile the video is to be processed.
    pub(crate) fn profile(&self) -> Option<&str> {
        self.first(&["profile"])
    }

    fn first(&self, keys: &[&str]) -> Option<&str> {
        let value =
            |key: &&str| self.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        keys.iter().find_map(value).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read() {
        let raw = "filename aG9saWRheS5tcDQ=,filetype dmlkZW8vbXA0, is_public ,title SGk";
        let metadata = Metadata::parse(raw).expect("well-formed");
        assert_eq!((metadata.name(), metadata.media_type()), ("holiday.mp4", Some("video/mp4")));
        assert_eq!((metadata.title(), metadata.raw()), ("Hi", raw));
        assert!(matches!(metadata.purpose(), Ok(Purpose::Video)));
        let metadata = Metadata::parse("name eA==,purpose d2F0ZXJtYXJr").expect("well-formed");
        assert!(metadata.name() == "x" && matches!(metadata.purpose(), Ok(Purpose::Watermark)));
        assert_eq!(Metadata::parse("").expect("none").name(), "");
        for bad in ["a ?", "a eA==,a eA==", &"x".repeat(5000)] {
            assert!(Metadata::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Metadata::parse("purpose eA==").expect("well-formed").purpose().is_err());
    }
}
