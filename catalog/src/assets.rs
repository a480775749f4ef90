//! Assets: watermarks, intros and outros, which are put on videos or around them.

use crate::database::{Database, Row, Write, args};
use crate::state::{states, words};
use crate::videos::Source;
use crate::{AccountId, AssetId, Error, State as _, changes, outbox};

words! {
    /// What an asset is for.
    AssetKind {
        /// An image over a video.
        Watermark = "watermark",
        /// What is played before a video.
        Intro = "intro",
        /// What is played after a video.
        Outro = "outro",
    }
}

states! {
    /// Where an asset stands.
    AssetState, "the asset" {
        /// It can be used.
        Ready = "ready",
        /// Its object is being deleted.
        Deleting = "deleting",
    }
    ways {
        Ready => Deleting,
    }
}

/// An asset to be.
#[derive(Debug, Clone)]
pub struct NewAsset {
    /// What it is for.
    pub kind: AssetKind,
    /// What people call it.
    pub title: String,
    /// What it was uploaded as.
    pub source: Source,
}

/// An asset as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// Its name.
    pub id: AssetId,
    /// Whose it is; on a gateway without accounts nobody's.
    pub owner: Option<AccountId>,
    /// What it is for.
    pub kind: AssetKind,
    /// Where it stands.
    pub state: AssetState,
    /// What people call it.
    pub title: String,
    /// What it was uploaded as.
    pub source: Source,
    /// When it was added.
    pub created_ms: i64,
}

/// See [`Catalog::assets`](crate::Catalog::assets).
#[derive(Debug)]
pub struct Assets<'c>(pub(crate) &'c Database);

// === impl Assets ===

impl Assets<'_> {
    /// The topic of the outbox where assets are told of, by their ids, whose objects are to be deleted.
    pub const DELETED: &'static str = "asset-deleted";

    /// The asset as it is.
    pub async fn get(&self, id: AssetId) -> Result<Asset, Error> {
        Asset::from_row(&self.0.row("SELECT * FROM assets WHERE id = $1", args![id]).await?)
    }

    /// Whose the asset is whose object has that key.
    ///
    /// # Errors
    /// [`Error::NotFound`], also when it is being deleted.
    pub async fn owner_of(&self, key: &str) -> Result<Option<AccountId>, Error> {
        let sql = "SELECT owner FROM assets WHERE source_key = $1 AND state = 'ready'";
        self.0.row(sql, args![key]).await?.get("owner")
    }

    /// What can be used of an account's, newest first, at most `limit`; the next page is `after` the last of this one.
    pub async fn of_account(
        &self,
        owner: Option<AccountId>,
        after: Option<AssetId>,
        limit: u32,
    ) -> Result<Vec<Asset>, Error> {
        let sql = "SELECT * FROM assets WHERE COALESCE(owner, '') = COALESCE($1, '') AND state = 'ready' \
                   AND ($2 IS NULL OR id < $2) ORDER BY id DESC LIMIT $3";
        self.0.rows(sql, args![owner, after, i64::from(limit)]).await?.iter().map(Asset::from_row).collect()
    }

    /// All that can be used, in the order of their names, at most `limit`; the next page is `after` the last of this one.
    pub async fn page(&self, after: Option<AssetId>, limit: u32) -> Result<Vec<Asset>, Error> {
        let sql =
            "SELECT * FROM assets WHERE state = 'ready' AND ($1 IS NULL OR id > $1) ORDER BY id LIMIT $2";
        self.0.rows(sql, args![after, i64::from(limit)]).await?.iter().map(Asset::from_row).collect()
    }

    /// Begins its end: the outbox has its object deleted. Done again it does nothing.
    pub async fn delete(&self, id: AssetId) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        let asset =
            Asset::from_row(&write.row("SELECT * FROM assets WHERE id = $1 FOR UPDATE", args![id]).await?)?;
        if asset.state == AssetState::Deleting {
            return Ok(());
        }
        let next = asset.state.become_(AssetState::Deleting)?;
        write.rows("UPDATE assets SET state = $2 WHERE id = $1", args![id, next]).await?;
        outbox::insert(&mut write, Self::DELETED, &id.to_string()).await?;
        changes::tell(&mut write, &asset.source.key).await?;
        write.commit().await
    }

    /// Its object is gone, and so is the asset. Done again it does nothing.
    pub async fn gone(&self, id: AssetId) -> Result<(), Error> {
        let sql = "DELETE FROM assets WHERE id = $1 AND state = 'deleting'";
        self.0.change(sql, args![id]).await.map(drop)
    }
}

// === impl Asset ===

impl Asset {
    fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.get("id")?,
            owner: row.get("owner")?,
            kind: row.get("kind")?,
            state: row.get("state")?,
            title: row.get("title")?,
            source: Source::from_row(row)?,
            created_ms: row.get("created_ms")?,
        })
    }
}

/// Adds an asset.
pub(crate) async fn insert(
    write: &mut Write,
    owner: Option<AccountId>,
    new: &NewAsset,
) -> Result<AssetId, Error> {
    let now: u64 = write.row("SELECT now_ms() AS now_ms", args![]).await?.get("now_ms")?;
    let id = AssetId::at(now);
    let sql = "INSERT INTO assets (id, owner, kind, state, title, source_key, source_etag, source_version, size_bytes, \
               sha256, content_type, container, created_ms) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    let source = new.source.clone();
    let args = args![
        id,
        owner,
        new.kind,
        AssetState::Ready,
        new.title.as_str(),
        source.key,
        source.etag,
        source.version,
        source.size,
        source.sha256,
        source.content_type,
        source.container,
        now,
    ];
    write.rows(sql, args).await?;
    changes::tell(write, &new.source.key).await?;
    Ok(id)
}
