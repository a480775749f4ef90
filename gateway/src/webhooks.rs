//! Webhooks: programs that are told of events by requests of ours, signed as the Standard Webhooks specification has it
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).
//!
//! This file and `document.rs` answer `/api/webhooks`; only its owner sees a webhook. `dispatcher.rs` claims what is to be
//! delivered and says what came of it, `sender.rs` makes one request, to where `target.rs` allows it, and `signature.rs`
//! signs it.

mod action;
mod dispatcher;
mod document;
mod sender;
mod signature;
mod target;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use seekway_catalog::{
    AccountId, Catalog, Error, EventId, EventKind, NewWebhook, Role, WebhookId, WebhookPatch, WebhookState,
};

pub(crate) use action::Action;
pub(crate) use dispatcher::{Dispatcher, LOOKUPS_MAX};
pub(crate) use document::{
    AttemptDocument, DeliveriesDocument, DeliveryDocument, NewWebhookDocument, PatchDocument, ScopeWord,
    TestedDocument, WebhookDocument, WebhooksDocument,
};

use crate::accounts;
use crate::caller::Caller;
use crate::config::WebhookSettings;
use crate::delivery::body::Payload;
use crate::json;
use crate::respond::Problem;
use crate::routes::{BadQuery, VIDEOS_LIMIT_MAX, limit, parameter};
use crate::upload::Body;
use signature::Secret;
use target::Target;

/// For so long the secret before signs, too, so that receivers learn the new one in their own time.
const ROTATION_MS: i64 = 24 * 3_600_000;
const DESCRIPTION_CHARS_MAX: usize = 300;
/// Without a `limit`: a screenful.
const LIMIT_DEFAULT: usize = 20;

/// A request, but for its body.
pub(crate) struct Asked<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) settings: &'a WebhookSettings,
    pub(crate) caller: Caller,
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) query: Option<&'a str>,
}

// === impl Asked ===

