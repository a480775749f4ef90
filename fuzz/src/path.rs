//! Paths and queries. The input is a request target; what stands after its first `?` is the query.

use http::Uri;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use seekway_gateway::routes::{
    OBJECTS_LIMIT_MAX, Route, allowed_methods, decode, objects_query, wants_download,
};
use seekway_storage::KEY_BYTES_MAX;

/// See the module.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    check_path(path);
    check_query(query);
    // And as a request brings it.
    if let Ok(uri) = Uri::try_from(data) {
        check_path(uri.path());
        check_query(uri.query());
    }
}

fn check_path(path: &str) {
    let route = decode(path);
    assert_eq!(allowed_methods(&route).is_empty(), route == Route::NotFound, "{path:?}");
    match &route {
        Route::Media(key) => {
            let key = key.as_str();
            assert!((1..=KEY_BYTES_MAX).contains(&key.len()) && !key.contains('\0'), "{path:?}");
            let rest = path.strip_prefix("/media/").expect("only these are media");
            assert!(rest.contains('%') || rest == key, "{path:?} became {key:?}");
            let name = utf8_percent_encode(key, NON_ALPHANUMERIC);
            assert_eq!(decode(&format!("/media/{name}")), route, "another name of {key:?}");
        }
        Route::BadKey(why) => {
            assert!(path.starts_with("/media/") && !why.to_string().is_empty(), "{path:?}");
        }
        Route::ConsoleAsset(name) => {
            assert!(!name.contains(['/', '%']) && !name.starts_with('.'), "{path:?}");
        }
        Route::Upload(id) => assert_eq!(path, format!("/api/uploads/{id}")),
        Route::DirectUpload(id, _) => {
            assert!(path.starts_with(&format!("/api/uploads/direct/{id}")), "{path:?}");
        }
        Route::Video(id) => assert_eq!(path, format!("/api/videos/{id}")),
        Route::Asset(id) => assert_eq!(path, format!("/api/assets/{id}")),
        Route::VideoEvents(id) => assert_eq!(path, format!("/api/videos/{id}/events")),
        Route::VideoJobs(id) => assert_eq!(path, format!("/api/videos/{id}/jobs")),
        Route::Job(id) => assert_eq!(path, format!("/api/jobs/{id}")),
        Route::JobAction(id, _) => assert!(path.starts_with(&format!("/api/jobs/{id}/")), "{path:?}"),
        Route::Webhooks(_) => assert!(path.starts_with("/api/webhooks"), "{path:?}"),
        Route::Account(_) => assert!(path.starts_with("/api/auth/"), "{path:?}"),
        Route::Health
        | Route::Ready
        | Route::Objects
        | Route::Uploads
        | Route::DirectUploads
        | Route::Videos
        | Route::Jobs
        | Route::Assets
        | Route::Events
        | Route::OpenApi
        | Route::ConsoleState
        | Route::Console
        | Route::NotFound => {
            assert!(!path.starts_with("/media/"), "{path:?}");
        }
    }
}

fn check_query(query: Option<&str>) {
    wants_download(query);
    let Ok(asked) = objects_query(query) else { return };
    assert!((1..=OBJECTS_LIMIT_MAX).contains(&asked.limit));
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let after = asked.after.as_deref().unwrap_or_default();
    let again = format!("prefix={}&after={}&limit={}", encode(&asked.prefix), encode(after), asked.limit);
    // An empty page mark is none.
    let expected = Ok(seekway_gateway::routes::ObjectsQuery {
        after: asked.after.clone().filter(|after| !after.is_empty()),
        ..asked.clone()
    });
    assert_eq!(objects_query(Some(&again)), expected, "{query:?}");
}
