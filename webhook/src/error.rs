//! Every error of the service as a problem document (RFC 9457), and the one mapping to them.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use oscillink_engine::BillingError;
use oscillink_ports::PortError;
use serde_json::json;

use crate::api::ApiError;
use crate::signature::SignatureError;

/// A request was not served.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Not from Stripe.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The request has errors.
    #[error("{0}")]
    Invalid(String),
    /// No key, or one that opens nothing.
    #[error("a valid API key is needed")]
    Unauthorized,
    /// There is no such thing.
    #[error("{0}")]
    NotFound(&'static str),
    /// Things are in another state.
    #[error("{0}")]
    Conflict(&'static str),
    /// Too many checkouts are being started.
    #[error("too many checkouts are being started; try again in a minute")]
    RateLimited,
    /// The service is not set up for it.
    #[error("{0}")]
    NotConfigured(&'static str),
    /// Stripe did not do what it was asked.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The store failed.
    #[error("the service cannot reach its store; try again")]
    Store(#[source] PortError),
}

impl Problem {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Signature(_) | Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::NotConfigured(_) | Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Api(ApiError::Unreachable(_)) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Api(_) => StatusCode::BAD_GATEWAY,
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Signature(_) => "bad-signature",
            Self::Invalid(_) => "invalid-request",
            Self::Unauthorized => "unauthorized",
            Self::NotFound(_) => "not-found",
            Self::Conflict(_) => "conflict",
            Self::RateLimited => "rate-limited",
            Self::NotConfigured(_) => "not-configured",
            Self::Api(ApiError::Unreachable(_)) | Self::Store(_) => "unavailable",
            Self::Api(_) => "payment-provider",
        }
    }
}

impl From<PortError> for Problem {
    fn from(error: PortError) -> Self {
        Self::Store(error)
    }
}

impl From<BillingError> for Problem {
    fn from(error: BillingError) -> Self {
        match error {
            BillingError::NoSuchEvent => Self::NotFound("no such event"),
            BillingError::Port(port) => Self::Store(port),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        if let Self::Store(error) = &self {
            tracing::error!(%error, "the store failed");
        } else if status.is_server_error() {
            tracing::warn!(error = %self, "a billing request was not served");
        }
        // What Stripe said of a refused call is for the log, not for the visitor.
        let detail = match &self {
            Self::Api(ApiError::Unreachable(_)) => "Stripe does not answer; try again".to_owned(),
            Self::Api(_) => "Stripe did not accept the request".to_owned(),
            other => other.to_string(),
        };
        let body = json!({
            "type": format!("urn:oscillink:problem:{}", self.name()),
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": detail,
        });
        let mut response = (
            status,
            [(header::CONTENT_TYPE, "application/problem+json")],
            body.to_string(),
        )
            .into_response();
        if matches!(
            self.status(),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        ) {
            let value = header::HeaderValue::from_static("5");
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        response
    }
}
