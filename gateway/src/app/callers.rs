//! What depends on who asks: accounts, videos, assets and uploads, and whether an object may be seen.

use std::net::IpAddr;

use futures_util::{StreamExt, stream};
use http::header::{self, HeaderMap};
use http::{Method, Request, Response, StatusCode};
use seekway_catalog::Role;
use seekway_storage::ObjectKey;

use super::{App, Known, RequestBody, taken};
use crate::access::Verdict;
use crate::accounts::{self, Accounts, Asked};
use crate::caller::Caller;
use crate::config::Listing;
use crate::delivery::body::Payload;
use crate::delivery::cors;
use crate::respond::Problem;
use crate::routes::{self, Route};
use crate::upload::{self, tus};
use crate::{assets, console, feed, jobs, json, videos, webhooks};

impl App {
    /// Whether the object is shown only because the caller owns it.
    ///
    /// # Errors
    /// [`Problem::NoObject`] when it is not shown.
    pub(super) async fn may_see(
        &self,
        key: &ObjectKey,
        known: &Known<'_>,
        request: &Request<()>,
    ) -> Result<bool, Problem> {
        let Some(access) = &self.access else { return Ok(false) };
        match access.of(key).await? {
            Verdict::Anybody | Verdict::Unlisted(_) => Ok(false),
            Verdict::Owner(owner) if Box::pin(self.caller(known, request)).await?.owns(owner) => Ok(true),
            Verdict::Owner(_) | Verdict::Nobody => Err(Problem::NoObject),
        }
    }

    /// Accounts, where they are open to this request.
    fn accounts_for(&self, known: &Known<'_>, request: &Request<()>) -> Option<&Accounts> {
        let is_open = is_open_to(self.accounts_open_to, known.client, request);
        self.accounts.as_ref().filter(|_| is_open)
    }

    pub(super) async fn account<B: RequestBody>(
        &self,
        action: accounts::Action,
        known: &Known<'_>,
        request: &Request<()>,
        body: &mut Option<B>,
    ) -> Result<Response<Payload>, Problem> {
        let accounts = self.accounts_for(known, request).ok_or(accounts::Refusal::Off)?;
        let headers = request.headers();
        let asked = Asked {
            method: request.method(),
            headers,
            query: request.uri().query(),
            client: known.client,
            is_secure: self.admission.is_secure(known.peer, headers),
            is_from_here: is_open_to(Listing::ThisMachine, known.client, request),
        };
        // Boxed, because few requests are this one, and all have room for it.
        Box::pin(accounts.answer(action, &asked, body)).await
    }

    /// Who asks. Without an account, somebody at this machine is more than a stranger where nobody else may upload.
    pub(super) async fn caller(&self, known: &Known<'_>, request: &Request<()>) -> Result<Caller, Problem> {
        let is_secure = self.admission.is_secure(known.peer, request.headers());
        if let Some(accounts) = &self.accounts
            && let Some(principal) =
                accounts.principal(request.method(), request.headers(), is_secure).await?
        {
            return Ok(Caller::Account { account: principal.account, role: principal.role });
        }
        let is_local = self.uploads_open_to == Listing::ThisMachine
            && is_open_to(Listing::ThisMachine, known.client, request)
            && routes::is_same_site(request.headers());
        Ok(if is_local { Caller::Local } else { Caller::Stranger })
    }

    /// What the console page can show to whom asks, so that it asks for nothing in vain.
    pub(super) async fn console_state(
        &self,
        known: &Known<'_>,
        request: &Request<()>,
    ) -> Result<Response<Payload>, Problem> {
        let open_to = |whom| is_open_to(whom, known.client, request);
        let accounts = self.accounts.as_ref().filter(|_| open_to(self.accounts_open_to));
        let account = match accounts {
            None => None,
            Some(accounts) => {
                let is_secure = self.admission.is_secure(known.peer, request.headers());
                accounts.shown(request.method(), request.headers(), is_secure).await?
            }
        };
        // A key or token that is none is told so elsewhere.
        let caller = self.caller(known, request).await?;
        let has_webhooks = self.catalog.is_some() && self.webhooks.per_account() > 0;
        let state = console::State {
            listing: open_to(self.listing),
            videos: self.catalog.is_some(),
            uploads: self.uploads.is_some() && open_to(self.uploads_open_to),
            transcoding: self.profile.is_some(),
            webhooks: has_webhooks && caller != Caller::Stranger,
            accounts: accounts.is_some(),
            account,
        };
        Ok(json::response(StatusCode::OK, &state))
    }

    pub(super) async fn videos<B: RequestBody>(
        &self,
        route: &Route,
        known: &Known<'_>,
        request: &Request<()>,
        body: &mut Option<B>,
    ) -> Result<Response<Payload>, Problem> {
        let catalog = self.catalog.as_ref().ok_or(Problem::NoRoute)?;
        let caller = self.caller(known, request).await?;
        let headers = request.headers();
        match (route, request.method()) {
            (Route::Video(id), &Method::PATCH) => {
                videos::patch(catalog, caller, *id, headers, taken(body)).await
            }
            (Route::Video(id), &Method::DELETE) => videos::delete(catalog, caller, *id).await,
            (Route::Video(id), _) => videos::get(catalog, caller, *id).await,
            (Route::VideoEvents(id), _) => {
                let (followed, ending) = (&self.followed, self.draining.clone());
                videos::events(catalog, followed, caller, *id, headers, ending).await
            }
            _ => videos::list(catalog, caller, request.uri().query()).await,
        }
    }

