//! `ListObjectsV2`, as far as a reader of a bucket needs it: prefix, page size, and where to go on.

use std::fmt::Write as _;

use super::{objects::Buckets, xml};

/// The query of a list request.
#[derive(Debug, Default)]
pub(super) struct Query {
    prefix: String,
    max_keys: Option<usize>,
    start_after: String,
    continuation_token: Option<String>,
    delimiter: Option<String>,
}

const MAX_KEYS: usize = 1000;

impl Query {
    /// Reads the parameters; `None` when this is no `list-type=2` request, or one with a delimiter, which
    /// nobody here needs and which must not be ignored silently.
    pub(super) fn parse(query: &str) -> Option<Self> {
        let mut parsed = Self::default();
        let mut is_v2 = false;
        for (name, value) in query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))) {
            // In a query, unlike in a path, a plus is a space.
            let value = xml::percent_decode(&value.replace('+', " "))?;
            match name {
                "list-type" => is_v2 = value == "2",
                "prefix" => parsed.prefix = value,
                "max-keys" => parsed.max_keys = Some(value.parse().ok()?),
                "start-after" => parsed.start_after = value,
                "continuation-token" => parsed.continuation_token = Some(value),
                "delimiter" if !value.is_empty() => parsed.delimiter = Some(value),
                _ => {}
            }
        }
        (is_v2 && parsed.delimiter.is_none()).then_some(parsed)
    }

    /// One page. The continuation token is the last key of the page before.
    pub(super) fn answer(&self, bucket: &str, buckets: &Buckets) -> String {
        let max_keys = self.max_keys.unwrap_or(MAX_KEYS).min(MAX_KEYS);
        let after = self.continuation_token.as_deref().unwrap_or(&self.start_after);
        let mut matching =
            buckets.list(bucket, after).filter(|(key, _)| key.starts_with(&self.prefix)).peekable();
        let mut contents = String::new();
        let mut count = 0;
        let mut last = "";
        while count < max_keys
            && let Some((key, object)) = matching.next()
        {
            count += 1;
            last = key;
            write!(
                contents,
                "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>{}</ETag><Size>{}</Size>\
                 <StorageClass>STANDARD</StorageClass></Contents>",
                xml::escape(key),
                humantime::format_rfc3339_millis(object.last_modified()),
                xml::escape(object.etag()),
                object.size(),
            )
            .expect("a String takes everything");
        }
        let truncated = max_keys > 0 && matching.peek().is_some();
        let next = if truncated {
            format!("<NextContinuationToken>{}</NextContinuationToken>", xml::escape(last))
        } else {
            String::new()
        };
        format!(
            "{}<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>{}</Name>\
             <Prefix>{}</Prefix><MaxKeys>{max_keys}</MaxKeys><KeyCount>{count}</KeyCount>\
             <IsTruncated>{truncated}</IsTruncated>{next}{contents}</ListBucketResult>",
            xml::DECLARATION,
            xml::escape(bucket),
            xml::escape(&self.prefix),
        )
    }
}
