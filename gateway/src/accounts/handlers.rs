//! `/api/auth/…`: who answers what. `people` sign up and log in and out; `machines` have tokens and keys.

mod action;
pub(crate) mod machines;
pub(crate) mod people;

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use seekway_catalog::{AccountId, AccountPatch, Allowed, Error, Role};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::{Accounts, Principal, Proof, Refusal, body, origin};
use crate::app::RequestBody;
use crate::delivery::body::Payload;
use crate::json;
use crate::respond::Problem;
use crate::routes;

pub(crate) use action::Action;
pub(super) use people::{address, name};

/// A request, but for its body.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) query: Option<&'a str>,
    pub(crate) client: IpAddr,
    /// The client came by TLS, at least to the proxy in front.
    pub(crate) is_secure: bool,
    /// The request is for this machine and from it.
    pub(crate) is_from_here: bool,
}

/// What to change of an account. What is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[schema(as = AccountPatch)]
#[serde(deny_unknown_fields)]
pub(crate) struct PatchDocument {
    /// viewer, creator or admin.
    role: Option<String>,
    /// Bytes that it may store; null is as many as others may.
    #[serde(default, deserialize_with = "allowed")]
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    quota_bytes: Option<Allowed>,
    /// Uploads that it may have under way; null is as many as others may.
    #[serde(default, deserialize_with = "allowed")]
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    quota_uploads: Option<Allowed>,
}

/// Other numbers are not told apart by all who read JSON (RFC 8259 §6).
const QUOTA_MAX: u64 = (1 << 53) - 1;

/// An account, as it is shown to its owner.
#[derive(Serialize, ToSchema)]
#[schema(as = Account)]
pub(crate) struct Me {
    id: String,
    address: String,
    name: String,
    role: &'static str,
    /// Bytes that it may store; null is as many as others may.
    quota_bytes: Option<u64>,
    /// Uploads that it may have under way; null is as many as others may.
    quota_uploads: Option<u64>,
    created_ms: i64,
}

/// An account, and what it has.
#[derive(Serialize, ToSchema)]
#[schema(as = AccountAndUsage)]
pub(crate) struct MeAndUsage {
    #[serde(flatten)]
    account: Me,
    /// Bytes of its videos and assets, and those that its uploads under way have announced.
    bytes: Usage,
    /// Its uploads under way.
    uploads: Usage,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Usage {
    used: u64,
    /// Null is without limit.
    allowed: Option<u64>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Accounts)]
pub(crate) struct Everybody {
    accounts: Vec<Me>,
    /// `after` of the next page.
    next: Option<String>,
}

const ACCOUNTS_PER_PAGE: usize = 100;

// === impl Accounts ===

impl Accounts {
    /// Answers a request whose method the action has.
    pub(crate) async fn answer(
        &self,
        action: Action,
        asked: &Asked<'_>,
        body: &mut Option<impl RequestBody>,
    ) -> Result<Response<Payload>, Problem> {
        match action {
            Action::SignUp => {
                origin::check(asked.method, asked.headers)?;
                self.sign_up(asked, body::read(asked.headers, body).await?).await
            }
            Action::LogIn => {
                origin::check(asked.method, asked.headers)?;
                self.log_in(asked, body::read(asked.headers, body).await?).await
            }
            Action::LogOut => self.log_out(asked).await,
            Action::LogOutEverywhere => self.log_out_everywhere(asked).await,
            Action::Password => {
                let person = self.person(asked).await?;
                self.change_password(asked, person, body::read(asked.headers, body).await?).await
            }
            Action::Me => self.me(asked).await,
            Action::Tokens => self.issue_token(asked).await,
            Action::Jwks => {
                let mut response = json::response(StatusCode::OK, &self.inner.tokens.published().await?);
                // Whoever checks tokens asks again when it meets an unknown key.
                let minutes = HeaderValue::from_static("public, max-age=300");
                response.headers_mut().insert(header::CACHE_CONTROL, minutes);
                Ok(response)
            }
            Action::Keys if asked.method == Method::POST => {
                let person = self.person(asked).await?;
                self.make_key(person, body::read(asked.headers, body).await?).await
            }
            Action::Keys => self.list_keys(self.person(asked).await?).await,
            Action::Key(id) => self.revoke_key(self.person(asked).await?, id).await,
            Action::Accounts => {
                self.somebody(asked).await?.must_be(Role::Admin)?;
                self.list(asked.query).await
            }
            Action::Account(id) => {
                let person = self.person(asked).await?;
                person.must_be(Role::Admin)?;
                self.patch(person, id, body::read(asked.headers, body).await?).await
            }
        }
    }

