//! The caller's own key.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use oscillink_domain::Sha256Hex;
use oscillink_engine::{Idempotency, Rotation};
use serde::{Deserialize, Serialize};

use super::views::KeyView;
use crate::error::Problem;
use crate::extract::{Caller, Document, Queried, idempotency_key, presented};
use crate::replay::REPLAYED;
use crate::state::Gateway;

/// How long the old secret works beside the new one, unless the client says otherwise.
const DEFAULT_OVERLAP_S: i64 = 24 * 3_600;
const MAX_OVERLAP_S: i64 = 30 * 24 * 3_600;

/// `GET /v1/keys/self`
pub async fn get(caller: Caller) -> Response {
    Json(KeyView::of(&caller.record, &caller.limits)).into_response()
}

/// The query of `POST /v1/keys/self/rotate`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateQuery {
    overlap_seconds: Option<String>,
}

/// The body of rotations, which may say the same as the query.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateBody {
    /// JSON knows one kind of number: 60.0 is a whole one.
    overlap_seconds: Option<f64>,
}

/// How long the old secrets go on working.
pub fn overlap_ms(query: &RotateQuery, body: &RotateBody) -> Result<i64, Problem> {
    let field = "overlap_seconds";
    let wrong = || Problem::field(field, format!("must be 0 to {MAX_OVERLAP_S}"));
    let named = match &query.overlap_seconds {
        None => None,
        Some(text) => Some(text.parse::<i64>().map_err(|_| wrong())?),
    };
    let stated = match body.overlap_seconds {
        None => None,
        Some(seconds) if seconds.fract() == 0.0 => Some(seconds as i64),
        Some(_) => return Err(wrong()),
    };
    let mut overlap_s = None;
    // Where both say something, the shorter time is what nobody will be sorry for.
    for seconds in [named, stated].into_iter().flatten() {
        if !(0..=MAX_OVERLAP_S).contains(&seconds) {
            return Err(wrong());
        }
        overlap_s = Some(overlap_s.map_or(seconds, |other: i64| other.min(seconds)));
    }
    Ok(overlap_s.unwrap_or(DEFAULT_OVERLAP_S) * 1_000)
}

/// A new secret, shown this once.
#[derive(Serialize)]
struct Rotated<'a> {
    api_key: &'a str,
    key_id: &'a str,
    old_secrets_expire: String,
}

/// `POST /v1/keys/self/rotate`: with an `Idempotency-Key`, a repeat with the old secret gives the same
/// new one.
pub async fn rotate(
    State(app): State<Gateway>,
    caller: Caller,
    Queried(query): Queried<RotateQuery>,
    headers: HeaderMap,
    Document(body): Document<RotateBody>,
) -> Result<Response, Problem> {
    let overlap_ms = overlap_ms(&query, &body)?;
    let rotation = match idempotency_key(&headers)? {
        None => {
            let issued = app.engine().rotate_key(&caller.key_id, overlap_ms).await?;
            let old_secrets_end = app.engine().now().plus_millis(overlap_ms);
            Rotation {
                issued,
                old_secrets_end,
                replayed: false,
            }
        }
        Some(key) => {
            let overlap = overlap_ms.to_le_bytes();
            let parts = [
                b"rotate".as_slice(),
                caller.key_hash.as_str().as_bytes(),
                &overlap,
            ];
            let idempotency = Idempotency {
                key,
                request_hash: Sha256Hex::of_parts(parts),
            };
            let presented = presented(&headers)?;
            let engine = app.engine();
            engine
                .rotate_once(&caller.key_id, &presented, overlap_ms, &idempotency)
                .await?
        }
    };
    let record = &rotation.issued.record;
    for secret in &record.secrets {
        app.keys().invalidate(&secret.hash);
    }
    let rotated = Rotated {
        api_key: rotation.issued.secret.reveal(),
        key_id: record.key_id.as_str(),
        old_secrets_expire: rotation.old_secrets_end.to_string(),
    };
    let mut response = Json(rotated).into_response();
    if rotation.replayed {
        let replayed = HeaderValue::from_static("true");
        response.headers_mut().insert(REPLAYED, replayed);
    }
    Ok(response)
}
