//! Keys that tokens are signed with. One signs until it retires; it is believed for longer, until the last token that
//! it signed has expired.

use crate::Error;
use crate::database::{Database, Row, args};

/// A key pair, freshly made.
#[derive(Clone)]
pub struct NewSigningKey {
    /// Its `kid`.
    pub id: String,
    /// The private half, as text.
    pub private_key: String,
    /// The public half, as text.
    pub public_key: String,
}

/// A key pair.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// Its `kid`.
    pub id: String,
    /// The private half, as text.
    pub private_key: String,
    /// The public half, as text.
    pub public_key: String,
    /// When it signs for the last time.
    pub retires_ms: i64,
    /// When it is no longer believed.
    pub expires_ms: i64,
    /// When this was read, by the same clock.
    pub now_ms: i64,
}

/// See [`Catalog::signing_keys`](crate::Catalog::signing_keys).
#[derive(Debug)]
pub struct SigningKeys<'c>(pub(crate) &'c Database);

const VALID: &str = "SELECT *, now_ms() AS now_ms FROM signing_keys WHERE expires_ms > now_ms() \
                     ORDER BY retires_ms DESC, id";

// === impl SigningKeys ===

impl SigningKeys<'_> {
    /// Every key that is believed; the first one signs. Where none may sign any more, `make` makes the next one, on one
    /// replica for all of them.
    pub async fn valid(
        &self,
        signs_for_ms: i64,
        believed_for_ms: i64,
        make: impl FnOnce() -> NewSigningKey,
    ) -> Result<Vec<SigningKey>, Error> {
        let keys = self.0.rows(VALID, args![]).await?;
        let keys = keys.iter().map(SigningKey::from_row).collect::<Result<Vec<_>, _>>()?;
        if keys.first().is_some_and(SigningKey::may_sign) {
            return Ok(keys);
        }
        let mut write = self.0.write().await?;
        write.lock("signing keys").await?;
        write.rows("DELETE FROM signing_keys WHERE expires_ms <= now_ms()", args![]).await?;
        // Another replica may have been first.
        let newest = write.rows(VALID, args![]).await?;
        let newest = newest.first().map(SigningKey::from_row).transpose()?;
        if !newest.is_some_and(|key| key.may_sign()) {
            let key = make();
            let sql = "INSERT INTO signing_keys (id, private_key, public_key, created_ms, retires_ms, expires_ms) \
                       VALUES ($1, $2, $3, now_ms(), now_ms() + $4, now_ms() + $5)";
            let args = args![key.id, key.private_key, key.public_key, signs_for_ms, believed_for_ms];
            write.rows(sql, args).await?;
        }
        let keys = write.rows(VALID, args![]).await?.iter().map(SigningKey::from_row).collect();
        write.commit().await?;
        keys
    }
}

// === impl SigningKey ===

impl SigningKey {
    /// Whether it has not retired.
    pub fn may_sign(&self) -> bool {
        self.retires_ms > self.now_ms
    }

    fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.get("id")?,
            private_key: row.get("private_key")?,
            public_key: row.get("public_key")?,
            retires_ms: row.get("retires_ms")?,
            expires_ms: row.get("expires_ms")?,
            now_ms: row.get("now_ms")?,
        })
    }
}

/// Without the private half.
impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for NewSigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewSigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}
