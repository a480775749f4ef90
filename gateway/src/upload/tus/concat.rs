//! Concatenation: uploads that are pieces of another one.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use seekway_catalog::{Concat, UploadId};
use seekway_storage::{ObjectKey, ObjectStore};

use super::super::{Body, BodyError, Refusal, Uploads, names};
use super::location;
use crate::caller::Caller;
use crate::respond::Problem;

/// More pieces than this are a mistake.
const PIECES_MAX: usize = 1000;

/// Reads `Upload-Concat`.
pub(super) fn parse(header: &str) -> Result<Concat, Problem> {
    if header.trim() == "partial" {
        return Ok(Concat::Partial);
    }
    let wrong = || Refusal::Bad("Upload-Concat is `partial`, or `final;` and the URLs of the pieces.").into();
    let urls = header.trim().strip_prefix("final;").ok_or_else(wrong)?;
    let id = |url: &str| url.trim_end_matches('/').rsplit('/').next().and_then(UploadId::parse);
    let pieces: Option<Vec<_>> = urls.split_ascii_whitespace().map(id).collect();
    let pieces = pieces.filter(|pieces| !pieces.is_empty() && pieces.len() <= PIECES_MAX);
    pieces.map(Concat::Final).ok_or_else(wrong)
}

/// As [`parse`] reads it.
pub(super) fn text(concat: &Concat) -> String {
    match concat {
        Concat::Partial => "partial".to_owned(),
        Concat::Final(pieces) => {
            let urls: Vec<_> = pieces.iter().map(|id| location(*id)).collect();
            format!("final;{}", urls.join(" "))
        }
    }
}

/// Bytes of all pieces together. All of them must be whole.
pub(super) async fn length(
    uploads: &Uploads,
    caller: Caller,
    concat: Option<&Concat>,
) -> Result<u64, Problem> {
    let Some(Concat::Final(pieces)) = concat else { return Ok(0) };
    let mut sum = 0_u64;
    for id in pieces {
        let piece = uploads.get(caller, *id).await?;
        if !matches!(piece.concat, Some(Concat::Partial)) || piece.length != Some(piece.offset) {
            return Err(
                Refusal::Bad("Only whole uploads that were begun as partial can be concatenated.").into()
            );
        }
        sum = sum.saturating_add(piece.offset);
    }
    Ok(sum)
}

/// The bytes of all pieces from `offset` on, one piece after the other, read as they are wanted.
pub(super) async fn body(
    uploads: &Uploads,
    caller: Caller,
    pieces: Vec<UploadId>,
    offset: u64,
) -> Result<Body, Problem> {
    let mut objects: Vec<(ObjectKey, Range<u64>)> = Vec::new();
    let mut before = offset;
    for id in pieces {
        let piece = uploads.get(caller, id).await?;
        let key = ObjectKey::new(&piece.key).map_err(|_| Refusal::Gone)?;
        let parts = uploads.catalog().uploads().parts(id).await?;
        for part in parts {
            let skipped = before.min(part.bytes);
            before -= skipped;
            objects.push((names::part(&key, part.number), skipped..part.bytes));
        }
    }
    let store = uploads.inner.store.clone();
    objects.retain(|(_, range)| !range.is_empty());
    let chunks =
        stream::iter(objects).then(move |(key, range)| read(store.clone(), key, range)).try_flatten();
    Ok(Box::pin(chunks))
}

async fn read(
    store: Arc<dyn ObjectStore>,
    key: ObjectKey,
    range: Range<u64>,
) -> Result<impl futures_util::Stream<Item = Result<Bytes, BodyError>> + Send, BodyError> {
    let got = store.get(&key, range.clone(), None).await.map_err(BodyError::from)?;
    if got.range != range {
        return Err("a piece is shorter than it was".into());
    }
    Ok(got.body.map_err(BodyError::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_names_pieces() {
        let (one, two) = ("8c2f3a1e-1111-4111-8111-111111111111", "8c2f3a1e-2222-4222-8222-222222222222");
        assert!(matches!(parse("partial"), Ok(Concat::Partial)));
        let read =
            parse(&format!("final;/api/uploads/{one} https://a.example/api/uploads/{two}")).expect("two");
        assert_eq!(text(&read), format!("final;/api/uploads/{one} /api/uploads/{two}"));
        for bad in ["", "final", "final;", "final;/api/uploads/x", "Partial", &format!("final:{one}")] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
