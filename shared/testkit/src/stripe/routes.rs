//! The routes of the fake Stripe API.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State as Shared};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{Call, Form, State, objects};

const MAX_BODY_BYTES: usize = 64 * 1024;

pub(super) fn router(state: Arc<Mutex<State>>) -> Router {
    Router::new().fallback(serve).with_state(state)
}

/// Everything goes through here: the key, the faults, the rules about idempotency keys.
async fn serve(Shared(shared): Shared<Arc<Mutex<State>>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let text = |name: header::HeaderName| parts.headers.get(name)?.to_str().ok();
    let authorised = text(header::AUTHORIZATION).is_some_and(|v| v.starts_with("Bearer sk_test_"));
    let key = parts.headers.get("idempotency-key");
    let key = key.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let path = parts.uri.path().to_owned();
    let query = parse(parts.uri.query().unwrap_or_default().as_bytes());
    let (answer, late) = {
        let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if !authorised {
            (
                error(401, "invalid_request_error", "Invalid API Key provided"),
                None,
            )
        } else if let Some(status) = fails(&mut state) {
            (error(status, "api_error", "Something went wrong"), None)
        } else {
            let answer = answer(&mut state, &parts.method, &path, &query, &body, key);
            (answer, delay(&mut state))
        }
    };
    if let Some(late) = late {
        tokio::time::sleep(late).await;
    }
    let status = StatusCode::from_u16(answer.0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(answer.1)).into_response()
}

fn fails(state: &mut State) -> Option<u16> {
    let (left, status) = state.failing?;
    state.failing = (left > 1).then_some((left - 1, status));
    Some(status)
}

fn delay(state: &mut State) -> Option<std::time::Duration> {
    let (left, late) = state.late?;
    state.late = (left > 1).then_some((left - 1, late));
    Some(late)
}

fn answer(
    state: &mut State,
    method: &Method,
    path: &str,
    query: &Form,
    body: &Bytes,
    key: Option<String>,
) -> (u16, Value) {
    let form = parse(body);
    let what = format!("{method} {path}");
    let changes = method != Method::GET;
    let mut call = Call {
        what: what.clone(),
        idempotency_key: key.clone(),
        form: form.clone(),
        repeated: false,
    };
    if changes && key.is_none() && path != "/v1/billing_portal/sessions" {
        let message = "a call that changes something must bring an Idempotency-Key";
        return error(400, "idempotency_error", message);
    }
    let content = format!("{what} {form:?}");
    if let Some(known) = key
        .as_ref()
        .filter(|_| changes)
        .and_then(|key| state.answers.get(key))
    {
        if known.0 != content {
            let message = "Keys for idempotent requests can only be used with the same parameters";
            return error(400, "idempotency_error", message);
        }
        let again = (known.1, known.2.clone());
        call.repeated = true;
        state.calls.push(call);
        return again;
    }
    let given = route(state, method, path, query, &form);
    if let Some(key) = key.filter(|_| changes) {
        state
            .answers
            .insert(key, (content, given.0, given.1.clone()));
    }
    state.calls.push(call);
    given
}

fn route(
    state: &mut State,
    method: &Method,
    path: &str,
    query: &Form,
    form: &Form,
) -> (u16, Value) {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (method.as_str(), segments.as_slice()) {
        ("GET", ["v1", "subscriptions"]) => list(state, query),
        ("GET", ["v1", "subscriptions", id]) => one(state.subscriptions.get(*id), id),
        ("POST", ["v1", "subscriptions", id]) => {
            let ends = form
                .get("cancel_at_period_end")
                .is_some_and(|v| v == "true");
            change(state, id, |s| s["cancel_at_period_end"] = ends.into())
        }
        ("DELETE", ["v1", "subscriptions", id]) => change(state, id, |s| {
            s["status"] = "canceled".into();
        }),
        ("POST", ["v1", "checkout", "sessions"]) => {
            state.counter += 1;
            let id = format!("cs_test_{}", state.counter);
            let url = format!("https://checkout.stripe.example/{id}");
            let session = objects::session(&id, form, &url);
            state.sessions.insert(id, session.clone());
            (200, session)
        }
        ("GET", ["v1", "checkout", "sessions", id]) => one(state.sessions.get(*id), id),
        ("POST", ["v1", "billing_portal", "sessions"]) => {
            state.counter += 1;
            (
                200,
                objects::portal(&format!("bps_{}", state.counter), form),
            )
        }
        ("POST", ["v1", "billing", "meter_events"]) => meter_event(state, form),
        ("GET", ["v1", "billing", "meters", meter, "event_summaries"]) => {
            summaries(state, meter, query)
        }
        _ => error(
            404,
            "invalid_request_error",
            &format!("Unrecognized request URL ({method}: {path})"),
        ),
    }
}

