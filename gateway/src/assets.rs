//! Assets, as the API shows them: watermarks, intros and outros of whoever asks, at `/api/assets`.

use http::{Response, StatusCode};
use percent_encoding::utf8_percent_encode;
use seekway_catalog::{Asset, AssetId, AssetKind, AssetState, Catalog, Error};
use serde::Serialize;
use utoipa::ToSchema;

use crate::accounts::Refusal;
use crate::caller::Caller;
use crate::delivery::body::Payload;
use crate::json;
use crate::objects::PATH;
use crate::respond::Problem;
use crate::routes::{BadQuery, VIDEOS_LIMIT_MAX, limit, parameter};
use crate::videos::timestamp;

/// Without a `limit`.
const LIMIT_DEFAULT: usize = 20;

/// A watermark, an intro or an outro.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Asset)]
pub(crate) struct AssetDocument {
    /// Its name.
    #[schema(format = "uuid")]
    id: String,
    /// What it is for.
    kind: KindWord,
    /// What people call it.
    title: String,
    /// Where its owner sees it.
    url: String,
    /// Its length in bytes.
    #[schema(minimum = 0)]
    size: u64,
    /// Its media type.
    content_type: Option<String>,
    /// When it was added.
    #[schema(format = "date-time")]
    created: String,
}

/// A page of assets.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Assets)]
pub(crate) struct AssetsDocument {
    /// Newest first.
    assets: Vec<AssetDocument>,
    /// `after` of the next page; none on the last one.
    #[schema(format = "uuid")]
    next: Option<String>,
}

/// What an asset is for: an image over a video, what is played before one, what is played after one.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = AssetKind)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KindWord {
    Watermark,
    Intro,
    Outro,
}

/// Answers `?after=&limit=`: those of the caller.
pub(crate) async fn list(
    catalog: &Catalog,
    caller: Caller,
    query: Option<&str>,
) -> Result<Response<Payload>, Problem> {
    let query = query.unwrap_or_default();
    let after = parameter(query, "after").map_err(Problem::BadQuery)?;
    let after =
        after.map(|text| AssetId::parse(&text).ok_or(Problem::BadQuery(BadQuery::After))).transpose()?;
    let limit = limit(query, LIMIT_DEFAULT, VIDEOS_LIMIT_MAX).map_err(Problem::BadQuery)?;
    let limit = limit.ok_or(Problem::BadQuery(BadQuery::VideosLimit))?;
    let owner = match caller {
        Caller::Stranger => return Err(Refusal::LogInFirst.into()),
        caller => caller.account(),
    };
    // One more than is shown says whether there is a next page.
    let wanted = u32::try_from(limit + 1).expect("a limit is small");
    let mut assets = catalog.assets().of_account(owner, after, wanted).await?;
    let more = assets.len() > limit;
    assets.truncate(limit);
    let next = assets.last().filter(|_| more).map(|asset| asset.id.to_string());
    let assets = assets.into_iter().map(AssetDocument::from).collect();
    Ok(json::response(StatusCode::OK, &AssetsDocument { assets, next }))
}

/// One asset.
pub(crate) async fn get(
    catalog: &Catalog,
    caller: Caller,
    id: AssetId,
) -> Result<Response<Payload>, Problem> {
    let asset = owned(catalog, caller, id).await?;
    Ok(json::response(StatusCode::OK, &AssetDocument::from(asset)))
}

/// Deletes it; its object goes soon.
pub(crate) async fn delete(
    catalog: &Catalog,
    caller: Caller,
    id: AssetId,
) -> Result<Response<Payload>, Problem> {
    owned(catalog, caller, id).await?;
    catalog.assets().delete(id).await.map_err(of_asset)?;
    Ok(json::done())
}

/// The asset, if it is the caller's; to anybody else it is not there.
async fn owned(catalog: &Catalog, caller: Caller, id: AssetId) -> Result<Asset, Problem> {
    let asset = catalog.assets().get(id).await.map_err(of_asset)?;
    let is_there = asset.state == AssetState::Ready && caller.owns(asset.owner);
    if is_there { Ok(asset) } else { Err(Problem::NoAsset) }
}

fn of_asset(error: Error) -> Problem {
    match error {
        Error::NotFound => Problem::NoAsset,
        error => error.into(),
    }
}

impl From<Asset> for AssetDocument {
    fn from(asset: Asset) -> Self {
        let source = asset.source;
        Self {
            id: asset.id.to_string(),
            kind: match asset.kind {
                AssetKind::Watermark => KindWord::Watermark,
                AssetKind::Intro => KindWord::Intro,
                AssetKind::Outro => KindWord::Outro,
            },
            title: asset.title,
            url: format!("/media/{}", utf8_percent_encode(&source.key, PATH)),
            size: source.size,
            content_type: source.content_type,
            created: timestamp(asset.created_ms),
        }
    }
}
