//! Every error of the API as a problem document (RFC 9457), and the one mapping from inner errors.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use oscillink_domain::Timestamp;
use oscillink_domain::quota::Exceeded;
use oscillink_engine::{
    ChargeError, EngineError, KeyError, QuotaExceeded, RotateError, SubmitError,
};
use oscillink_ports::PortError;
use oscillink_telemetry::Metrics;
use oscillink_telemetry::metrics::{PeriodLabel, ProblemLabel};
use oscillink_wire::{FieldError, WireError};
use serde::Serialize;

use crate::quota_headers;

/// What kind of problem it is. Its URI and status are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request has errors.
    InvalidRequest,
    /// No key, or one that opens nothing.
    Unauthorized,
    /// The tier does not include it.
    TierRequired,
    /// The key does not work at present.
    KeyInactive,
    /// Switched off by the operator.
    FeatureDisabled,
    /// There is no such thing.
    NotFound,
    /// The route has other methods.
    MethodNotAllowed,
    /// The answer has no form that the client accepts.
    NotAcceptable,
    /// The client was too slow.
    RequestTimeout,
    /// The thing is in another state.
    Conflict,
    /// The same request is being answered.
    IdempotencyInFlight,
    /// The request is larger than allowed.
    TooLarge,
    /// The body's type or encoding is not known.
    UnsupportedMediaType,
    /// An idempotency key was used with another request.
    IdempotencyMismatch,
    /// Too many requests.
    RateLimited,
    /// A quota has no room.
    QuotaExceeded,
    /// A defect of the service.
    Internal,
    /// More work than there is room for.
    Saturated,
    /// A dependency does not answer.
    Unavailable,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 19] = [
        Self::InvalidRequest,
        Self::Unauthorized,
        Self::TierRequired,
        Self::KeyInactive,
        Self::FeatureDisabled,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::RequestTimeout,
        Self::Conflict,
        Self::IdempotencyInFlight,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::IdempotencyMismatch,
        Self::RateLimited,
        Self::QuotaExceeded,
        Self::Internal,
        Self::Saturated,
        Self::Unavailable,
    ];

    /// A detail as clients see it.
    pub(crate) const fn example(self) -> &'static str {
        match self {
            Self::InvalidRequest => "Y[1]: has 1 columns, expected 2",
            Self::Unauthorized => "the API key is not known",
            Self::TierRequired => {
                "diffusion gates are part of the pro and enterprise plans and this key is on free; \
                 upgrade the key, or leave the diffusion block out"
            }
            Self::KeyInactive => "the API key is suspended; check its billing or contact support",
            Self::FeatureDisabled => {
                "diffusion gates are switched off; leave the diffusion block out"
            }
            Self::NotFound => "there is no such job",
            Self::MethodNotAllowed => "the route has other methods; see Allow",
            Self::NotAcceptable => "the answer has no form that Accept names",
            Self::RequestTimeout => "the body did not arrive within 60 s, or paused too long",
            Self::Conflict => "the job is queued and has no result",
            Self::IdempotencyInFlight => {
                "a request with this Idempotency-Key is being answered; try again in a moment"
            }
            Self::TooLarge => "Y has more than 5000 rows; larger work goes to /v1/jobs/settle",
            Self::UnsupportedMediaType => "Content-Type \"text/csv\" is not known",
            Self::IdempotencyMismatch => "this Idempotency-Key was used with a different request",
            Self::RateLimited => "more than 100 requests in 60 s (address limit)",
            Self::QuotaExceeded => {
                "the request needs 25600 units but the monthly cap has 0 of 5000000 left until \
                 2026-02-01T00:00:00.000Z"
            }
            Self::Internal => "the service made an error; it has been logged",
            Self::Saturated => "all computing capacity is in use; try again, or submit a job",
            Self::Unavailable => "a dependency does not answer; try again",
        }
    }

    pub(crate) const fn describe(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::InvalidRequest => (S::BAD_REQUEST, "invalid-request", "The request has errors"),
            Self::Unauthorized => (S::UNAUTHORIZED, "unauthorized", "A valid API key is needed"),
            Self::TierRequired => (
                S::PAYMENT_REQUIRED,
                "tier-required",
                "The plan does not include this",
            ),
            Self::KeyInactive => (S::FORBIDDEN, "key-inactive", "The API key is not active"),
            Self::FeatureDisabled => (S::FORBIDDEN, "feature-disabled", "Switched off"),
            Self::NotFound => (S::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "Method not allowed",
            ),
            Self::NotAcceptable => (S::NOT_ACCEPTABLE, "not-acceptable", "Not acceptable"),
            Self::RequestTimeout => (S::REQUEST_TIMEOUT, "request-timeout", "Request timeout"),
            Self::Conflict => (S::CONFLICT, "conflict", "Conflict"),
            Self::IdempotencyInFlight => (
                S::CONFLICT,
                "idempotency-in-flight",
                "The same request is being answered",
            ),
            Self::TooLarge => (
                S::PAYLOAD_TOO_LARGE,
                "too-large",
                "The request is too large",
            ),
            Self::UnsupportedMediaType => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "Unsupported media type",
            ),
            Self::IdempotencyMismatch => (
                S::UNPROCESSABLE_ENTITY,
                "idempotency-mismatch",
                "The Idempotency-Key was used with another request",
            ),
            Self::RateLimited => (S::TOO_MANY_REQUESTS, "rate-limited", "Too many requests"),
            Self::QuotaExceeded => (
                S::TOO_MANY_REQUESTS,
                "quota-exceeded",
                "The quota is used up",
            ),
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
            Self::Saturated => (
                S::SERVICE_UNAVAILABLE,
                "saturated",
                "The service is at its limit",
            ),
            Self::Unavailable => (
                S::SERVICE_UNAVAILABLE,
                "unavailable",
                "The service is unavailable",
            ),
        }
    }

    /// The kind that stands for a status given by a layer below the handlers.
    fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            404 => Self::NotFound,
            405 => Self::MethodNotAllowed,
            408 => Self::RequestTimeout,
            413 => Self::TooLarge,
            415 => Self::UnsupportedMediaType,
            503 => Self::Unavailable,
            400..=499 => Self::InvalidRequest,
            _ => Self::Internal,
        }
    }
}

