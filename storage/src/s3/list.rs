//! Listing, page by page, in the server's order: AWS sorts by the bytes of the key.

use std::borrow::Cow;

use aws_sdk_s3::types::{EncodingType, Object as Listed};
use percent_encoding::percent_decode_str;

use super::S3Store;
use super::errors::from_sdk;
use crate::{Error, ListEntry, Listing, ObjectKey, Page};

/// S3's limit.
pub(super) const KEYS_MAX: usize = 1000;

/// A page may hold fewer keys than its limit, even none, and not be the last: keys that are no [`ObjectKey`]
/// are left out.
pub(super) async fn list(store: &S3Store, prefix: &str, page: Page) -> Result<Listing, Error> {
    let limit = i32::try_from(page.limit.clamp(1, KEYS_MAX)).expect("1000 fits");
    let listed = store
        .client
        .list_objects_v2()
        .bucket(&*store.bucket)
        .prefix(prefix)
        .max_keys(limit)
        .set_continuation_token(page.after)
        // XML cannot carry every character that a key may have.
        .encoding_type(EncodingType::Url)
        .customize()
        .config_override(store.read_config.clone())
        .send()
        .await
        .map_err(|error| from_sdk(&store.bucket, error))?;
    // A server that does not know the parameter does not echo it, and sends plain text.
    let is_encoded = listed.encoding_type() == Some(&EncodingType::Url);
    let entries = listed.contents().iter().filter_map(|object| entry(object, is_encoded)).collect();
    let next = listed.next_continuation_token.filter(|_| listed.is_truncated == Some(true));
    Ok(Listing { entries, next })
}

fn entry(object: &Listed, is_encoded: bool) -> Option<ListEntry> {
    Some(ListEntry {
        key: key(object.key()?, is_encoded)?,
        size: object.size().and_then(|size| u64::try_from(size).ok())?,
        last_modified: object.last_modified().and_then(|time| (*time).try_into().ok()),
    })
}

/// A listed key; `None` if it is no [`ObjectKey`].
fn key(listed: &str, is_encoded: bool) -> Option<ObjectKey> {
    if is_encoded { ObjectKey::new(&decode(listed)?).ok() } else { ObjectKey::new(listed).ok() }
}

/// Undoes S3's form encoding, in which a plus is a space. `None` if the bytes are no UTF-8.
fn decode(key: &str) -> Option<String> {
    let spaced: Cow<'_, str> = if key.contains('+') { key.replace('+', " ").into() } else { key.into() };
    Some(percent_decode_str(&spaced).decode_utf8().ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decoded_once() {
        for (encoded, key) in [
            ("a/b", "a/b"),
            ("a+b", "a b"),
            ("a%2Bb", "a+b"),
            ("100%25", "100%"),
            ("%252B", "%2B"),
            ("%E6%97%A5", "日"),
            ("%01", "\u{1}"),
        ] {
            assert_eq!(decode(encoded).as_deref(), Some(key));
        }
        assert_eq!(decode("%FF"), None);
    }
}
