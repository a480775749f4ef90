//! What programs and machines prove themselves with.

use http::{Response, StatusCode};
use seekway_catalog::{ApiKey, ApiKeyId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Asked, or};
use crate::accounts::{Accounts, Principal, Proof, Refusal, secrets};
use crate::delivery::body::Payload;
use crate::json;
use crate::respond::Problem;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    name: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
pub(crate) struct Issued {
    token: String,
    token_type: &'static str,
    expires_in: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub(crate) struct ShownKey<'a> {
    id: String,
    name: &'a str,
    created_ms: i64,
    last_used_ms: Option<i64>,
    revoked_ms: Option<i64>,
    /// Only once: nobody knows it after.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ApiKeys)]
pub(crate) struct ShownKeys<'a> {
    keys: Vec<ShownKey<'a>>,
}

/// A key that nobody can tell from others is one that nobody revokes.
const KEYS_MAX: usize = 100;
const NAME_BYTES_MAX: usize = 200;

// === impl Accounts ===

impl Accounts {
    /// A token makes no other: it would never end.
    pub(super) async fn issue_token(&self, asked: &Asked<'_>) -> Result<Response<Payload>, Problem> {
        let somebody = self.somebody(asked).await?;
        if somebody.proof == Proof::Token {
            return Err(
                Refusal::Bad("A token cannot be had with a token. Use a session or an API key.").into()
            );
        }
        let token = self.inner.tokens.issue(somebody).await?;
        let expires_in = self.inner.tokens.lifetime().as_secs();
        Ok(json::response(StatusCode::CREATED, &Issued { token, token_type: "Bearer", expires_in }))
    }

    pub(super) async fn make_key(
        &self,
        person: Principal,
        new: NewKey,
    ) -> Result<Response<Payload>, Problem> {
        let keys = self.inner.catalog.api_keys();
        let valid = keys.of_account(person.account).await.map_err(Problem::Catalog)?;
        if valid.iter().filter(|key| key.revoked_ms.is_none()).count() >= KEYS_MAX {
            return Err(Refusal::Bad("There are 100 keys already; revoke some.").into());
        }
        let name = new.name.trim();
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(char::is_control) {
            return Err(Refusal::Bad("A key needs a name of 1 to 200 bytes in one line.").into());
        }
        let secret = secrets::api_key();
        let made = keys.create(person.account, name, &secrets::hash(&secret)).await;
        let made = made.map_err(Problem::Catalog)?;
        Ok(json::response(StatusCode::CREATED, &ShownKey::of(&made, Some(&secret))))
    }

    pub(super) async fn list_keys(&self, person: Principal) -> Result<Response<Payload>, Problem> {
        let keys = self.inner.catalog.api_keys().of_account(person.account).await;
        let keys = keys.map_err(Problem::Catalog)?;
        let keys = keys.iter().map(|key| ShownKey::of(key, None)).collect();
        Ok(json::response(StatusCode::OK, &ShownKeys { keys }))
    }

    /// Somebody else's key is not there.
    pub(super) async fn revoke_key(
        &self,
        person: Principal,
        id: ApiKeyId,
    ) -> Result<Response<Payload>, Problem> {
        let keys = self.inner.catalog.api_keys();
        let owner = keys.owner(id).await.map_err(|error| or(error, Refusal::NoKey))?;
        if !person.may_change(Some(owner)) {
            return Err(Refusal::NoKey.into());
        }
        keys.revoke(id).await.map_err(|error| or(error, Refusal::NoKey))?;
        self.inner.proofs.forget_all();
        Ok(json::done())
    }
}

// === impl ShownKey ===

impl<'a> ShownKey<'a> {
    fn of(key: &'a ApiKey, secret: Option<&'a str>) -> Self {
        Self {
            id: key.id.to_string(),
            name: &key.name,
            created_ms: key.created_ms,
            last_used_ms: key.last_used_ms,
            revoked_ms: key.revoked_ms,
            key: secret,
        }
    }
}