impl Asked<'_> {
    /// Answers a request whose method the action has.
    pub(crate) async fn answer(
        &self,
        action: Action,
        body: impl FnOnce() -> Body,
    ) -> Result<Response<Payload>, Problem> {
        let account = self.account()?;
        match (action, self.method) {
            (Action::All, &Method::POST) => self.create(account, body()).await,
            (Action::All, _) => self.list(account).await,
            (Action::One(id), &Method::PATCH) => self.patch(account, id, body()).await,
            (Action::One(id), &Method::DELETE) => {
                self.catalog.webhooks().delete(account, id).await.map_err(of_webhook)?;
                tracing::info!(webhook = %id, "a webhook was deleted");
                Ok(json::done())
            }
            (Action::One(id), _) => {
                let webhook = self.catalog.webhooks().get(account, id).await.map_err(of_webhook)?;
                Ok(json::response(StatusCode::OK, &WebhookDocument::of(webhook, None)))
            }
            (Action::Secret(id), _) => self.rotate(account, id).await,
            (Action::Test(id), _) => {
                let event = self.catalog.webhooks().test(account, id).await.map_err(of_webhook)?;
                Ok(json::response(StatusCode::ACCEPTED, &TestedDocument { event: event.to_string() }))
            }
            (Action::Deliveries(id), _) => self.deliveries(account, id).await,
            (Action::Redeliver(id, event), _) => {
                let delivery = self.catalog.webhooks().redeliver(account, id, event).await;
                let delivery = delivery.map_err(of_webhook)?;
                Ok(json::response(StatusCode::ACCEPTED, &DeliveryDocument::from(&delivery)))
            }
        }
    }

    /// Whose webhooks it is about; nobody's on a gateway without accounts.
    fn account(&self) -> Result<Option<AccountId>, Problem> {
        match self.caller {
            Caller::Stranger => Err(accounts::Refusal::LogInFirst.into()),
            Caller::Local | Caller::Account { .. } => Ok(self.caller.account()),
        }
    }

    async fn create(&self, account: Option<AccountId>, body: Body) -> Result<Response<Payload>, Problem> {
        let NewWebhookDocument { url, description, events, scope } = json::read(self.headers, body).await?;
        let secret = Secret::new();
        let new = NewWebhook {
            url: self.url(url)?,
            description: description.map(described).transpose()?.unwrap_or_default(),
            kinds: events.map(|events| kinds(&events)).transpose()?.unwrap_or_default(),
            hears_all: self.hears_all(scope)?.unwrap_or_default(),
            secret: secret.bytes().to_vec(),
        };
        let most = self.settings.per_account();
        let webhook = self.catalog.webhooks().create(account, &new, most).await.map_err(of_webhook)?;
        tracing::info!(webhook = %webhook.id, "a webhook was added");
        let path = HeaderValue::from_str(&format!("/api/webhooks/{}", webhook.id)).expect("a path");
        let mut response = json::response(StatusCode::CREATED, &WebhookDocument::of(webhook, Some(&secret)));
        response.headers_mut().insert(header::LOCATION, path);
        Ok(response)
    }

    async fn list(&self, account: Option<AccountId>) -> Result<Response<Payload>, Problem> {
        let webhooks = self.catalog.webhooks().of_account(account).await?;
        let webhooks = webhooks.into_iter().map(|webhook| WebhookDocument::of(webhook, None)).collect();
        Ok(json::response(StatusCode::OK, &WebhooksDocument { webhooks }))
    }

    async fn patch(
        &self,
        account: Option<AccountId>,
        id: WebhookId,
        body: Body,
    ) -> Result<Response<Payload>, Problem> {
        self.catalog.webhooks().get(account, id).await.map_err(of_webhook)?;
        let PatchDocument { url, description, events, scope, enabled } =
            json::read(self.headers, body).await?;
        let state = |enabled| if enabled { WebhookState::Enabled } else { WebhookState::Disabled };
        let patch = WebhookPatch {
            url: url.map(|url| self.url(url)).transpose()?,
            description: description.map(described).transpose()?,
            kinds: events.map(|events| kinds(&events)).transpose()?,
            hears_all: self.hears_all(scope)?,
            state: enabled.map(state),
        };
        let webhook = self.catalog.webhooks().patch(account, id, patch).await.map_err(of_webhook)?;
        tracing::info!(webhook = %id, state = webhook.state.as_str(), "a webhook was changed");
        Ok(json::response(StatusCode::OK, &WebhookDocument::of(webhook, None)))
    }

    async fn rotate(&self, account: Option<AccountId>, id: WebhookId) -> Result<Response<Payload>, Problem> {
        let secret = Secret::new();
        let rotated = self.catalog.webhooks().rotate(account, id, secret.bytes(), ROTATION_MS).await;
        let webhook = rotated.map_err(of_webhook)?;
        tracing::info!(webhook = %id, "a webhook has another secret");
        Ok(json::response(StatusCode::OK, &WebhookDocument::of(webhook, Some(&secret))))
    }

    async fn deliveries(
        &self,
        account: Option<AccountId>,
        id: WebhookId,
    ) -> Result<Response<Payload>, Problem> {
        let (after, limit) = page(self.query.unwrap_or_default()).map_err(Problem::BadQuery)?;
        // One more than is shown says whether there is a next page.
        let wanted = u32::try_from(limit + 1).expect("a limit is small");
        let deliveries = self.catalog.webhooks().deliveries(account, id, after, wanted).await;
        let deliveries = deliveries.map_err(of_webhook)?;
        let shown = &deliveries[..limit.min(deliveries.len())];
        let next = shown.last().filter(|_| deliveries.len() > limit);
        let document = DeliveriesDocument {
            deliveries: shown.iter().map(DeliveryDocument::from).collect(),
            next: next.map(|delivery| delivery.event.id.to_string()),
        };
        Ok(json::response(StatusCode::OK, &document))
    }

    fn url(&self, url: String) -> Result<String, Problem> {
        let target = Target::parse(&url).and_then(|target| target.check_address(self.settings.to_private()));
        target.map_err(|why| Problem::BadBody(format!("`url` {why}")))?;
        Ok(url)
    }

    /// What happens to others' videos only admins hear.
    fn hears_all(&self, scope: Option<ScopeWord>) -> Result<Option<bool>, Problem> {
        let is_admin = matches!(self.caller, Caller::Account { role: Role::Admin, .. });
        match scope {
            Some(ScopeWord::All) if !is_admin => Err(accounts::Refusal::NotAllowed(Role::Admin).into()),
            scope => Ok(scope.map(|scope| scope == ScopeWord::All)),
        }
    }
}

fn described(text: String) -> Result<String, Problem> {
    if text.chars().count() > DESCRIPTION_CHARS_MAX || text.contains(char::is_control) {
        let why = format!("`description` must have at most {DESCRIPTION_CHARS_MAX} characters in one line");
        return Err(Problem::BadBody(why));
    }
    Ok(text)
}

fn kinds(words: &[String]) -> Result<Vec<EventKind>, Problem> {
    let mut kinds =
        words.iter().map(|word| EventKind::parse(word)).collect::<Option<Vec<_>>>().ok_or_else(|| {
            let allowed: Vec<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
            Problem::BadBody(format!("`events` must be of these: {}", allowed.join(", ")))
        })?;
    kinds.sort_unstable();
    kinds.dedup();
    Ok(kinds)
}

fn page(query: &str) -> Result<(Option<EventId>, usize), BadQuery> {
    let after = parameter(query, "after")?.map(|text| EventId::parse(&text).ok_or(BadQuery::After));
    let limit = limit(query, LIMIT_DEFAULT, VIDEOS_LIMIT_MAX)?.ok_or(BadQuery::VideosLimit)?;
    Ok((after.transpose()?, limit))
}

fn of_webhook(error: Error) -> Problem {
    match error {
        Error::NotFound => Problem::NoWebhook,
        Error::Conflict(why) => Problem::WebhookConflict(why.to_owned()),
        Error::Quota { limit, .. } => {
            Problem::WebhookConflict(format!("an account may have {limit} webhooks"))
        }
        error => error.into(),
    }
}
