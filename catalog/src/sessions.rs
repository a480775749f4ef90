//! Sessions of the console: only hashes of their tokens are kept.

use crate::database::{Database, args};
use crate::{AccountId, Error, Role};

/// Somebody who is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose it is.
    pub account: AccountId,
    /// What that account may do now.
    pub role: Role,
    /// When it ends.
    pub expires_ms: i64,
}

/// See [`Catalog::sessions`](crate::Catalog::sessions).
#[derive(Debug)]
pub struct Sessions<'c>(pub(crate) &'c Database);

// === impl Sessions ===

impl Sessions<'_> {
    /// Begins one. `client` is what the account's owner recognises it by, such as the browser's name.
    pub async fn begin(
        &self,
        account: AccountId,
        token_hash: &[u8],
        client: &str,
        lifetime_ms: i64,
    ) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        // Nobody else tidies up.
        let sql = "DELETE FROM sessions WHERE token_hash IN (SELECT token_hash FROM sessions \
                   WHERE expires_ms <= now_ms() FOR UPDATE SKIP LOCKED)";
        write.rows(sql, args![]).await?;
        let sql = "INSERT INTO sessions (token_hash, account, client, created_ms, expires_ms) \
                   VALUES ($1, $2, $3, now_ms(), now_ms() + $4)";
        write.rows(sql, args![token_hash.to_vec(), account, client, lifetime_ms]).await?;
        write.commit().await
    }

    /// Whose token it is, if it has not ended.
    pub async fn find(&self, token_hash: &[u8]) -> Result<Session, Error> {
        let sql = "SELECT sessions.account, sessions.expires_ms, accounts.role FROM sessions \
                   JOIN accounts ON accounts.id = sessions.account \
                   WHERE sessions.token_hash = $1 AND sessions.expires_ms > now_ms()";
        let row = self.0.row(sql, args![token_hash.to_vec()]).await?;
        Ok(Session {
            account: row.get("account")?,
            role: row.get("role")?,
            expires_ms: row.get("expires_ms")?,
        })
    }

    /// Ends one. It may have ended already.
    pub async fn end(&self, token_hash: &[u8]) -> Result<(), Error> {
        let sql = "DELETE FROM sessions WHERE token_hash = $1";
        self.0.change(sql, args![token_hash.to_vec()]).await.map(drop)
    }

    /// Ends all of an account.
    pub async fn end_all(&self, account: AccountId) -> Result<(), Error> {
        self.0.change("DELETE FROM sessions WHERE account = $1", args![account]).await.map(drop)
    }
}
