//! Accounts: who somebody is, and may they.
//!
//! A request proves who it is for in one of three ways, and [`Accounts::principal`] reads them all:
//!
//! - a **session**, in a cookie that only the browser sees: an opaque random token, of which the catalog has a hash.
//!   It can be ended, and begins with a log-in. A browser sends cookies by itself, so what writes must come from a
//!   page of ours (`origin`).
//! - a **token** for programs, `Authorization: Bearer`: a JWT that anybody can check with the published keys, and
//!   that nobody can end, so it lives for minutes (`tokens`).
//! - an **API key** for machines, sent like a token: opaque, kept as a hash, valid until it is revoked.
//!
//! `proofs` remembers sessions and API keys for a second. `passwords` are checked off the serving threads, a few at a time; `attempts` limits how often, on all replicas
//! together. `handlers` answers `/api/auth/…`. No answer of logging in or signing up, nor how long it takes, tells by itself
//! whether an address has an account; but where strangers may sign up, signing up with an address and then logging in
//! tells it, since no mail proves whose the address is.

mod admin;
mod attempts;
mod body;
mod cookies;
pub(crate) mod handlers;
mod origin;
mod passwords;
mod proofs;
mod refusal;
mod secrets;
mod tokens;

use std::sync::Arc;

use http::Method;
use http::header::{self, HeaderMap};
use seekway_catalog::{AccountId, Catalog, Error, Quota, Role};

use crate::config::{AccountSettings, Config, Listing};
use crate::respond::Problem;
use passwords::Passwords;
use proofs::Proofs;
use tokens::Tokens;

pub(crate) use admin::AdminCommand;
pub(crate) use handlers::{Action, Asked, Me};
pub(crate) use passwords::MEMORY_BYTES as PASSWORD_BYTES;
pub(crate) use refusal::Refusal;

/// Everything that accounts share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Accounts {
    inner: Arc<Inner>,
}

struct Inner {
    catalog: Catalog,
    settings: AccountSettings,
    sign_up_open_to: Listing,
    /// What an account may have that has no quota of its own.
    quota: Quota,
    passwords: Passwords,
    tokens: Tokens,
    proofs: Proofs,
}

/// Whom a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Principal {
    /// The account.
    pub(crate) account: AccountId,
    /// What it may do: with a token what it could when that was made, else what it can now.
    pub(crate) role: Role,
    /// How that was proved.
    pub(crate) proof: Proof,
}

/// How a request proves whom it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A cookie of the console.
    Session,
    /// A signed token.
    Token,
    /// A machine's key.
    ApiKey,
}

// === impl Accounts ===

impl Accounts {
    pub(crate) fn new(catalog: Catalog, config: &Config) -> Self {
        let settings = config.accounts.clone();
        let tokens = Tokens::new(catalog.clone(), &settings);
        let (sign_up_open_to, passwords) = (config.sign_up_open_to(), Passwords::default());
        let (quota, proofs) = (config.uploads.quota(), Proofs::new());
        let inner = Inner { catalog, settings, sign_up_open_to, quota, passwords, tokens, proofs };
        Self { inner: Arc::new(inner) }
    }

    /// Whom a request with these headers is for, which came by TLS or not; `None` when it does not say.
    ///
    /// # Errors
    /// 401 when a token or key is not valid (a session that has ended is nobody's); 403 when a cookie came along with a
    /// request that writes and that a page of another site has sent; 503 when the catalog is away.
    pub(crate) async fn principal(
        &self,
        method: &Method,
        headers: &HeaderMap,
        is_secure: bool,
    ) -> Result<Option<Principal>, Problem> {
        if let Some(authorization) = headers.get(header::AUTHORIZATION) {
            let bearer = authorization.to_str().ok().and_then(bearer).ok_or(Refusal::BadToken)?;
            return self.bearer(method, bearer).await.map(Some);
        }
        let Some(token) = cookies::session(headers, is_secure) else { return Ok(None) };
        let find = async |hash: &[u8]| {
            let session = self.inner.catalog.sessions().find(hash).await?;
            Ok(Principal { account: session.account, role: session.role, proof: Proof::Session })
        };
        match self.inner.proofs.of(secrets::hash(&token), method.is_safe(), find).await {
            Ok(principal) => {
                origin::check(method, headers)?;
                Ok(Some(principal))
            }
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(Problem::Catalog(error)),
        }
    }

    /// The account that a request is for, as it is shown to its owner.
    pub(crate) async fn shown(
        &self,
        method: &Method,
        headers: &HeaderMap,
        is_secure: bool,
    ) -> Result<Option<Me>, Problem> {
        let Some(principal) = self.principal(method, headers, is_secure).await? else { return Ok(None) };
        match self.inner.catalog.accounts().get(principal.account).await {
            Ok(account) => Ok(Some(Me::from(account))),
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(Problem::Catalog(error)),
        }
    }

    async fn bearer(&self, method: &Method, bearer: &str) -> Result<Principal, Problem> {
        if !bearer.starts_with(secrets::API_KEY_PREFIX) {
            return self.inner.tokens.check(bearer).await;
        }
        let find = async |hash: &[u8]| {
            let owner = self.inner.catalog.api_keys().find(hash).await?;
            Ok(Principal { account: owner.account, role: owner.role, proof: Proof::ApiKey })
        };
        match self.inner.proofs.of(secrets::hash(bearer), method.is_safe(), find).await {
            Ok(principal) => Ok(principal),
            Err(Error::NotFound) => Err(Refusal::BadToken.into()),
            Err(error) => Err(Problem::Catalog(error)),
        }
    }
}

// === impl Principal ===

impl Principal {
    /// Refuses whoever may not do what `role` may.
    pub(crate) fn must_be(&self, role: Role) -> Result<(), Refusal> {
        if self.role.is_at_least(role) { Ok(()) } else { Err(Refusal::NotAllowed(role)) }
    }

    /// Whether it may change what belongs to `owner`: it is its own, or it is an admin. What belongs to nobody is the
    /// admins'.
    pub(crate) fn may_change(&self, owner: Option<AccountId>) -> bool {
        owner == Some(self.account) || self.role == Role::Admin
    }
}

/// RFC 6750 §2.1: the scheme is written in any case (RFC 9110 §11.1).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, rest) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(rest.trim())
}
