//! Records of objects. The input is a record as another replica wrote it, once its seal is broken.

use http::HeaderValue;
use seekway_cache::redis::records::{decode, encode};

/// See the module.
pub fn check(data: &[u8]) {
    let Some((object, fresh)) = decode(data) else { return };
    // What goes into a response's head, and into sums of offsets.
    let etag = &object.version.etag;
    assert!(HeaderValue::from_str(etag).is_ok() && etag.starts_with('"'), "{etag:?} is no strong tag");
    assert!(i64::try_from(object.size).is_ok(), "{} bytes", object.size);
    let (again, still) = decode(&encode(&object, fresh)).expect("our own");
    assert_eq!((&again.version, again.size), (&object.version, object.size));
    assert_eq!((&again.attributes, again.last_modified), (&object.attributes, object.last_modified));
    // A record of no time would be none; it is written with a millisecond.
    assert_eq!(still, fresh.max(std::time::Duration::from_millis(1)));
}