/// An error answer.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: Kind,
    detail: String,
    errors: Vec<FieldError>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Which quota ran out; its headers need the time of the answer.
    quota: Option<Box<QuotaExceeded>>,
}

impl Problem {
    /// A problem of `kind`; `detail` tells the client what to do.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            headers: Vec::new(),
            quota: None,
        }
    }

    /// A request with one field at fault.
    pub fn field(field: &str, detail: impl Into<String>) -> Self {
        Self::fields(vec![FieldError::new(field, detail)])
    }

    /// A request with fields at fault.
    #[must_use]
    pub fn fields(errors: Vec<FieldError>) -> Self {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let mut problem = Self::new(Kind::InvalidRequest, texts.join("; "));
        problem.errors = errors;
        problem
    }

    /// Dependencies that do not work.
    #[must_use]
    pub fn unready(failed: Vec<FieldError>) -> Self {
        let mut problem = Self::new(Kind::Unavailable, "not every dependency works");
        problem.errors = failed;
        problem
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Worth repeating after this many seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(header::RETRY_AFTER, seconds.max(1))
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.kind.describe().0
    }

    /// Counts it as answered.
    pub(crate) fn count(&self, metrics: &Metrics) {
        let (_, problem, _) = self.kind.describe();
        let label = ProblemLabel { problem };
        metrics.problems.get_or_create(&label).inc();
        if let Some(quota) = &self.quota {
            let period = match quota.period {
                Exceeded::Window => "window",
                Exceeded::Month => "month",
            };
            let label = PeriodLabel { period };
            metrics.quota_rejections.get_or_create(&label).inc();
        }
    }

    /// Seconds after which the request is worth repeating, if it is.
    fn wait_s(&self, now: Timestamp) -> Option<u64> {
        if let Some(quota) = &self.quota {
            return Some(quota_headers::seconds_until(quota.resets_at, now).max(1));
        }
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(name, _)| name == header::RETRY_AFTER)?;
        value.to_str().ok()?.parse().ok()
    }

    /// The document, as the body of an answer or as a part of one.
    pub(crate) fn document<'a>(&'a self, request_id: &'a str, now: Timestamp) -> Document<'a> {
        let (status, slug, title) = self.kind.describe();
        Document {
            kind: format!("urn:oscillink:problem:{slug}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            request_id,
            retry_after: self.wait_s(now),
            errors: &self.errors,
        }
    }
}

