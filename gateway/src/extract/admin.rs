//! Operators: requests that carry the admin secret; and small JSON bodies, theirs and others'.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header;
use axum::http::request::Parts;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::fault;
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

/// The whole of a small body.
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
        let bytes = small_body(request.into_body()).await?;
        if bytes.is_empty() {
            // Tools name types also for bodies that they do not send.
            return parse(b"{}");
        }
        if media.is_some_and(|media| !media.starts_with("application/json")) {
            let detail = "the body must be application/json";
            return Err(Problem::new(Kind::UnsupportedMediaType, detail));
        }
        parse(&bytes)
    }
}

fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<Document<T>, Problem> {
    let document = fault::document(text).map_err(|error| Problem::fields(vec![error]))?;
    Ok(Document(document))
}
