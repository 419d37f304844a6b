//! Billing: what the payment provider has told, handling it anew, and what is for sale.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use oscillink_domain::billing::{BillingId, EventStatus, WebhookEvent};
use oscillink_engine::{BillingError, EventFilter, Replayed};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{Kind, Problem};
use crate::extract::{Admin, Queried};
use crate::openapi::{self as api, Api};
use crate::routes::lists::{PageQuery, opaque};
use crate::routes::views::ListView;
use crate::state::Gateway;

/// A message of the payment provider.
#[derive(Serialize)]
struct EventView<'a> {
    id: &'a str,
    event_type: &'a str,
    status: EventStatus,
    received: String,
    /// When it got its status; absent while it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    settled: Option<String>,
    /// When it is tried next, while it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<String>,
    attempts: u32,
    /// Why it is not processed, or what to know about how it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    /// The message as it came; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<&'a str>,
}

impl<'a> EventView<'a> {
    fn of(event: &'a WebhookEvent) -> Self {
        let open = event.is_open();
        Self {
            id: &event.id,
            event_type: &event.event_type,
            status: event.status,
            received: event.received_at.to_string(),
            settled: event.settled_at.filter(|_| !open).map(|at| at.to_string()),
            due: open.then(|| event.due_at.to_string()),
            attempts: event.attempts,
            error: event.error.as_deref(),
            raw: None,
        }
    }

    fn whole(event: &'a WebhookEvent) -> Self {
        Self {
            raw: Some(&event.raw),
            ..Self::of(event)
        }
    }
}

/// Which messages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    status: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// `GET /v1/admin/webhook-events`: newest first.
pub async fn events(
    State(app): State<Gateway>,
    _: Admin,
    Queried(query): Queried<EventQuery>,
) -> Result<Response, Problem> {
    let page = PageQuery {
        limit: query.limit,
        cursor: query.cursor,
    };
    let filter = EventFilter {
        status: query.status.as_deref().map(status).transpose()?,
    };
    let engine = app.engine();
    let page = engine.webhook_events(filter, page.limit()?, page.cursor()?);
    let page = page.await?;
    let items = page.items.iter().map(EventView::of).collect();
    let next_cursor = opaque(page.next.as_ref());
    Ok(Json(ListView { items, next_cursor }).into_response())
}

/// `GET /v1/admin/webhook-events/{id}`: with the message as it came.
pub async fn event(
    State(app): State<Gateway>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let event = app.engine().webhook_event(known_form(&id)?).await?;
    let event = event.ok_or_else(no_such_event)?;
    Ok(Json(EventView::whole(&event)).into_response())
}

/// `POST /v1/admin/webhook-events/{id}/replay`: opens a failed or ignored one again. Always safe.
pub async fn replay(
    State(app): State<Gateway>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let engine = app.engine();
    let replayed = engine.replay_webhook_event(known_form(&id)?).await;
    let outcome = match replayed.map_err(refused)? {
        Replayed::Opened => "opened",
        Replayed::AlreadyOpen => "already_open",
        Replayed::AlreadyProcessed => "already_processed",
    };
    tracing::info!(
        event = id,
        outcome,
        "a billing event was replayed by an operator"
    );
    Ok(Json(json!({"id": id, "outcome": outcome})).into_response())
}

/// `GET /v1/admin/prices`: which price buys which tier.
pub async fn prices(State(app): State<Gateway>, _: Admin) -> Response {
    let prices = app.config().prices.iter();
    let items: Vec<_> = prices
        .map(|(price, tier)| json!({"price": price, "tier": tier}))
        .collect();
    Json(json!({"items": items, "next_cursor": null})).into_response()
}

pub(super) fn describe(api: Api) -> Api {
    let list = api::get(
        "admin",
        "adminListEvents",
        "Messages of the payment provider, newest first",
    );
    let one = api::get("admin", "adminGetEvent", "A message, as it came");
    let again = api::post(
        "admin",
        "adminReplayEvent",
        "Handle a failed or ignored message anew; always safe",
    );
    let table = api::get("admin", "adminPrices", "Which price buys which tier");
    let names: Vec<_> = EventStatus::ALL.iter().map(|s| s.as_str()).collect();
    let statuses = json!({"type": "string", "enum": names});
    let list = list.query("status", "Only these", statuses).paged();
    let again = again.idempotent().path("id", "The message's id");
    api.route(
        "/webhook-events",
        get(events),
        [list.ok("A page", "BillingEventList")],
    )
    .route(
        "/webhook-events/{id}",
        get(event),
        [one.path("id", "The message's id")
            .ok("The message", "BillingEvent")],
    )
    .route(
        "/webhook-events/{id}/replay",
        post(replay),
        [again.ok("What was done", "Replayed")],
    )
    .route("/prices", get(prices), [table.ok("The table", "PriceList")])
}

fn status(text: &str) -> Result<EventStatus, Problem> {
    let found = EventStatus::ALL.into_iter().find(|s| s.as_str() == text);
    found.ok_or_else(|| {
        let detail = "must be received, processed, ignored or failed";
        Problem::field("status", detail)
    })
}

/// What cannot be an event's id names none.
fn known_form(id: &str) -> Result<&str, Problem> {
    id.parse::<BillingId>().map_err(|_| no_such_event())?;
    Ok(id)
}

fn no_such_event() -> Problem {
    Problem::new(Kind::NotFound, "there is no such event")
}

fn refused(error: BillingError) -> Problem {
    match error {
        BillingError::NoSuchEvent => no_such_event(),
        BillingError::Port(port) => port.into(),
    }
}
