//! `/api/auth`.

use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey as Cookie, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};

use super::problems::{OfBody, OfList, OfOne};
use crate::accounts::handlers::machines::{Issued, NewKey, ShownKey, ShownKeys};
use crate::accounts::handlers::people::{LogIn, NewPassword, SignUp};
use crate::accounts::handlers::{Everybody, Me, MeAndUsage, PatchDocument, Usage};

#[derive(OpenApi)]
#[openapi(
    paths(
        sign_up, log_in, log_out, log_out_everywhere, password, me, token, jwks, keys, new_key, revoke_key, accounts,
        patch
    ),
    components(schemas(SignUp, LogIn, NewPassword, Me, Issued, NewKey, ShownKey<'_>, ShownKeys<'_>, Everybody, PatchDocument, MeAndUsage, Usage)),
    modifiers(&Proofs)
)]
pub(super) struct Accounts;

/// How a request says whom it is for.
struct Proofs;

impl utoipa::Modify for Proofs {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let components = api.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        let session = Cookie::Cookie(ApiKeyValue::new("seekway-session"));
        components.add_security_scheme("session", SecurityScheme::ApiKey(session));
    }
}

/// Makes an account, unless the address has one: the answer does not say.
#[utoipa::path(
    post,
    path = "/api/auth/sign-up",
    tag = "accounts",
    request_body = SignUp,
    responses((status = 202, description = "Now log in."), OfBody)
)]
fn sign_up() {}

/// Begins a session, whose cookie is in the answer.
#[utoipa::path(
    post,
    path = "/api/auth/log-in",
    tag = "accounts",
    request_body = LogIn,
    responses((status = 200, description = "The account.", body = Me), OfBody)
)]
fn log_in() {}

/// Ends the session.
#[utoipa::path(
    post,
    path = "/api/auth/log-out",
    tag = "accounts",
    responses((status = 204, description = "It has ended."), OfOne)
)]
fn log_out() {}

/// Ends all sessions of the account.
#[utoipa::path(
    post,
    path = "/api/auth/log-out-everywhere",
    tag = "accounts",
    security(("session" = [])),
    responses((status = 204, description = "They have ended."), OfOne)
)]
fn log_out_everywhere() {}

/// Changes the password, and ends all sessions.
#[utoipa::path(
    post,
    path = "/api/auth/password",
    tag = "accounts",
    security(("session" = [])),
    request_body = NewPassword,
    responses((status = 204, description = "It is changed."), OfBody)
)]
fn password() {}

/// The account of whoever asks.
#[utoipa::path(
    get,
    path = "/api/auth/me",
    tag = "accounts",
    security(("session" = []), ("bearer" = [])),
    responses((status = 200, description = "The account.", body = MeAndUsage), OfOne)
)]
fn me() {}

/// A token for programs.
#[utoipa::path(
    post,
    path = "/api/auth/tokens",
    tag = "accounts",
    security(("session" = []), ("bearer" = [])),
    responses((status = 201, description = "The token.", body = Issued), OfOne)
)]
fn token() {}

/// The keys that tokens are signed with (RFC 7517).
#[utoipa::path(
    get,
    path = "/api/auth/jwks.json",
    tag = "accounts",
    responses((status = 200, description = "A JWK set.", body = Object), OfOne)
)]
fn jwks() {}

/// The caller's API keys.
#[utoipa::path(
    get,
    path = "/api/auth/keys",
    tag = "accounts",
    security(("session" = [])),
    responses((status = 200, description = "The keys, without what makes them keys.", body = ShownKeys<'_>), OfOne)
)]
fn keys() {}

/// A new API key, which is told this once.
#[utoipa::path(
    post,
    path = "/api/auth/keys",
    tag = "accounts",
    security(("session" = [])),
    request_body = NewKey,
    responses((status = 201, description = "The key.", body = ShownKey<'_>), OfBody)
)]
fn new_key() {}

/// Revokes an API key.
#[utoipa::path(
    delete,
    path = "/api/auth/keys/{id}",
    tag = "accounts",
    security(("session" = [])),
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    responses((status = 204, description = "It is revoked."), OfOne)
)]
fn revoke_key() {}

/// A page of all accounts, for admins.
#[utoipa::path(
    get,
    path = "/api/auth/accounts",
    tag = "accounts",
    security(("session" = []), ("bearer" = [])),
    params(("after" = Option<String>, Query, description = "`next` of the page before.")),
    responses(
        (status = 200, description = "A page.", body = Everybody),
        (status = 403, description = "It is for admins."),
        (status = 404, description = "Accounts are not open here."),
        OfList
    )
)]
fn accounts() {}

/// Changes what an account may do and have, by an admin.
#[utoipa::path(
    patch,
    path = "/api/auth/accounts/{id}",
    tag = "accounts",
    security(("session" = [])),
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    request_body = PatchDocument,
    responses((status = 200, description = "The account as it is now.", body = Me), OfBody)
)]
fn patch() {}
