//! Against a real S3 server.

use std::time::Duration;

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use futures_util::{StreamExt, stream};
use seekway_loadtests::client::Client;
use seekway_loadtests::seaweed::SeaweedFs;
use seekway_storage::s3::{S3Config, S3Store, StaticCredentials};
use seekway_storage::{Attributes, Error, ObjectStore, Part, PartNumber};

use crate::objects::{MIB, body, causes, eventually, failing_body, head, key, pattern, put, read_all};

pub(crate) fn config(endpoint: String, access_key: &str, secret_key: &str, bucket: &str) -> S3Config {
    S3Config {
        endpoint: Some(endpoint),
        region: Some("us-east-1".into()),
        force_path_style: true,
        credentials: Some(StaticCredentials {
            access_key_id: access_key.into(),
            secret_access_key: secret_key.into(),
            session_token: None,
        }),
        read_timeout: Duration::from_secs(20),
        ..S3Config::new(bucket)
    }
}

/// A server with an empty bucket, and the bucket as a store.
pub(crate) async fn bucket(name: &str) -> (SeaweedFs, S3Store) {
    let server = SeaweedFs::start().await.expect("SeaweedFS starts");
    server.create_bucket(name).await.expect("a bucket");
    let store =
        S3Store::connect(config(server.endpoint(), server.access_key(), server.secret_key(), name)).await;
    (server, store)
}

