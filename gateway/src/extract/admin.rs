//! Operators: requests that carry the admin secret, and their small JSON bodies.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header;
use axum::http::request::Parts;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::error::{Kind, Problem};
use crate::state::Gateway;

const MAX_BODY_BYTES: usize = 64 * 1024;
/// Time for the body to arrive.
const PATIENCE: Duration = Duration::from_secs(15);

/// An operator.
#[derive(Clone, Copy, Debug)]
pub struct Admin;

impl FromRequestParts<Gateway> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Gateway) -> Result<Self, Problem> {
        if app.is_admin(&parts.headers) {
            return Ok(Self);
        }
        let detail = "send the admin secret as X-Admin-Secret";
        Err(Problem::new(Kind::Unauthorized, detail))
    }
}

/// The whole of an operator's body.
pub async fn small_body(body: Body) -> Result<Bytes, Problem> {
    let bytes = timeout(PATIENCE, to_bytes(body, MAX_BODY_BYTES)).await;
    bytes.ok().and_then(Result::ok).ok_or_else(|| {
        let detail = format!("the body must arrive whole and have at most {MAX_BODY_BYTES} bytes");
        Problem::new(Kind::TooLarge, detail)
    })
}

/// A small JSON body as `T`; an empty one counts as `{}`.
#[derive(Clone, Copy, Debug)]
pub struct Document<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Gateway> for Document<T> {
    type Rejection = Problem;

    async fn from_request(request: Request<Body>, _: &Gateway) -> Result<Self, Problem> {
        let media = request.headers().get(header::CONTENT_TYPE);
        let media = media.map(|value| value.to_str().unwrap_or_default().to_ascii_lowercase());
        if media.is_some_and(|media| !media.starts_with("application/json")) {
            let detail = "the body must be application/json";
            return Err(Problem::new(Kind::UnsupportedMediaType, detail));
        }
        let bytes = small_body(request.into_body()).await?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        if text.trim_ascii_start().first() != Some(&b'{') {
            // Values in a row would be taken for fields in their order.
            return Err(Problem::field("body", "must be a JSON object"));
        }
        serde_json::from_slice(text)
            .map(Self)
            .map_err(|error| Problem::field("body", error.to_string()))
    }
}
