//! What all answers for one version of an object say, made once.

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};
use seekway_cache::OpenObject;
use seekway_storage::ObjectKey;

use super::{Delivery, conditional, media_type};

/// Headers that depend on nothing but the version and the configuration.
pub(super) struct Template {
    /// Those that a 304 has, too (RFC 9110 §15.4.5).
    validators: Vec<(HeaderName, HeaderValue)>,
    /// Those of the bytes.
    representation: Vec<(HeaderName, HeaderValue)>,
    pub(super) media_type: HeaderValue,
}

// === impl Template ===

impl Template {
    /// The one for `object`.
    pub(super) fn of<'a>(delivery: &Delivery, key: &ObjectKey, object: &'a OpenObject) -> &'a Self {
        object.memo(|| Self::new(delivery, key, object))
    }

    fn new(delivery: &Delivery, key: &ObjectKey, object: &OpenObject) -> Self {
        let attributes = &object.object.attributes;
        // What a store gave is left out if it cannot be a header at all.
        let text = |value: Option<&str>| value.and_then(|value| HeaderValue::from_str(value).ok());
        let cache_control = text(attributes.cache_control.as_deref()).or_else(|| delivery.cache_control(key));
        let modified = object.object.last_modified.and_then(conditional::last_modified_value);
        let named = |pairs: Vec<(HeaderName, Option<HeaderValue>)>| {
            pairs.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
        };
        Self {
            validators: named(vec![
                (header::ETAG, text(Some(&object.object.version.etag))),
                (header::LAST_MODIFIED, modified),
                (header::CACHE_CONTROL, cache_control),
            ]),
            representation: named(vec![
                (header::ACCEPT_RANGES, Some(HeaderValue::from_static("bytes"))),
                (header::CONTENT_ENCODING, text(attributes.content_encoding.as_deref())),
                (header::CONTENT_LANGUAGE, text(attributes.content_language.as_deref())),
                (header::CONTENT_DISPOSITION, text(attributes.content_disposition.as_deref())),
            ]),
            media_type: media_type::for_key(key.as_str(), attributes.content_type.as_deref()),
        }
    }

    pub(super) fn add_validators(&self, headers: &mut HeaderMap) {
        headers.extend(self.validators.iter().cloned());
    }

    pub(super) fn add_representation(&self, headers: &mut HeaderMap) {
        headers.extend(self.representation.iter().cloned());
    }
}
