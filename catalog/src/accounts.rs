//! Accounts: who there is, and what each may do and have.

use crate::database::{Database, Row, Write, args};
use crate::state::words;
use crate::{AccountId, Error};

words! {
    /// What an account may do. Each may also do what those before it may.
    Role {
        /// Watch, and vote.
        Viewer = "viewer",
        /// Upload, and change what is its own.
        Creator = "creator",
        /// Everything.
        Admin = "admin",
    }
}

/// What an account may have. `None` is without limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// Bytes stored, with those that uploads under way have declared.
    pub bytes: Option<u64>,
    /// Uploads under way.
    pub uploads: Option<u64>,
}

/// What to change of an account. `None` stays as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct AccountPatch {
    /// What it may do.
    pub role: Option<Role>,
    /// How many bytes it may store.
    pub bytes: Option<Allowed>,
    /// How many uploads it may have under way.
    pub uploads: Option<Allowed>,
}

/// How much of something an account may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// As much as others.
    AsOthers,
    /// So much, and no more.
    AtMost(u64),
}

/// Somebody to be.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// An e-mail address. Case does not matter.
    pub address: String,
    /// What others see.
    pub name: String,
    /// In the PHC string format.
    pub password_hash: String,
    /// What it may do.
    pub role: Role,
}

/// Somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name here.
    pub id: AccountId,
    /// An e-mail address in lower case.
    pub address: String,
    /// What others see.
    pub name: String,
    /// In the PHC string format.
    pub password_hash: String,
    /// What it may do.
    pub role: Role,
    /// What it may have. `None` is as much as others, not without limit.
    pub quota: Quota,
    /// When it was made.
    pub created_ms: i64,
}

/// See [`Catalog::accounts`](crate::Catalog::accounts).
#[derive(Debug)]
pub struct Accounts<'c>(pub(crate) &'c Database);

// === impl Role ===

impl Role {
    /// Whether it may do what `other` may.
    pub fn is_at_least(self, other: Self) -> bool {
        let rank = |role| Self::ALL.iter().position(|&one| one == role);
        rank(self) >= rank(other)
    }
}

// === impl Accounts ===

impl Accounts<'_> {
    /// Makes an account.
    ///
    /// # Errors
    /// [`Error::Conflict`] when there is one with this address.
    pub async fn create(&self, new: NewAccount) -> Result<Account, Error> {
        let sql = "INSERT INTO accounts (id, address, name, password_hash, role, created_ms) \
                   VALUES ($1, $2, $3, $4, $5, now_ms()) RETURNING *";
        let address = folded(&new.address);
        let args = args![AccountId::new(), address, new.name, new.password_hash, new.role];
        let rows = self.0.change(sql, args).await?;
        Account::from_row(rows.first().ok_or(Error::NotFound)?)
    }

    /// The account of that name.
    pub async fn get(&self, id: AccountId) -> Result<Account, Error> {
        Account::from_row(&self.0.row("SELECT * FROM accounts WHERE id = $1", args![id]).await?)
    }

    /// The account with that address.
    pub async fn by_address(&self, address: &str) -> Result<Account, Error> {
        Account::from_row(
            &self.0.row("SELECT * FROM accounts WHERE address = $1", args![folded(address)]).await?,
        )
    }

    /// A page of at most `limit`, oldest first; the next one is `after` the last of this one.
    pub async fn list(&self, after: Option<AccountId>, limit: u32) -> Result<Vec<Account>, Error> {
        let sql = "SELECT * FROM accounts WHERE $1 IS NULL OR id > $1 ORDER BY id LIMIT $2";
        self.0.rows(sql, args![after, i64::from(limit)]).await?.iter().map(Account::from_row).collect()
    }

    /// Whether there is any.
    pub async fn exist(&self) -> Result<bool, Error> {
        Ok(!self.0.rows("SELECT 1 AS one FROM accounts LIMIT 1", args![]).await?.is_empty())
    }

    /// Gives it another password. Its sessions end.
    pub async fn set_password_hash(&self, id: AccountId, password_hash: &str) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        let sql = "UPDATE accounts SET password_hash = $2 WHERE id = $1 RETURNING id";
        write.row(sql, args![id, password_hash]).await?;
        write.rows("DELETE FROM sessions WHERE account = $1", args![id]).await?;
        write.commit().await
    }

    /// Changes what it may do and have. Uploads under way keep the quota of bytes that they began with.
    pub async fn patch(&self, id: AccountId, patch: AccountPatch) -> Result<Account, Error> {
        let sql = "UPDATE accounts SET role = COALESCE($2, role), quota_bytes = NULLIF(COALESCE($3, quota_bytes), -1), \
                   quota_uploads = NULLIF(COALESCE($4, quota_uploads), -1) WHERE id = $1 RETURNING *";
        let limit = |allowed: Option<Allowed>| match allowed? {
            Allowed::AsOthers => Some(-1),
            Allowed::AtMost(limit) => Some(i64::try_from(limit).unwrap_or(i64::MAX)),
        };
        let args = args![id, patch.role, limit(patch.bytes), limit(patch.uploads)];
        let rows = self.0.change(sql, args).await?;
        Account::from_row(rows.first().ok_or(Error::NotFound)?)
    }
}

// === impl Quota ===

impl Quota {
    fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self { bytes: row.get("quota_bytes")?, uploads: row.get("quota_uploads")? })
    }

    /// This, and what it leaves open as `others` say.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self { bytes: self.bytes.or(others.bytes), uploads: self.uploads.or(others.uploads) }
    }
}

// === impl Account ===

impl Account {
    fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.get("id")?,
            address: row.get("address")?,
            name: row.get("name")?,
            password_hash: row.get("password_hash")?,
            role: row.get("role")?,
            quota: Quota::from_row(row)?,
            created_ms: row.get("created_ms")?,
        })
    }
}

/// What an account may have where `allowed` is what others may.
pub(crate) async fn quota(
    write: &mut Write,
    account: Option<AccountId>,
    allowed: Quota,
) -> Result<Quota, Error> {
    let Some(account) = account else { return Ok(allowed) };
    let row =
        write.row("SELECT quota_bytes, quota_uploads FROM accounts WHERE id = $1", args![account]).await?;
    Ok(Quota::from_row(&row)?.or(allowed))
}

/// The local part of an address may tell cases apart (RFC 5321 §2.4), but no provider does.
fn folded(address: &str) -> String {
    address.trim().to_lowercase()
}
