//! API keys of machines: only hashes are kept.

use crate::database::{Database, Row, args};
use crate::{AccountId, ApiKeyId, Error, Role};

/// What is known of a key besides the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its name here.
    pub id: ApiKeyId,
    /// What its owner calls it.
    pub name: String,
    /// When it was made.
    pub created_ms: i64,
    /// When it was last used, to the minute.
    pub last_used_ms: Option<i64>,
    /// When it was revoked.
    pub revoked_ms: Option<i64>,
}

/// In whose name a key acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyOwner {
    /// Whose it is.
    pub account: AccountId,
    /// What that account may do now.
    pub role: Role,
}

/// See [`Catalog::api_keys`](crate::Catalog::api_keys).
#[derive(Debug)]
pub struct ApiKeys<'c>(pub(crate) &'c Database);

/// A busy key is not written for every request.
const USED_EVERY_MS: i64 = 60_000;

// === impl ApiKeys ===

impl ApiKeys<'_> {
    /// Makes one.
    pub async fn create(&self, account: AccountId, name: &str, key_hash: &[u8]) -> Result<ApiKey, Error> {
        let sql = "INSERT INTO api_keys (id, account, name, key_hash, created_ms) \
                   VALUES ($1, $2, $3, $4, now_ms()) RETURNING *";
        let rows = self.0.change(sql, args![ApiKeyId::new(), account, name, key_hash.to_vec()]).await?;
        ApiKey::from_row(rows.first().ok_or(Error::NotFound)?)
    }

    /// Whose key it is, if it is not revoked; and notes that it was used.
    pub async fn find(&self, key_hash: &[u8]) -> Result<KeyOwner, Error> {
        let sql = "SELECT api_keys.id, api_keys.account, accounts.role, \
                   COALESCE(api_keys.last_used_ms, 0) AS last_used_ms, now_ms() AS now_ms FROM api_keys \
                   JOIN accounts ON accounts.id = api_keys.account \
                   WHERE api_keys.key_hash = $1 AND api_keys.revoked_ms IS NULL";
        let row = self.0.row(sql, args![key_hash.to_vec()]).await?;
        if row.get::<i64>("last_used_ms")? + USED_EVERY_MS < row.get::<i64>("now_ms")? {
            let sql = "UPDATE api_keys SET last_used_ms = now_ms() WHERE id = $1";
            self.0.change(sql, args![row.get::<ApiKeyId>("id")?]).await?;
        }
        Ok(KeyOwner { account: row.get("account")?, role: row.get("role")? })
    }

    /// An account's keys, newest first.
    pub async fn of_account(&self, account: AccountId) -> Result<Vec<ApiKey>, Error> {
        let sql = "SELECT * FROM api_keys WHERE account = $1 ORDER BY created_ms DESC, id DESC";
        self.0.rows(sql, args![account]).await?.iter().map(ApiKey::from_row).collect()
    }

    /// Whose key that is, also when it is revoked.
    pub async fn owner(&self, id: ApiKeyId) -> Result<AccountId, Error> {
        self.0.row("SELECT account FROM api_keys WHERE id = $1", args![id]).await?.get("account")
    }

    /// Revokes one, for good.
    pub async fn revoke(&self, id: ApiKeyId) -> Result<(), Error> {
        let sql =
            "UPDATE api_keys SET revoked_ms = COALESCE(revoked_ms, now_ms()) WHERE id = $1 RETURNING id";
        self.0.change(sql, args![id]).await?.pop().map(drop).ok_or(Error::NotFound)
    }
}

// === impl ApiKey ===

impl ApiKey {
    fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            created_ms: row.get("created_ms")?,
            last_used_ms: row.get("last_used_ms")?,
            revoked_ms: row.get("revoked_ms")?,
        })
    }
}
