//! The layers around the routes.

use std::any::Any;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::config::Origins;
use crate::error::{Kind, Problem};
use crate::layers;
use crate::quota_headers as quota;
use crate::replay::REPLAYED;
use crate::request_id::REQUEST_ID;
use crate::routes::admin::once::answer_once;
use crate::state::Gateway;
use crate::table::{admin, probes, v1};

/// The API.
pub fn router(app: Gateway) -> Router {
    let v1 = v1().into_router();
    let v1 = match app.config().admin_secret {
        Some(_) => {
            let once = from_fn_with_state(app.clone(), answer_once);
            v1.nest("/admin", admin().into_router().layer(once))
        }
        None => v1,
    };
    // Probes and scrapes are not requests of clients and are not limited.
    let v1 = v1.layer(from_fn_with_state(app.clone(), layers::limit_requests));
    let cors = cors(&app.config().cors_origins);
    probes()
        .into_router()
        .nest("/v1", v1)
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
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::CONTENT_ENCODING,
            header::IF_NONE_MATCH,
            header::CACHE_CONTROL,
            HeaderName::from_static("x-api-key"),
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("prefer"),
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("traceparent"),
            REQUEST_ID,
        ])
        .expose_headers([
            header::LOCATION,
            header::ETAG,
            header::RETRY_AFTER,
            REQUEST_ID,
            REPLAYED,
            HeaderName::from_static("x-cache"),
            HeaderName::from_static("preference-applied"),
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
