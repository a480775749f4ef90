//! `/api/events` and `/api/webhooks`.

use utoipa::OpenApi;

use super::problems::{OfBody, OfList, OfOne};
use crate::feed::{EventDocument, EventsDocument};
use crate::webhooks::{
    AttemptDocument, DeliveriesDocument, DeliveryDocument, NewWebhookDocument, PatchDocument, TestedDocument,
    WebhookDocument, WebhooksDocument,
};

#[derive(OpenApi)]
#[openapi(
    paths(
        events,
        list_webhooks,
        new_webhook,
        get_webhook,
        patch_webhook,
        delete_webhook,
        rotate_secret,
        test_webhook,
        list_deliveries,
        redeliver
    ),
    components(schemas(
        AttemptDocument<'_>,
        DeliveriesDocument<'_>,
        DeliveryDocument<'_>,
        EventDocument<'_>,
        EventsDocument<'_>,
        NewWebhookDocument,
        PatchDocument,
        TestedDocument,
        WebhookDocument,
        WebhooksDocument
    ))
)]
pub(super) struct Events;

/// What happens to the caller's videos, and to everybody's for admins: a page, oldest first; or, for `Accept:
/// text/event-stream`, server-sent events from now on, or after one.
#[utoipa::path(
    get,
    path = "/api/events",
    tag = "events",
    params(
        ("after" = Option<String>, Query, description = "`next` of the page before, or the id of an event of the stream."),
        ("limit" = Option<usize>, Query, description = "At most so many; 100 without it.", minimum = 1, maximum = 100),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event of the stream that the caller knows."),
    ),
    responses(
        (status = 200, description = "A page, or a stream.", content(
            (EventsDocument<'_> = "application/json"),
            (String = "text/event-stream")
        )),
        OfList
    )
)]
fn events() {}

/// The caller's webhooks.
#[utoipa::path(
    get,
    path = "/api/webhooks",
    tag = "webhooks",
    responses((status = 200, description = "All of them.", body = WebhooksDocument), OfList)
)]
fn list_webhooks() {}

/// Adds a webhook. Its secret is told this once.
#[utoipa::path(
    post,
    path = "/api/webhooks",
    tag = "webhooks",
    request_body = NewWebhookDocument,
    responses((status = 201, description = "The webhook.", body = WebhookDocument), OfBody)
)]
fn new_webhook() {}

/// A webhook.
#[utoipa::path(
    get,
    path = "/api/webhooks/{id}",
    tag = "webhooks",
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    responses((status = 200, description = "The webhook.", body = WebhookDocument), OfOne)
)]
fn get_webhook() {}

/// Changes a webhook. Disabled, what waits is given up.
#[utoipa::path(
    patch,
    path = "/api/webhooks/{id}",
    tag = "webhooks",
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    request_body = PatchDocument,
    responses((status = 200, description = "The webhook as it is now.", body = WebhookDocument), OfBody)
)]
fn patch_webhook() {}

/// Deletes a webhook, with its log.
#[utoipa::path(
    delete,
    path = "/api/webhooks/{id}",
    tag = "webhooks",
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    responses((status = 204, description = "It is gone."), OfOne)
)]
fn delete_webhook() {}

/// Has another secret sign, which is told this once. The one before signs, too, for a day.
#[utoipa::path(
    post,
    path = "/api/webhooks/{id}/secret",
    tag = "webhooks",
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    responses((status = 200, description = "The webhook with its new secret.", body = WebhookDocument), OfOne)
)]
fn rotate_secret() {}

/// Has a webhook told of an event by which only that is tried.
#[utoipa::path(
    post,
    path = "/api/webhooks/{id}/test",
    tag = "webhooks",
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    responses(
        (status = 202, description = "What the event is called.", body = TestedDocument),
        (status = 409, description = "It is disabled, or ten tests wait already."),
        OfOne
    )
)]
fn test_webhook() {}

/// What a webhook was told and how that went, newest first.
#[utoipa::path(
    get,
    path = "/api/webhooks/{id}/deliveries",
    tag = "webhooks",
    params(
        ("id" = String, Path, description = "Its name.", format = "uuid"),
        ("after" = Option<String>, Query, description = "`next` of the page before."),
        ("limit" = Option<usize>, Query, description = "At most so many; 20 without it.", minimum = 1, maximum = 100),
    ),
    responses((status = 200, description = "A page.", body = DeliveriesDocument<'_>), OfOne)
)]
fn list_deliveries() {}

/// Has an event told at once, again or for the first time. It has the same name as before.
#[utoipa::path(
    post,
    path = "/api/webhooks/{id}/deliveries/{event}/redeliver",
    tag = "webhooks",
    params(
        ("id" = String, Path, description = "The webhook's name.", format = "uuid"),
        ("event" = String, Path, description = "The event's name.", format = "uuid"),
    ),
    responses(
        (status = 202, description = "The delivery as it is now.", body = DeliveryDocument<'_>),
        (status = 409, description = "The webhook is disabled."),
        OfOne
    )
)]
fn redeliver() {}
