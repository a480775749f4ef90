//! `/api/auth/…`: signing up and in and out, tokens, keys.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use seekway_catalog::{AccountId, ApiKey, ApiKeyId, Error, NewAccount, Role};
use serde::{Deserialize, Serialize};

use super::attempts::Attempt;
use super::{Accounts, Principal, Proof, Refusal, cookies, json, origin, passwords, secrets};
use crate::app::RequestBody;
use crate::config::Listing;
use crate::delivery::body::Payload;
use crate::respond::Problem;
use crate::routes;

/// What is asked of `/api/auth/…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `POST sign-up`
    SignUp,
    /// `POST log-in`
    LogIn,
    /// `POST log-out`
    LogOut,
    /// `POST log-out-everywhere`
    LogOutEverywhere,
    /// `GET me`
    Me,
    /// `POST tokens`
    Tokens,
    /// `GET jwks.json`
    Jwks,
    /// `GET keys`, `POST keys`
    Keys,
    /// `DELETE keys/{id}`
    Key(ApiKeyId),
    /// `GET accounts`
    Accounts,
    /// `PATCH accounts/{id}`
    Account(AccountId),
}

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignUp {
    address: String,
    #[serde(default)]
    name: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogIn {
    address: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRole {
    role: String,
}

#[derive(Serialize)]
struct Me {
    id: String,
    address: String,
    name: String,
    role: &'static str,
    created_ms: i64,
}

#[derive(Serialize)]
struct Everybody {
    accounts: Vec<Me>,
    /// `after` of the next page.
    next: Option<String>,
}

#[derive(Serialize)]
struct Token {
    token: String,
    token_type: &'static str,
    expires_in: u64,
}

#[derive(Serialize)]
struct Key<'a> {
    id: String,
    name: &'a str,
    created_ms: i64,
    last_used_ms: Option<i64>,
    revoked_ms: Option<i64>,
    /// Only once: nobody knows it after.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

#[derive(Serialize)]
struct Keys<'a> {
    keys: Vec<Key<'a>>,
}

/// RFC 5321 §4.5.3.1: a path has at most 256 characters.
const ADDRESS_BYTES_MAX: usize = 254;
const NAME_BYTES_MAX: usize = 200;
/// A key that nobody can tell from others is one that nobody revokes.
const KEYS_MAX: usize = 100;
const ACCOUNTS_PER_PAGE: usize = 100;

// === impl Action ===

impl Action {
    /// Decodes what follows `/api/auth/`.
    pub fn decode(path: &str) -> Option<Self> {
        Some(match path {
            "sign-up" => Self::SignUp,
            "log-in" => Self::LogIn,
            "log-out" => Self::LogOut,
            "log-out-everywhere" => Self::LogOutEverywhere,
            "me" => Self::Me,
            "tokens" => Self::Tokens,
            "jwks.json" => Self::Jwks,
            "keys" => Self::Keys,
            "accounts" => Self::Accounts,
            _ => {
                let (kind, id) = path.split_once('/')?;
                match kind {
                    "keys" => Self::Key(ApiKeyId::parse(id)?),
                    "accounts" => Self::Account(AccountId::parse(id)?),
                    _ => return None,
                }
            }
        })
    }

    /// The methods that it answers.
    pub fn methods(self) -> &'static [Method] {
        static READ: [Method; 2] = [Method::GET, Method::HEAD];
        static WRITE: [Method; 1] = [Method::POST];
        static BOTH: [Method; 3] = [Method::GET, Method::HEAD, Method::POST];
        static REMOVE: [Method; 1] = [Method::DELETE];
        static CHANGE: [Method; 1] = [Method::PATCH];
        match self {
            Self::SignUp | Self::LogIn | Self::LogOut | Self::LogOutEverywhere | Self::Tokens => &WRITE,
            Self::Me | Self::Jwks | Self::Accounts => &READ,
            Self::Keys => &BOTH,
            Self::Key(_) => &REMOVE,
            Self::Account(_) => &CHANGE,
        }
    }
}

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
                self.sign_up(asked, json::read(asked.headers, body).await?).await
            }
            Action::LogIn => {
                origin::check(asked.method, asked.headers)?;
                self.log_in(asked, json::read(asked.headers, body).await?).await
            }
            Action::LogOut => self.log_out(asked, false).await,
            Action::LogOutEverywhere => self.log_out(asked, true).await,
            Action::Me => self.me(asked).await,
            Action::Tokens => self.token(asked).await,
            Action::Jwks => {
                let mut response = json::answer(StatusCode::OK, &self.inner.tokens.published().await?);
                // Whoever checks tokens asks again when it meets an unknown key.
                let minutes = HeaderValue::from_static("public, max-age=300");
                response.headers_mut().insert(header::CACHE_CONTROL, minutes);
                Ok(response)
            }
            Action::Keys if asked.method == Method::POST => {
                let person = self.person(asked).await?;
                self.make_key(person, json::read(asked.headers, body).await?).await
            }
            Action::Keys => {
                let person = self.person(asked).await?;
                let keys = self.inner.catalog.api_keys().of_account(person.account).await;
                let keys = keys.map_err(Problem::Catalog)?;
                let keys = keys.iter().map(|key| Key::shown(key, None)).collect();
                Ok(json::answer(StatusCode::OK, &Keys { keys }))
            }
            Action::Key(id) => {
                let person = self.person(asked).await?;
                let keys = self.inner.catalog.api_keys();
                let owner = keys.owner(id).await.map_err(|error| or(error, Refusal::NoKey))?;
                if !person.may_change(Some(owner)) {
                    return Err(Refusal::NoKey.into());
                }
                keys.revoke(id).await.map_err(|error| or(error, Refusal::NoKey))?;
                Ok(json::done())
            }
            Action::Accounts => {
                self.somebody(asked).await?.must_be(Role::Admin)?;
                self.list(asked.query).await
            }
            Action::Account(id) => {
                let person = self.person(asked).await?;
                person.must_be(Role::Admin)?;
                let NewRole { role } = json::read(asked.headers, body).await?;
                let known = "The role must be viewer, creator or admin.";
                let role = Role::parse(&role).ok_or(Refusal::Bad(known))?;
                // Somebody has to be left who can.
                if id == person.account {
                    return Err(Refusal::Bad("Another admin must change your role.").into());
                }
                let changed = self.inner.catalog.accounts().set_role(id, role).await;
                let account = changed.map_err(|error| or(error, Refusal::NoAccount))?;
                Ok(json::answer(StatusCode::OK, &Me::from(account)))
            }
        }
    }

    /// Makes an account, unless the address has one. The answer is the same, and takes as long.
    async fn sign_up(&self, asked: &Asked<'_>, new: SignUp) -> Result<Response<Payload>, Problem> {
        let settings = &self.inner.settings;
        let is_open = match self.inner.sign_up_open_to {
            Listing::Everybody => true,
            Listing::ThisMachine => asked.is_from_here,
            Listing::Nobody => false,
        };
        if !is_open {
            return Err(Refusal::SignUpOff.into());
        }
        let new = NewAccount {
            address: address(&new.address)?,
            name: name(&new.name, &new.address)?,
            role: settings.sign_up_role(),
            password_hash: {
                passwords::check(&new.password)?;
                let attempt = Attempt::sign_up(asked.client, settings.log_in_attempts);
                attempt.count(&self.inner.catalog, settings.log_in_window_ms()).await?;
                self.inner.passwords.hash(new.password).await?
            },
        };
        match self.inner.catalog.accounts().create(new).await {
            Ok(_) | Err(Error::Conflict(_)) => {
                let accepted = serde_json::json!({ "status": "accepted" });
                Ok(json::answer(StatusCode::ACCEPTED, &accepted))
            }
            Err(error) => Err(Problem::Catalog(error)),
        }
    }

    async fn log_in(&self, asked: &Asked<'_>, given: LogIn) -> Result<Response<Payload>, Problem> {
        let (settings, catalog) = (&self.inner.settings, &self.inner.catalog);
        let attempt = Attempt::log_in(asked.client, &given.address, settings.log_in_attempts);
        attempt.count(catalog, settings.log_in_window_ms()).await?;
        let account = match catalog.accounts().by_address(&given.address).await {
            Ok(account) => Some(account),
            Err(Error::NotFound) => None,
            Err(error) => return Err(Problem::Catalog(error)),
        };
        let hash = account.as_ref().map(|account| account.password_hash.clone());
        let is_right = self.inner.passwords.verify(given.password, hash).await?;
        let account = account.filter(|_| is_right).ok_or(Refusal::WrongPassword)?;
        catalog.login_attempts().forget(&attempt.pair).await.map_err(Problem::Catalog)?;
        let (token, lifetime) = (secrets::token(), settings.session_lifetime());
        let client = asked.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let client: String = client.unwrap_or_default().chars().take(NAME_BYTES_MAX).collect();
        let lifetime_ms = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
        let begun = catalog.sessions().begin(account.id, &secrets::hash(&token), &client, lifetime_ms).await;
        begun.map_err(Problem::Catalog)?;
        let mut response = json::answer(StatusCode::OK, &Me::from(account));
        let cookie = cookies::keep(&token, lifetime.as_secs(), asked.is_secure);
        response.headers_mut().insert(header::SET_COOKIE, cookie);
        Ok(response)
    }

    async fn log_out(&self, asked: &Asked<'_>, everywhere: bool) -> Result<Response<Payload>, Problem> {
        origin::check(asked.method, asked.headers)?;
        let sessions = self.inner.catalog.sessions();
        if everywhere {
            let person = self.person(asked).await?;
            sessions.end_all(person.account).await.map_err(Problem::Catalog)?;
        } else if let Some(token) = cookies::session(asked.headers) {
            sessions.end(&secrets::hash(&token)).await.map_err(Problem::Catalog)?;
        }
        let mut response = json::done();
        response.headers_mut().insert(header::SET_COOKIE, cookies::forget(asked.is_secure));
        Ok(response)
    }

    async fn me(&self, asked: &Asked<'_>) -> Result<Response<Payload>, Problem> {
        let somebody = self.somebody(asked).await?;
        let account = self.inner.catalog.accounts().get(somebody.account).await;
        // A token outlives its account by minutes.
        let account = account.map_err(|error| or(error, Refusal::BadToken))?;
        Ok(json::answer(StatusCode::OK, &Me::from(account)))
    }

    async fn list(&self, query: Option<&str>) -> Result<Response<Payload>, Problem> {
        let after = routes::parameter(query.unwrap_or_default(), "after").map_err(Problem::BadQuery)?;
        let unknown = Refusal::Bad("`after` must be the `next` of a page before.");
        let after = after.map(|id| AccountId::parse(&id).ok_or(unknown)).transpose()?;
        let limit = u32::try_from(ACCOUNTS_PER_PAGE).expect("small");
        let page = self.inner.catalog.accounts().list(after, limit).await.map_err(Problem::Catalog)?;
        let next = page.get(ACCOUNTS_PER_PAGE - 1).map(|last| last.id.to_string());
        let accounts = page.into_iter().map(Me::from).collect();
        Ok(json::answer(StatusCode::OK, &Everybody { accounts, next }))
    }

    /// A token makes no other: it would never end.
    async fn token(&self, asked: &Asked<'_>) -> Result<Response<Payload>, Problem> {
        let somebody = self.somebody(asked).await?;
        if somebody.proof == Proof::Token {
            return Err(
                Refusal::Bad("A token cannot be had with a token. Use a session or an API key.").into()
            );
        }
        let token = self.inner.tokens.issue(somebody).await?;
        let expires_in = self.inner.tokens.lifetime().as_secs();
        Ok(json::answer(StatusCode::CREATED, &Token { token, token_type: "Bearer", expires_in }))
    }

    async fn make_key(&self, person: Principal, new: NewKey) -> Result<Response<Payload>, Problem> {
        let keys = self.inner.catalog.api_keys();
        let valid = keys.of_account(person.account).await.map_err(Problem::Catalog)?;
        if valid.iter().filter(|key| key.revoked_ms.is_none()).count() >= KEYS_MAX {
            return Err(Refusal::Bad("There are 100 keys already; revoke some.").into());
        }
        if new.name.trim().is_empty() || new.name.len() > NAME_BYTES_MAX {
            return Err(Refusal::Bad("A key needs a name of 1 to 200 bytes.").into());
        }
        let secret = secrets::api_key();
        let made = keys.create(person.account, new.name.trim(), &secrets::hash(&secret)).await;
        let made = made.map_err(Problem::Catalog)?;
        Ok(json::answer(StatusCode::CREATED, &Key::shown(&made, Some(&secret))))
    }

    /// Whom the request is for; somebody it must be.
    async fn somebody(&self, asked: &Asked<'_>) -> Result<Principal, Problem> {
        Ok(self.principal(asked.method, asked.headers).await?.ok_or(Refusal::LogInFirst)?)
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
        Self { id, address: account.address, name: account.name, role, created_ms: account.created_ms }
    }
}

// === impl Key ===

impl<'a> Key<'a> {
    fn shown(key: &'a ApiKey, secret: Option<&'a str>) -> Self {
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

/// The refusal where the catalog found nothing, else what it said.
fn or(error: Error, not_found: Refusal) -> Problem {
    if error.is_not_found() { not_found.into() } else { Problem::Catalog(error) }
}

/// An address as it is kept. Whether mail arrives there, nobody has tried.
pub(super) fn address(text: &str) -> Result<String, Refusal> {
    let text = text.trim();
    let is_address = text.len() <= ADDRESS_BYTES_MAX
        && !text.chars().any(|char| char.is_whitespace() || char.is_control())
        && text.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    if is_address { Ok(text.to_owned()) } else { Err(Refusal::Bad("The address must be an e-mail address.")) }
}

/// What others see; of the address what stands before the `@`, where nothing is said.
pub(super) fn name(text: &str, address: &str) -> Result<String, Refusal> {
    let text = text.trim();
    if text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(Refusal::Bad("A name has 200 bytes or less, in one line."));
    }
    let local = address.trim().split('@').next().unwrap_or_default();
    Ok(if text.is_empty() { local.to_owned() } else { text.to_owned() })
}
