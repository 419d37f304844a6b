//! Routes and the layers around them.

use std::any::Any;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::config::Origins;
use crate::error::{Kind, Problem};
use crate::layers;
use crate::quota_headers as quota;
use crate::request_id::REQUEST_ID;
use crate::routes::{health, jobs, keys, result, settle, submit, usage};
use crate::state::Gateway;

/// The API.
pub fn router(app: Gateway) -> Router {
    let v1 = Router::new()
        .route("/settle", post(settle::settle))
        .route("/receipt", post(settle::receipt))
        .route("/bundle", post(settle::bundle))
        .route("/chain/receipt", post(settle::chain_receipt))
        .route("/settle/diffusion", post(settle::diffusion))
        .route("/jobs", get(jobs::list))
        .route("/jobs/settle", post(submit::settle))
        .route("/jobs/diffusion", post(submit::diffusion))
        .route("/jobs/chain", post(submit::chain))
        .route("/jobs/{id}", get(jobs::get).delete(jobs::cancel))
        .route("/jobs/{id}/result", get(result::get))
        .route("/usage", get(usage::get))
        .route("/usage/ledger", get(usage::ledger))
        .route("/keys/self", get(keys::get))
        .route("/keys/self/rotate", post(keys::rotate))
        // Probes and scrapes are not requests of clients and are not limited.
        .layer(from_fn_with_state(app.clone(), layers::limit_requests));
    let cors = cors(&app.config().cors_origins);
    Router::new()
        .nest("/v1", v1)
        .route("/health", get(health::live))
        .route("/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(|| async { Problem::new(Kind::NotFound, "there is no such route") })
        .layer(CatchPanicLayer::custom(panicked))
        // Bodies are read under the limits of the caller's plan.
        .layer(DefaultBodyLimit::disable())
        .layer(cors)
        .layer(from_fn(layers::harden))
        .layer(from_fn_with_state(app.clone(), layers::observe))
        .with_state(app)
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    // The panic hook has logged what happened and where.
    tracing::error!("a request handler panicked");
    Problem::new(
        Kind::Internal,
        "the service made an error; it has been logged",
    )
    .into_response()
}

fn cors(origins: &Origins) -> CorsLayer {
    let allowed = match origins {
        Origins::None => return CorsLayer::new(),
        Origins::Any => AllowOrigin::any(),
        Origins::List(origins) => AllowOrigin::list(origins.iter().cloned()),
    };
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::CONTENT_ENCODING,
            header::IF_NONE_MATCH,
            HeaderName::from_static("x-api-key"),
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("prefer"),
            HeaderName::from_static("traceparent"),
            REQUEST_ID,
        ])
        .expose_headers([
            header::LOCATION,
            header::ETAG,
            header::RETRY_AFTER,
            REQUEST_ID,
            quota::QUOTA_LIMIT,
            quota::QUOTA_REMAINING,
            quota::QUOTA_RESET,
            quota::MONTHLY_CAP,
            quota::MONTHLY_USED,
            quota::MONTHLY_REMAINING,
            quota::RATE_LIMIT,
            quota::RATE_LIMIT_POLICY,
        ])
        .max_age(std::time::Duration::from_secs(3_600))
        .vary([HeaderName::from_static("origin")])
}

/// Headers that every answer has unless a handler set its own.
pub(crate) const HARDENING: [(HeaderName, HeaderValue); 6] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (
        header::STRICT_TRANSPORT_SECURITY,
        HeaderValue::from_static("max-age=31536000; includeSubDomains"),
    ),
];
