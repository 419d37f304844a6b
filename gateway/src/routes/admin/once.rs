//! `Idempotency-Key` on operators' POSTs, for all of them in one place.
//!
//! Answers are kept, but for those that show a secret: these are made again, out of the same effect's
//! id, which gives the same secret.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use oscillink_domain::{ApiKey, KeyId, Sha256Hex};
use oscillink_engine::Idempotency;

use crate::error::Problem;
use crate::extract::{idempotency_key, small_body};
use crate::replay::{Start, begin, keep};
use crate::state::Gateway;

/// Names the effects of a request that carries an idempotency key.
#[derive(Clone, Debug)]
pub struct EffectId(String);

impl EffectId {
    /// The secret of a key that this request makes: the same at every repeat, and known only to those
    /// who know the admin secret.
    pub fn secret(&self, app: &Gateway) -> ApiKey {
        app.admin_key(&self.0)
    }

    /// The id of a key that this request makes.
    pub fn key_id(&self) -> KeyId {
        KeyId::from_digest(&Sha256Hex::of_parts([
            b"made by".as_slice(),
            self.0.as_bytes(),
        ]))
    }
}

/// Marks an answer that shows a secret.
#[derive(Clone, Copy, Debug)]
pub struct ShowsSecret;

/// Answers once for each key.
pub async fn answer_once(
    State(app): State<Gateway>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let key = match request.method() {
        // What is not for operators is refused by the handler, and nothing is remembered of it.
        &Method::POST if app.is_admin(request.headers()) => idempotency_key(request.headers())?,
        _ => None,
    };
    let Some(key) = key else {
        return Ok(next.run(request).await);
    };
    let (mut parts, body) = request.into_parts();
    let bytes = small_body(body).await?;
    let target = parts
        .uri
        .path_and_query()
        .map_or("", |target| target.as_str());
    let idempotency = Idempotency {
        key,
        request_hash: Sha256Hex::of_parts([b"admin".as_slice(), target.as_bytes(), &bytes]),
    };
    // Operators share one space of keys.
    let operators = KeyId::from_digest(&Sha256Hex::of(b"operators"));
    let held = match begin(&app, &operators, &idempotency).await? {
        Start::Given(response) => return Ok(response),
        Start::Go(held) => held,
    };
    parts
        .extensions
        .insert(EffectId(held.effect_id().to_owned()));
    let response = next
        .run(Request::from_parts(parts, Body::from(bytes)))
        .await;
    if response.status().is_success() && response.extensions().get::<ShowsSecret>().is_none() {
        return keep(held, response).await;
    }
    held.release().await;
    Ok(response)
}
