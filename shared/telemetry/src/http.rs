//! One HTTP request as seen by its server: its span, its log line, its metrics.

use std::time::Instant;

use tracing::Span;

use crate::metrics::{HttpLabels, Metrics, RouteLabels};
use crate::span;

/// Routes that machines ask all the time: neither traced nor logged, unless everything is.
const PROBES: [&str; 3] = ["/health", "/ready", "/metrics"];

/// A request being answered. Dropping it, as when the client goes away, only ends its being counted
/// as under way.
#[derive(Debug)]
pub struct Call {
    metrics: Metrics,
    span: Span,
    method: &'static str,
    route: String,
    started: Instant,
}

impl Call {
    /// Begins. `route` is the matched route's pattern: paths of clients are no labels, for there is no
    /// end to them.
    #[must_use]
    pub fn begin(
        metrics: &Metrics,
        method: &str,
        route: Option<&str>,
        request_id: &str,
        traceparent: Option<&str>,
    ) -> Self {
        let method = known_method(method);
        let route = route.unwrap_or("unmatched");
        metrics.http_in_flight.inc();
        Self {
            metrics: metrics.clone(),
            span: if PROBES.contains(&route) {
                tracing::debug_span!("probe", request_id, http.route = route)
            } else {
                span::request(method, route, request_id, traceparent)
            },
            method,
            route: route.to_owned(),
            started: Instant::now(),
        }
    }

    /// The span to answer it in.
    #[must_use]
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// Ends with an answer of this status.
    pub fn end(self, status: u16) {
        let elapsed = self.started.elapsed();
        self.span.record("http.response.status_code", status);
        if status >= 500 {
            self.span.record("otel.status_code", "error");
        }
        let labels = RouteLabels {
            method: self.method,
            route: self.route.clone(),
        };
        let _inside = self.span.enter();
        self.metrics
            .http_duration
            .get_or_create(&labels)
            .observe(elapsed);
        let RouteLabels { method, route } = labels;
        let labels = HttpLabels {
            method,
            route,
            status,
        };
        self.metrics.http_requests.get_or_create(&labels).inc();
        let duration_ms = elapsed.as_secs_f64() * 1e3;
        if PROBES.contains(&self.route.as_str()) {
            tracing::debug!(status, duration_ms, "answered");
        } else if status >= 500 {
            tracing::warn!(duration_ms, "answered");
        } else {
            tracing::info!(duration_ms, "answered");
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.metrics.http_in_flight.dec();
    }
}

fn known_method(method: &str) -> &'static str {
    match method {
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
