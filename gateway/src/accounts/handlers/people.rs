//! Signing up, logging in and out.

use http::header;
use http::{Response, StatusCode};
use seekway_catalog::{Account, Error, NewAccount};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Asked, Me, or};
use crate::accounts::attempts::Attempt;
use crate::accounts::{Accounts, Principal, Refusal, cookies, origin, passwords, secrets};
use crate::config::Listing;
use crate::delivery::body::Payload;
use crate::json;
use crate::respond::Problem;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignUp {
    address: String,
    #[serde(default)]
    name: String,
    password: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogIn {
    address: String,
    password: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPassword {
    password: String,
    new_password: String,
}

/// RFC 5321 §4.5.3.1: a path has at most 256 characters.
const ADDRESS_BYTES_MAX: usize = 254;
const NAME_BYTES_MAX: usize = 200;

// === impl Accounts ===

impl Accounts {
    /// Makes an account, unless the address has one. The answer is the same, and takes as long.
    pub(super) async fn sign_up(&self, asked: &Asked<'_>, new: SignUp) -> Result<Response<Payload>, Problem> {
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
                Ok(json::response(StatusCode::ACCEPTED, &accepted))
            }
            Err(error) => Err(Problem::Catalog(error)),
        }
    }

    pub(super) async fn log_in(&self, asked: &Asked<'_>, given: LogIn) -> Result<Response<Payload>, Problem> {
        let account = self.known(asked, &given.address, given.password).await?;
        let (token, lifetime) = (secrets::token(), self.inner.settings.session_lifetime());
        let client = asked.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let client: String = client.unwrap_or_default().chars().take(NAME_BYTES_MAX).collect();
        let lifetime_ms = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
        let sessions = self.inner.catalog.sessions();
        let begun = sessions.begin(account.id, &secrets::hash(&token), &client, lifetime_ms).await;
        begun.map_err(Problem::Catalog)?;
        let mut response = json::response(StatusCode::OK, &Me::from(account));
        let cookie = cookies::keep(&token, lifetime.as_secs(), asked.is_secure);
        response.headers_mut().insert(header::SET_COOKIE, cookie);
        Ok(response)
    }

    /// Whoever has found an open browser does not know the password. All sessions end.
    pub(super) async fn change_password(
        &self,
        asked: &Asked<'_>,
        person: Principal,
        given: NewPassword,
    ) -> Result<Response<Payload>, Problem> {
        passwords::check(&given.new_password)?;
        let accounts = self.inner.catalog.accounts();
        let account = accounts.get(person.account).await.map_err(|error| or(error, Refusal::LogInFirst))?;
        self.known(asked, &account.address, given.password).await?;
        let hash = self.inner.passwords.hash(given.new_password).await?;
        accounts.set_password_hash(account.id, &hash).await.map_err(Problem::Catalog)?;
        self.inner.proofs.forget_all();
        Ok(forgotten(asked))
    }

    /// The account with that address and password. Each time is an attempt.
    async fn known(&self, asked: &Asked<'_>, text: &str, password: String) -> Result<Account, Problem> {
        let (settings, catalog) = (&self.inner.settings, &self.inner.catalog);
        let address = address(text)?;
        let attempt = Attempt::log_in(asked.client, &address, settings.log_in_attempts);
        attempt.count(catalog, settings.log_in_window_ms()).await?;
        let account = match catalog.accounts().by_address(&address).await {
            Ok(account) => Some(account),
            Err(Error::NotFound) => None,
            Err(error) => return Err(Problem::Catalog(error)),
        };
        let hash = account.as_ref().map(|account| account.password_hash.clone());
        let is_right = self.inner.passwords.verify(password, hash).await?;
        let account = account.filter(|_| is_right).ok_or(Refusal::WrongPassword)?;
        catalog.login_attempts().forget(&attempt.pair).await.map_err(Problem::Catalog)?;
        Ok(account)
    }

    pub(super) async fn log_out(&self, asked: &Asked<'_>) -> Result<Response<Payload>, Problem> {
        origin::check(asked.method, asked.headers)?;
        if let Some(token) = cookies::session(asked.headers, asked.is_secure) {
            let hash = secrets::hash(&token);
            self.inner.catalog.sessions().end(&hash).await.map_err(Problem::Catalog)?;
            self.inner.proofs.forget(&hash);
        }
        Ok(forgotten(asked))
    }

    pub(super) async fn log_out_everywhere(&self, asked: &Asked<'_>) -> Result<Response<Payload>, Problem> {
        let person = self.person(asked).await?;
        self.inner.catalog.sessions().end_all(person.account).await.map_err(Problem::Catalog)?;
        self.inner.proofs.forget_all();
        Ok(forgotten(asked))
    }
}

fn forgotten(asked: &Asked<'_>) -> Response<Payload> {
    let mut response = json::done();
    response.headers_mut().insert(header::SET_COOKIE, cookies::forget(asked.is_secure));
    response
}

/// An address as it is kept. Whether mail arrives there, nobody has tried.
pub(in crate::accounts) fn address(text: &str) -> Result<String, Refusal> {
    let text = text.trim();
    let is_address = text.len() <= ADDRESS_BYTES_MAX
        && !text.chars().any(|char| char.is_whitespace() || char.is_control())
        && text.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    if is_address { Ok(text.to_owned()) } else { Err(Refusal::Bad("The address must be an e-mail address.")) }
}

/// What others see; of the address what stands before the `@`, where nothing is said.
pub(in crate::accounts) fn name(text: &str, address: &str) -> Result<String, Refusal> {
    let text = text.trim();
    if text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(Refusal::Bad("A name has 200 bytes or less, in one line."));
    }
    let local = address.trim().split('@').next().unwrap_or_default();
    Ok(if text.is_empty() { local.to_owned() } else { text.to_owned() })
}
