//! What happens around every request: its id, its log line, its metrics, limits and headers.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use oscillink_telemetry::http::Call;
use tracing::Instrument as _;

use crate::config::Endpoint;
use crate::error::{Problem, render};
use crate::extract::traceparent;
use crate::rate::client_address;
use crate::request_id::{REQUEST_ID, RequestId};
use crate::router::HARDENING;
use crate::state::Gateway;
use crate::unread::Unread;

/// Headers that hold secrets.
const SECRET_HEADERS: [&str; 3] = ["authorization", "x-admin-secret", "x-api-key"];

/// The outermost layer: gives the request its id, the answer its final form, and tells of both.
pub async fn observe(State(app): State<Gateway>, mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers(), || app.engine().new_id_bytes());
    request.extensions_mut().insert(id.clone());
    for name in SECRET_HEADERS {
        // Whoever prints the headers prints `Sensitive` instead.
        if let Some(value) = request.headers_mut().get_mut(name) {
            value.set_sensitive(true);
        }
    }
    let route = request.extensions().get::<MatchedPath>();
    let call = Call::begin(
        app.metrics(),
        request.method().as_str(),
        route.map(MatchedPath::as_str),
        &id.id,
        traceparent(request.headers()),
    );
    let unread = Unread::of(&mut request);
    let response = next.run(request).instrument(call.span().clone()).await;
    let mut response = render(response, &id.id, app.engine().now(), app.metrics());
    if let Ok(value) = HeaderValue::from_str(&id.id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    call.end(response.status().as_u16());
    if let Some(unread) = unread {
        unread.settle(&mut response).await;
    }
    response
}

/// Applies the global and the per-address request limit.
pub async fn limit_requests(
    State(app): State<Gateway>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let limits = app.request_limits();
    if limits.are_off() {
        return Ok(next.run(request).await);
    }
    let route = request.extensions().get::<MatchedPath>();
    let endpoint = Endpoint::of(route.map_or("", MatchedPath::as_str));
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0.ip());
    let proxies = app.config().trusted_proxies;
    let address: Option<IpAddr> = client_address(peer, request.headers(), proxies);
    let headers = limits.count(address, endpoint).await?;
    let mut response = next.run(request).await;
    for (name, value) in &headers {
        response.headers_mut().append(name, value.clone());
    }
    Ok(response)
}

/// Adds headers that keep browsers from being tricked.
pub async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HARDENING {
        headers.entry(name).or_insert(value);
    }
    response
}
