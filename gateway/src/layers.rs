//! What happens around every request: its id, its log line, its metrics, limits and headers.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use oscillink_telemetry::{HttpLabels, Metrics};
use tracing::Instrument;

use crate::config::Endpoint;
use crate::error::{Problem, render};
use crate::extract::traceparent;
use crate::rate::client_address;
use crate::request_id::{REQUEST_ID, RequestId};
use crate::router::HARDENING;
use crate::state::Gateway;

/// The outermost layer: gives the request its id, the answer its final form, and counts both.
pub async fn observe(State(app): State<Gateway>, mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers(), || app.engine().new_id_bytes());
    request.extensions_mut().insert(id.clone());
    let method = known_method(request.method());
    let route = request.extensions().get::<MatchedPath>();
    // Paths of clients are not labels: there is no end to them.
    let route = route.map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!(
        "request",
        request_id = id.id,
        method,
        route,
        trace_id = tracing::field::Empty,
        key = tracing::field::Empty,
        n = tracing::field::Empty,
        d = tracing::field::Empty,
        quota_remaining = tracing::field::Empty,
    );
    if let Some(trace_id) =
        traceparent(request.headers()).and_then(|t| Some(t.get(3..35)?.to_owned()))
    {
        span.record("trace_id", trace_id);
    }
    let started = Instant::now();
    let in_flight = InFlight::begin(app.metrics());
    let response = next.run(request).instrument(span.clone()).await;
    drop(in_flight);
    let mut response = render(response, &id.id, app.engine().now());
    if let Ok(value) = HeaderValue::from_str(&id.id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let elapsed = started.elapsed();
    let status = response.status().as_u16();
    let labels = HttpLabels {
        method,
        route,
        status,
    };
    app.metrics().http_requests.get_or_create(&labels).inc();
    app.metrics().http_duration.observe(elapsed.as_secs_f64());
    let duration_ms = elapsed.as_secs_f64() * 1e3;
    span.in_scope(|| tracing::info!(status, duration_ms, "answered"));
    response
}

/// Counts a request as under way, also when its client goes away.
struct InFlight(Metrics);

impl InFlight {
    fn begin(metrics: &Metrics) -> Self {
        metrics.http_in_flight.inc();
        Self(metrics.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.http_in_flight.dec();
    }
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

fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        _ => "OTHER",
    }
}