    pub(super) async fn jobs<B: RequestBody>(
        &self,
        route: &Route,
        known: &Known<'_>,
        request: &Request<()>,
        body: &mut Option<B>,
    ) -> Result<Response<Payload>, Problem> {
        let catalog = self.catalog.as_ref().ok_or(Problem::NoRoute)?;
        let caller = self.caller(known, request).await?;
        match (route, request.method()) {
            (Route::VideoJobs(video), &Method::POST) => {
                let (usual, headers) = (self.profile.as_deref(), request.headers());
                jobs::add(catalog, caller, *video, usual, headers, taken(body)).await
            }
            (Route::VideoJobs(video), _) => jobs::of_video(catalog, caller, *video).await,
            (Route::Job(id), _) => jobs::get(catalog, caller, *id).await,
            (Route::JobAction(id, action), _) => jobs::act(catalog, caller, *id, *action).await,
            _ => jobs::list(catalog, caller, request.uri().query()).await,
        }
    }

    /// A stream for who asks for one, else a page.
    pub(super) async fn events(
        &self,
        known: &Known<'_>,
        request: &Request<()>,
    ) -> Result<Response<Payload>, Problem> {
        let catalog = self.catalog.as_ref().ok_or(Problem::NoRoute)?;
        let caller = self.caller(known, request).await?;
        let (headers, query) = (request.headers(), request.uri().query());
        if request.method() == Method::GET && wants_events(headers) {
            let metrics = self.metrics.clone();
            return feed::listen(catalog, &self.feed, caller, headers, query, metrics, self.draining.clone())
                .await;
        }
        feed::page(catalog, caller, query).await
    }

    pub(super) async fn webhooks<B: RequestBody>(
        &self,
        action: webhooks::Action,
        known: &Known<'_>,
        request: &Request<()>,
        body: &mut Option<B>,
    ) -> Result<Response<Payload>, Problem> {
        let asked = webhooks::Asked {
            catalog: self.catalog.as_ref().ok_or(Problem::NoRoute)?,
            settings: &self.webhooks,
            caller: self.caller(known, request).await?,
            method: request.method(),
            headers: request.headers(),
            query: request.uri().query(),
        };
        asked.answer(action, || taken(body)).await
    }

    pub(super) async fn assets(
        &self,
        route: &Route,
        known: &Known<'_>,
        request: &Request<()>,
    ) -> Result<Response<Payload>, Problem> {
        let catalog = self.catalog.as_ref().ok_or(Problem::NoRoute)?;
        let caller = self.caller(known, request).await?;
        match (route, request.method()) {
            (Route::Asset(id), &Method::DELETE) => assets::delete(catalog, caller, *id).await,
            (Route::Asset(id), _) => assets::get(catalog, caller, *id).await,
            _ => assets::list(catalog, caller, request.uri().query()).await,
        }
    }

    pub(super) async fn upload<B: RequestBody>(
        &self,
        route: &Route,
        known: &Known<'_>,
        request: &Request<()>,
        body: &mut Option<B>,
    ) -> Result<Response<Payload>, Problem> {
        let (method, headers) = (request.method(), request.headers());
        let uploads = self.uploads.as_ref().ok_or(upload::Refusal::NotAllowed)?;
        if method == Method::OPTIONS {
            let mut response = self.options(&cors::UPLOADS, headers, routes::allowed_methods(route));
            tus::options(uploads, response.headers_mut());
            return Ok(response);
        }
        let mut body = taken(body);
        let caller = self.caller(known, request).await?;
        match caller {
            Caller::Account { role, .. } if !role.is_at_least(Role::Creator) => {
                return Err(accounts::Refusal::NotAllowed(Role::Creator).into());
            }
            Caller::Stranger if self.uploads_open_to != Listing::Everybody => {
                let is_known = self.accounts.is_some();
                return Err(if is_known {
                    accounts::Refusal::LogInFirst.into()
                } else {
                    upload::Refusal::NotAllowed.into()
                });
            }
            _ => {}
        }
        // Until it is asked for, its client may send no more than others.
        let (phase, mut taking) = (known.phase.clone(), None);
        let body = Box::pin(stream::poll_fn(move |cx| {
            taking.get_or_insert_with(|| phase.take_upload());
            body.poll_next_unpin(cx)
        }));
        upload::http::answer(uploads, caller, route, request, body).await.map_err(Problem::of_uploading)
    }
}

/// Whether a client asks for server-sent events, as every `EventSource` does.
fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = accepted.flat_map(|value| value.split(','));
    types.any(|accepted| {
        let essence = accepted.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("text/event-stream")
    })
}

/// Whether something that is open to `whom` is open to this request.
pub(super) fn is_open_to(whom: Listing, client: IpAddr, request: &Request<()>) -> bool {
    match whom {
        Listing::Everybody => true,
        Listing::ThisMachine => client.is_loopback() && routes::names_this_machine(request.headers()),
        Listing::Nobody => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_for_who_names_them() {
        let wants = |values: &[&'static str]| {
            let values = values.iter().map(|value| (header::ACCEPT, http::HeaderValue::from_static(value)));
            wants_events(&values.collect())
        };
        for yes in ["text/event-stream", "Text/Event-Stream;q=0.9", "application/json, text/event-stream"] {
            assert!(wants(&[yes]), "{yes}");
        }
        assert!(wants(&["application/json", "text/event-stream"]));
        for no in ["", "*/*", "text/*", "text/event-streams", "application/json"] {
            assert!(!wants(&[no]), "{no}");
        }
        assert!(!wants(&[]));
    }
}
