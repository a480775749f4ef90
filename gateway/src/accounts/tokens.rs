//! Tokens for programs: JWTs (RFC 7519) signed with Ed25519 (`EdDSA`, RFC 8037), which anybody can check with the
//! keys that we publish (JWKS, RFC 7517).
//!
//! The keys are in the catalog and the same on every replica. One signs for a day, then another; each is published
//! until the last token that it signed has expired. There is one algorithm, and it is not the token that chooses it.
//! That is all we need of JWT, so it is written here over `ring`: the libraries bring RSA and a second stack of
//! cryptography.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use seekway_catalog::{AccountId, Catalog, NewSigningKey, Role, SigningKey};
use serde::{Deserialize, Serialize};

use super::{Principal, Proof, Refusal};
use crate::config::AccountSettings;
use crate::respond::Problem;

const ISSUER: &str = "seekway";
const ALGORITHM: &str = "EdDSA";
/// How long the catalog's answer is believed.
const KEYS_FRESH: Duration = Duration::from_mins(1);
/// A token with an unknown key has it asked again, but not more often than this: anybody can invent keys.
const KEYS_ASKED_EVERY: Duration = Duration::from_secs(1);
/// A key is believed for longer than its last token is valid: replicas and clocks are not all of one mind.
const BELIEVED_MORE: Duration = Duration::from_mins(10);

/// Makes and checks tokens.
pub(super) struct Tokens {
    catalog: Catalog,
    lifetime: Duration,
    signs_for: Duration,
    known: Mutex<Option<Known>>,
}

#[derive(Clone)]
struct Known {
    keys: Arc<[SigningKey]>,
    asked: Instant,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    role: String,
    /// Seconds since 1970.
    iat: u64,
    exp: u64,
}

/// RFC 7517 §4, RFC 8037 §2.
#[derive(Serialize)]
struct Jwk {
    kty: &'static str,
    crv: &'static str,
    alg: &'static str,
    r#use: &'static str,
    kid: String,
    x: String,
}

/// The published keys.
#[derive(Serialize)]
pub(super) struct Jwks {
    keys: Vec<Jwk>,
}

// === impl Tokens ===

impl Tokens {
    pub(super) fn new(catalog: Catalog, settings: &AccountSettings) -> Self {
        let (lifetime, signs_for) = (*settings.token_lifetime, *settings.token_key_lifetime);
        Self { catalog, lifetime, signs_for, known: Mutex::new(None) }
    }

    /// How long a token is valid.
    pub(super) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// A token for whom a request is for.
    pub(super) async fn issue(&self, principal: Principal) -> Result<String, Problem> {
        let keys = self.keys(KEYS_FRESH).await?;
        let key = keys.first().ok_or(Problem::Panicked)?;
        let now = now_secs();
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: principal.account.to_string(),
            role: principal.role.as_str().to_owned(),
            iat: now,
            exp: now + self.lifetime.as_secs().max(1),
        };
        sign(key, &claims).ok_or(Problem::Panicked)
    }

    /// Whom a token is for.
    pub(super) async fn check(&self, token: &str) -> Result<Principal, Problem> {
        let parsed = Parsed::read(token).ok_or(Refusal::BadToken)?;
        let mut keys = self.keys(KEYS_FRESH).await?;
        if !parsed.has_key_in(&keys) {
            // It may have been made a moment ago, elsewhere.
            keys = self.keys(KEYS_ASKED_EVERY).await?;
        }
        Ok(parsed.verify(&keys, now_secs()).ok_or(Refusal::BadToken)?)
    }

    /// The keys to check tokens with.
    pub(super) async fn published(&self) -> Result<Jwks, Problem> {
        let keys = self.keys(KEYS_ASKED_EVERY).await?;
        let jwk = |key: &SigningKey| {
            let (kid, x) = (key.id.clone(), key.public_key.clone());
            Jwk { kty: "OKP", crv: "Ed25519", alg: ALGORITHM, r#use: "sig", kid, x }
        };
        Ok(Jwks { keys: keys.iter().map(jwk).collect() })
    }

    /// What the catalog has said within `fresh`, or says now.
    async fn keys(&self, fresh: Duration) -> Result<Arc<[SigningKey]>, Problem> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known.filter(|known| known.asked.elapsed() < fresh) {
            return Ok(known.keys);
        }
        let asked = Instant::now();
        let signs_for = millis(self.signs_for);
        let believed_for = millis(self.signs_for + self.lifetime + BELIEVED_MORE);
        let keys = self.catalog.signing_keys().valid(signs_for, believed_for, new_key).await;
        let keys: Arc<[SigningKey]> = keys.map_err(Problem::Catalog)?.into();
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Known { keys: keys.clone(), asked });
        Ok(keys)
    }
}

/// A token that has a token's form; nothing of it is believed yet.
struct Parsed<'a> {
    header: Header,
    signed: &'a str,
    claims: &'a str,
    signature: Vec<u8>,
}

// === impl Parsed ===

impl<'a> Parsed<'a> {
    fn read(token: &'a str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        (header.alg == ALGORITHM).then_some(())?;
        Some(Self { header, signed, claims, signature: decode(signature)? })
    }

    fn has_key_in(&self, keys: &[SigningKey]) -> bool {
        keys.iter().any(|key| key.id == self.header.kid)
    }

    fn verify(&self, keys: &[SigningKey], now_secs: u64) -> Option<Principal> {
        let key = keys.iter().find(|key| key.id == self.header.kid)?;
        let public = UnparsedPublicKey::new(&ED25519, decode(&key.public_key)?);
        public.verify(self.signed.as_bytes(), &self.signature).ok()?;
        let claims: Claims = serde_json::from_slice(&decode(self.claims)?).ok()?;
        (claims.iss == ISSUER && now_secs < claims.exp).then_some(())?;
        let (account, role) = (AccountId::parse(&claims.sub)?, Role::parse(&claims.role)?);
        Some(Principal { account, role, proof: Proof::Token })
    }
}

fn sign(key: &SigningKey, claims: &Claims) -> Option<String> {
    let pair = Ed25519KeyPair::from_pkcs8(&decode(&key.private_key)?).ok()?;
    let header = Header { alg: ALGORITHM.to_owned(), typ: "JWT".to_owned(), kid: key.id.clone() };
    let part = |json: Vec<u8>| URL_SAFE_NO_PAD.encode(json);
    let header = part(serde_json::to_vec(&header).ok()?);
    let signed = format!("{header}.{}", part(serde_json::to_vec(claims).ok()?));
    let signature = part(pair.sign(signed.as_bytes()).as_ref().to_vec());
    Some(format!("{signed}.{signature}"))
}

fn new_key() -> NewSigningKey {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("the system has randomness");
    let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("it has just been made");
    let public_key = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    NewSigningKey {
        id: super::secrets::token(),
        private_key: URL_SAFE_NO_PAD.encode(document.as_ref()),
        public_key,
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