/// Another client of the same server, with no code of ours.
fn sdk(server: &SeaweedFs) -> aws_sdk_s3::Client {
    let keys = Credentials::new(server.access_key(), server.secret_key(), None, None, "test");
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .credentials_provider(keys)
        .endpoint_url(server.endpoint())
        .region(Region::new("us-east-1"))
        .force_path_style(true)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

/// Uploads that were begun and neither completed nor aborted.
async fn open_uploads(server: &SeaweedFs, bucket: &str) -> usize {
    sdk(server).list_multipart_uploads().bucket(bucket).send().await.expect("lists").uploads().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_upload_is_left_of_writes_that_failed() {
    let (server, store) = bucket("uploads").await;
    let name = key("object");
    let attributes = Attributes::default();
    let begun = store.create_multipart(&name, &attributes).await.expect("begins");
    assert_eq!(open_uploads(&server, "uploads").await, 1, "they are seen");
    store.abort_multipart(&name, &begun).await.expect("aborts");

    store.put(&name, &attributes, failing_body(&pattern(1, 17 * MIB))).await.expect_err("fails");
    assert_eq!(open_uploads(&server, "uploads").await, 0, "aborted before the error is returned");

    let endless = Box::pin(body(&pattern(2, 17 * MIB)).chain(stream::pending()));
    let mut put = Box::pin(store.put(&name, &attributes, endless));
    eventually("the upload has begun", async || {
        tokio::time::timeout(Duration::from_millis(10), &mut put).await.expect_err("the body never ends");
        open_uploads(&server, "uploads").await == 1
    })
    .await;
    drop(put);
    eventually("the upload is aborted", async || open_uploads(&server, "uploads").await == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attributes_come_back() {
    let (_server, store) = bucket("attributes").await;
    let attributes = Attributes {
        content_type: Some("video/mp4".into()),
        cache_control: Some("max-age=60".into()),
        content_encoding: Some("gzip".into()),
        content_disposition: Some("inline; filename=\"a.mp4\"".into()),
        content_language: Some("de".into()),
    };
    for length in [1, 9 * MIB] {
        store.put(&key("object"), &attributes, body(&pattern(3, length))).await.expect("stored");
        assert_eq!(head(&store, "object").await.attributes, attributes, "{length}");
        let get = store.get(&key("object"), 0..1, None).await.expect("reads");
        assert_eq!(get.object.attributes, attributes, "{length}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_keys_and_buckets_are_told_apart() {
    let (server, store) = bucket("refusals").await;
    put(&store, "object", b"x").await;
    let wrong = config(server.endpoint(), server.access_key(), "wrong", "refusals");
    let wrong = S3Store::connect(wrong).await;
    let object = key("object");
    for error in [wrong.head(&object).await.map(drop), wrong.get(&object, 0..1, None).await.map(drop)] {
        assert!(matches!(error, Err(Error::Forbidden(_))), "{error:?}");
    }
    let nowhere = config(server.endpoint(), server.access_key(), server.secret_key(), "nowhere");
    let nowhere = S3Store::connect(nowhere).await;
    let error = nowhere.get(&object, 0..1, None).await.expect_err("no bucket");
    assert!(matches!(error, Error::Other(_)), "{error:?}");
    let text = causes(&error);
    assert!(text.starts_with("404 NoSuchBucket: ") && text.ends_with("(bucket \"nowhere\")"), "{text}");
    let error = nowhere.head(&object).await.expect_err("no bucket");
    assert!(error.is_not_found(), "no body, so no code: {error:?}");
    // A bucket that is there has only missing objects.
    let missing = store.get(&key("missing"), 0..1, None).await.expect_err("no object");
    assert!(missing.is_not_found(), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_the_server_cannot_have_are_told() {
    let (_server, store) = bucket("keys").await;
    for name in ["../x", "a/../x", "./x", "..", "."] {
        let answers =
            [store.get(&key(name), 0..1, None).await.map(drop), store.head(&key(name)).await.map(drop)];
        for answer in answers {
            assert!(matches!(answer, Err(Error::InvalidKey(_))), "{name}: {answer:?}");
        }
    }
    // Others are keys like any other.
    for name in ["a\\b", &"x".repeat(1024), "\u{1}", "a\nb", "%2e%2e/x", "?", "a/", "/x", "a//x"] {
        let error = store.get(&key(name), 0..1, None).await.expect_err("not there");
        assert!(error.is_not_found(), "{name:?}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_of_a_versioned_bucket_are_told_apart() {
    let (server, store) = bucket("versioned").await;
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let request = sdk(&server).put_bucket_versioning().bucket("versioned").versioning_configuration(enabled);
    request.send().await.expect("enabled");
    let first = put(&store, "object", b"the same bytes").await;
    let object = head(&store, "object").await;
    assert!(first.version_id.is_some());
    assert_eq!(object.version, first);
    // Written again they have the same tag: what was pinned stays what it was, and is still served.
    let second = put(&store, "object", b"the same bytes").await;
    assert_ne!(first.version_id, second.version_id);
    assert_eq!(first.etag, second.etag);
    let get = store.get(&key("object"), 0..4, Some(&object)).await.expect("the same bytes");
    assert_eq!(get.object.version, first);
    assert_eq!(store.get(&key("object"), 0..4, None).await.expect("reads").object.version, second);
}

/// A client of its own stores parts with nothing but what it was given.
#[tokio::test]
async fn a_presigned_part_is_stored_with_its_length_and_no_other() {
    let (server, store) = bucket("presigned").await;
    let address = server.endpoint().trim_start_matches("http://").parse().expect("an address");
    let name = key("signed/ a part+1");
    let upload = store.create_multipart(&name, &Attributes::default()).await.expect("begins");
    let number = PartNumber::new(3).expect("a number");
    let minute = Duration::from_mins(1);
    let signed = store.presign_part(&name, &upload, number, 5, minute).await.expect("signs");
    assert!(signed.headers.is_empty(), "a browser has nothing to add: {:?}", signed.headers);
    let path = signed.url.strip_prefix(&server.endpoint()).expect("it is the server's");
    let put = async |path: &str, body: &'static [u8]| {
        let mut client = Client::connect(address).await.expect("connects");
        client.request(http::Method::PUT, path, &[], body).await.expect("answers").0
    };
    for (wrong, body) in [
        (path.to_owned(), b"longer".as_slice()),
        (path.to_owned(), b"less"),
        (path.replace("partNumber=3", "partNumber=4"), b"right"),
    ] {
        assert_eq!(put(&wrong, body).await.status, 403, "{wrong}");
    }
    let answer = put(path, b"right").await;
    assert_eq!(answer.status, 200);
    let listed = store.list_parts(&name, &upload, None).await.expect("lists").parts;
    let part = Part { number, etag: answer.header("etag").to_owned(), size: 5 };
    assert_eq!(listed, [part]);
    store.complete_multipart(&name, &upload, &listed).await.expect("completes");
    assert_eq!(read_all(&store, name.as_str()).await, b"right");
}