fn one(found: Option<&Value>, id: &str) -> (u16, Value) {
    match found {
        Some(found) => (200, found.clone()),
        None => error(
            404,
            "invalid_request_error",
            &format!("No such object: '{id}'"),
        ),
    }
}

fn change(state: &mut State, id: &str, change: impl FnOnce(&mut Value)) -> (u16, Value) {
    if let Some(found) = state.subscriptions.get_mut(id) {
        change(found);
    }
    one(state.subscriptions.get(id), id)
}

fn list(state: &State, query: &Form) -> (u16, Value) {
    let limit = query
        .get("limit")
        .and_then(|l| l.parse().ok())
        .unwrap_or(10);
    let after = query.get("starting_after").cloned().unwrap_or_default();
    let rest: Vec<&Value> = state
        .subscriptions
        .iter()
        .filter(|(id, _)| **id > after)
        .map(|(_, subscription)| subscription)
        .collect();
    let page = &rest[..rest.len().min(limit)];
    let more = page.len() < rest.len();
    let list =
        json!({"object": "list", "data": page, "has_more": more, "url": "/v1/subscriptions"});
    (200, list)
}

fn meter_event(state: &mut State, form: &Form) -> (u16, Value) {
    let field = |name: &str| form.get(name).cloned().unwrap_or_default();
    let identifier = field("identifier");
    if state.meter_events.contains_key(&identifier) {
        let message = format!("An event already exists with identifier {identifier}.");
        return error(400, "invalid_request_error", &message);
    }
    let (customer, value) = (
        field("payload[stripe_customer_id]"),
        field("payload[value]"),
    );
    let Ok(units) = value.parse() else {
        return error(
            400,
            "invalid_request_error",
            "payload[value] must be a number",
        );
    };
    state
        .meter_events
        .insert(identifier.clone(), (customer.clone(), units));
    let timestamp: i64 = field("timestamp").parse().unwrap_or_default();
    let event = json!({
        "object": "billing.meter_event", "created": timestamp, "event_name": field("event_name"),
        "identifier": identifier, "livemode": false, "timestamp": timestamp,
        "payload": {"stripe_customer_id": customer, "value": value},
    });
    (200, event)
}

fn summaries(state: &State, meter: &str, query: &Form) -> (u16, Value) {
    let customer = query.get("customer").cloned().unwrap_or_default();
    let own = state
        .meter_events
        .values()
        .filter(|(who, _)| *who == customer);
    let total: u64 = own.map(|(_, units)| units).sum();
    let time = |name: &str| {
        query
            .get(name)
            .and_then(|v| v.parse::<i64>().ok())
            .unwrap_or_default()
    };
    let summary = json!({
        "id": "mtrusg_1", "object": "billing.meter_event_summary", "aggregated_value": total as f64,
        "start_time": time("start_time"), "end_time": time("end_time"), "livemode": false,
        "meter": meter,
    });
    let url = format!("/v1/billing/meters/{meter}/event_summaries");
    (
        200,
        json!({"object": "list", "data": [summary], "has_more": false, "url": url}),
    )
}

fn error(status: u16, kind: &str, message: &str) -> (u16, Value) {
    (status, json!({"error": {"type": kind, "message": message}}))
}

fn parse(bytes: &[u8]) -> Form {
    url::form_urlencoded::parse(bytes).into_owned().collect()
}