    async fn me(&self, asked: &Asked<'_>) -> Result<Response<Payload>, Problem> {
        let somebody = self.somebody(asked).await?;
        let account = self.inner.catalog.accounts().get(somebody.account).await;
        // A token outlives its account by minutes.
        let account = account.map_err(|error| or(error, Refusal::BadToken))?;
        let held = self.inner.catalog.uploads().held(Some(account.id)).await.map_err(Problem::Catalog)?;
        let quota = account.quota.or(self.inner.quota);
        let document = MeAndUsage {
            account: Me::from(account),
            bytes: Usage { used: held.bytes, allowed: quota.bytes },
            uploads: Usage { used: held.uploads, allowed: quota.uploads },
        };
        Ok(json::response(StatusCode::OK, &document))
    }

    async fn list(&self, query: Option<&str>) -> Result<Response<Payload>, Problem> {
        let after = routes::parameter(query.unwrap_or_default(), "after").map_err(Problem::BadQuery)?;
        let unknown = Refusal::Bad("`after` must be the `next` of a page before.");
        let after = after.map(|id| AccountId::parse(&id).ok_or(unknown)).transpose()?;
        let limit = u32::try_from(ACCOUNTS_PER_PAGE).expect("small");
        let page = self.inner.catalog.accounts().list(after, limit).await.map_err(Problem::Catalog)?;
        let next = page.get(ACCOUNTS_PER_PAGE - 1).map(|last| last.id.to_string());
        let accounts = page.into_iter().map(Me::from).collect();
        Ok(json::response(StatusCode::OK, &Everybody { accounts, next }))
    }

    async fn patch(
        &self,
        person: Principal,
        id: AccountId,
        new: PatchDocument,
    ) -> Result<Response<Payload>, Problem> {
        let unknown = Refusal::Bad("The role must be viewer, creator or admin.");
        let role = new.role.map(|role| Role::parse(&role).ok_or(unknown)).transpose()?;
        // Somebody has to be left who can.
        if role.is_some() && id == person.account {
            return Err(Refusal::Bad("Another admin must change your role.").into());
        }
        let (bytes, uploads) = (new.quota_bytes, new.quota_uploads);
        let is_too_much = |quota| matches!(quota, Some(Allowed::AtMost(limit)) if limit > QUOTA_MAX);
        if is_too_much(bytes) || is_too_much(uploads) {
            return Err(Refusal::Bad("A quota is a number up to 9007199254740991, or null.").into());
        }
        let changed = self.inner.catalog.accounts().patch(id, AccountPatch { role, bytes, uploads }).await;
        let account = changed.map_err(|error| or(error, Refusal::NoAccount))?;
        self.inner.proofs.forget_all();
        Ok(json::response(StatusCode::OK, &Me::from(account)))
    }

    /// Whom the request is for; somebody it must be.
    async fn somebody(&self, asked: &Asked<'_>) -> Result<Principal, Problem> {
        Ok(self.principal(asked.method, asked.headers, asked.is_secure).await?.ok_or(Refusal::LogInFirst)?)
    }

    /// The same, who has proved it with a password.
    async fn person(&self, asked: &Asked<'_>) -> Result<Principal, Problem> {
        let somebody = self.somebody(asked).await?;
        if somebody.proof == Proof::Session { Ok(somebody) } else { Err(Refusal::NeedsSession.into()) }
    }
}

// === impl Me ===

impl From<seekway_catalog::Account> for Me {
    fn from(account: seekway_catalog::Account) -> Self {
        let (id, role) = (account.id.to_string(), account.role.as_str());
        let (quota_bytes, quota_uploads) = (account.quota.bytes, account.quota.uploads);
        let (address, name, created_ms) = (account.address, account.name, account.created_ms);
        Self { id, address, name, role, quota_bytes, quota_uploads, created_ms }
    }
}

/// A number, or null, which is not the same as nothing at all.
fn allowed<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Allowed>, D::Error> {
    let limit = Option::<u64>::deserialize(value)?;
    Ok(Some(limit.map_or(Allowed::AsOthers, Allowed::AtMost)))
}

/// The refusal where the catalog found nothing, else what it said.
fn or(error: Error, not_found: Refusal) -> Problem {
    if error.is_not_found() { not_found.into() } else { Problem::Catalog(error) }
}
