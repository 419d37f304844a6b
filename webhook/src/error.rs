//! Every error of the service as a problem document (RFC 9457), and the one mapping to them.

use std::borrow::Cow;
use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
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
    /// A field of the request is wrong.
    #[error("{field}: {detail}")]
    Field {
        /// Which.
        field: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The body is larger than what is asked for can be.
    #[error("the body has more than {most_bytes} bytes")]
    TooLarge {
        /// Largest body of this route, bytes.
        most_bytes: usize,
    },
    /// The body is of another type.
    #[error("Content-Type must be {0}")]
    MediaType(&'static str),
    /// No key, or one that opens nothing.
    #[error("a valid API key is needed")]
    Unauthorized,
    /// There is no such thing.
    #[error("{0}")]
    NotFound(&'static str),
    /// There is nothing that this field's value names.
    #[error("{field}: {detail}")]
    Unknown {
        /// Which field.
        field: &'static str,
        /// What there is not.
        detail: &'static str,
    },
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
    /// What a layer below the handlers decided.
    #[error("{}", .0.canonical_reason().unwrap_or("error"))]
    Status(StatusCode),
}

impl Problem {
    /// A field at fault.
    pub fn field(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Field {
            field: field.into(),
            detail: detail.into(),
        }
    }

    const fn describe(&self) -> (StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::Signature(_) => (S::BAD_REQUEST, "bad-signature"),
            Self::Field { .. } => (S::BAD_REQUEST, "invalid-request"),
            Self::TooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "too-large"),
            Self::MediaType(_) => (S::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type"),
            Self::Unauthorized => (S::UNAUTHORIZED, "unauthorized"),
            Self::NotFound(_) | Self::Unknown { .. } => (S::NOT_FOUND, "not-found"),
            Self::Conflict(_) => (S::CONFLICT, "conflict"),
            Self::RateLimited => (S::TOO_MANY_REQUESTS, "rate-limited"),
            Self::NotConfigured(_) => (S::SERVICE_UNAVAILABLE, "not-configured"),
            Self::Api(ApiError::Unreachable(_)) | Self::Store(_) => {
                (S::SERVICE_UNAVAILABLE, "unavailable")
            }
            Self::Api(_) => (S::BAD_GATEWAY, "payment-provider"),
            Self::Status(status) => (*status, Self::name_of(*status)),
        }
    }

    const fn name_of(status: StatusCode) -> &'static str {
        match status.as_u16() {
            404 => "not-found",
            405 => "method-not-allowed",
            408 => "request-timeout",
            413 => "too-large",
            400..=499 => "invalid-request",
            _ => "internal",
        }
    }

    fn field_at_fault(&self) -> Option<(&str, &str)> {
        match self {
            Self::Field { field, detail } => Some((field, detail)),
            Self::Unknown { field, detail } => Some((field, detail)),
            _ => None,
        }
    }

    /// What the visitor is told. What Stripe said of a refused call is for the log.
    fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::Api(ApiError::Unreachable(_)) => "Stripe does not answer; try again".into(),
            Self::Api(_) => "Stripe did not accept the request".into(),
            other => other.to_string().into(),
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
    /// The status with the problem beside it; [`render`] writes the document, because only the
    /// outermost layer knows the request's id.
    fn into_response(self) -> Response {
        let status = self.describe().0;
        if let Self::Store(error) = &self {
            tracing::error!(%error, "the store failed");
        } else if status.is_server_error() {
            tracing::warn!(error = %self, "a billing request was not served");
        }
        let mut response = status.into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// Gives every error answer its document, also those that no handler made. Pages for people stay.
pub fn render(mut response: Response, request_id: &str) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let problem = response.extensions_mut().remove::<Arc<Problem>>();
    let is_page = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if !is_error || (problem.is_none() && is_page) {
        return response;
    }
    let problem = problem.unwrap_or_else(|| Arc::new(Problem::Status(status)));
    let (status, name) = problem.describe();
    let mut document = json!({
        "type": format!("urn:oscillink:problem:{name}"),
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": problem.detail(),
        "request_id": request_id,
    });
    if let Some((field, detail)) = problem.field_at_fault() {
        document["errors"] = json!([{"field": field, "detail": detail}]);
    }
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let kind = HeaderValue::from_static("application/problem+json");
    parts.headers.insert(header::CONTENT_TYPE, kind);
    if matches!(
        status,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
    ) {
        let pause = HeaderValue::from_static("5");
        parts.headers.insert(header::RETRY_AFTER, pause);
    }
    Response::from_parts(parts, document.to_string().into())
}