/// A problem as RFC 9457 writes it.
#[derive(Serialize)]
pub(crate) struct Document<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    request_id: &'a str,
    /// Seconds, as in the header: lines of a batch have no headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

impl IntoResponse for Problem {
    /// The status with the problem beside it; [`render`] writes the document, because only the
    /// outermost layer knows the request's id.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.headers_mut().extend(self.headers.iter().cloned());
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives every error answer its document, also those that no handler made, and counts it.
pub fn render(
    mut response: Response,
    request_id: &str,
    now: Timestamp,
    metrics: &Metrics,
) -> Response {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let problem = response.extensions_mut().remove::<Problem>();
    let problem = problem.unwrap_or_else(|| {
        let detail = match status {
            StatusCode::METHOD_NOT_ALLOWED => "the route has other methods; see Allow",
            StatusCode::NOT_FOUND => "there is no such route",
            _ => status.canonical_reason().unwrap_or("error"),
        };
        Problem::new(Kind::of_status(status), detail)
    });
    problem.count(metrics);
    let (mut parts, _) = response.into_parts();
    parts.status = problem.status();
    parts.headers.remove(header::CONTENT_LENGTH);
    let content_type = HeaderValue::from_static("application/problem+json");
    parts.headers.insert(header::CONTENT_TYPE, content_type);
    if let Some(quota) = &problem.quota {
        quota_headers::insert(&mut parts.headers, &quota.usage, now);
    }
    if let Some(seconds) = problem.wait_s(now) {
        parts.headers.insert(header::RETRY_AFTER, seconds.into());
    }
    let document = problem.document(request_id, now);
    let body = serde_json::to_vec(&document).unwrap_or_default();
    Response::from_parts(parts, body.into())
}

impl From<WireError> for Problem {
    fn from(error: WireError) -> Self {
        match error {
            WireError::BadRequest { errors } => Self::fields(errors),
            WireError::TooLarge { .. } => Self::new(Kind::TooLarge, error.to_string()),
        }
    }
}

impl From<PortError> for Problem {
    fn from(error: PortError) -> Self {
        match error {
            PortError::Unavailable { .. } | PortError::Exhausted { .. } => {
                tracing::warn!(%error, "a dependency failed");
                let detail = "a dependency does not answer; try again";
                Self::new(Kind::Unavailable, detail).retry_after(2)
            }
            _ => {
                tracing::error!(%error, "a dependency broke its contract");
                Self::new(
                    Kind::Internal,
                    "the service made an error; it has been logged",
                )
            }
        }
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        error.0.into()
    }
}

impl From<QuotaExceeded> for Problem {
    fn from(error: QuotaExceeded) -> Self {
        let mut problem = Self::new(Kind::QuotaExceeded, error.to_string());
        problem.quota = Some(Box::new(error));
        problem
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Quota(quota) => quota.into(),
            SubmitError::IdempotencyMismatch => {
                Self::new(Kind::IdempotencyMismatch, error.to_string())
            }
            SubmitError::JobGone => Self::new(Kind::Conflict, error.to_string()),
            SubmitError::Port(port) => port.into(),
        }
    }
}

impl From<ChargeError> for Problem {
    fn from(error: ChargeError) -> Self {
        match error {
            ChargeError::Quota(quota) => quota.into(),
            ChargeError::Port(port) => port.into(),
        }
    }
}

impl From<RotateError> for Problem {
    fn from(error: RotateError) -> Self {
        match error {
            RotateError::Key(key) => key.into(),
            RotateError::Replay(replay) => replay.into(),
        }
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::NotFound | KeyError::Revoked => {
                Self::new(Kind::Unauthorized, "the API key is gone")
            }
            KeyError::Port(port) => port.into(),
        }
    }
}
