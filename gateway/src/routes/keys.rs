//! The caller's own key.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::views::KeyView;
use crate::error::Problem;
use crate::extract::{Caller, Queried};
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
pub struct RotateQuery {
    overlap_seconds: Option<String>,
}

/// A new secret, shown this once.
#[derive(Serialize)]
struct Rotated<'a> {
    api_key: &'a str,
    key_id: &'a str,
    old_secrets_expire: String,
}

/// `POST /v1/keys/self/rotate`
pub async fn rotate(
    State(app): State<Gateway>,
    caller: Caller,
    Queried(query): Queried<RotateQuery>,
) -> Result<Response, Problem> {
    let overlap_s = match &query.overlap_seconds {
        None => DEFAULT_OVERLAP_S,
        Some(text) => text
            .parse()
            .ok()
            .filter(|s| (0..=MAX_OVERLAP_S).contains(s))
            .ok_or_else(|| {
                Problem::field("overlap_seconds", format!("must be 0 to {MAX_OVERLAP_S}"))
            })?,
    };
    let now = app.engine().now();
    let issued = app
        .engine()
        .rotate_key(&caller.key_id, overlap_s * 1_000)
        .await?;
    for secret in &issued.record.secrets {
        app.keys().invalidate(&secret.hash);
    }
    let rotated = Rotated {
        api_key: issued.secret.reveal(),
        key_id: issued.record.key_id.as_str(),
        old_secrets_expire: now.plus_millis(overlap_s * 1_000).to_string(),
    };
    Ok(Json(rotated).into_response())
}
