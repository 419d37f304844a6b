//! Who calls: the key that the request carries.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use oscillink_domain::{ApiKey, KeyId, KeyRecord, KeyStatus, Limits, Sha256Hex, Tier};

use crate::error::{Kind, Problem};
use crate::state::Gateway;

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The key.
    pub key_id: KeyId,
    /// Hash of the secret used.
    pub key_hash: Sha256Hex,
    /// The plan.
    pub tier: Tier,
    /// What the key may do.
    pub limits: Limits,
    /// The whole record.
    pub record: Arc<KeyRecord>,
}

impl FromRequestParts<Gateway> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Gateway) -> Result<Self, Problem> {
        let unknown = || unauthorized("the API key is not known");
        let key_hash = presented(&parts.headers)?.hash();
        tracing::Span::current().record("key_hash", key_hash.prefix());
        let record = app.keys().find(&key_hash).await?.ok_or_else(unknown)?;
        match record.status {
            KeyStatus::Active => {}
            KeyStatus::Revoked => return Err(unauthorized("the API key has been revoked")),
            KeyStatus::Pending => {
                let detail = "the API key waits for activation; contact support";
                return Err(Problem::new(Kind::KeyInactive, detail));
            }
            KeyStatus::Suspended => {
                let detail = "the API key is suspended; check its billing or contact support";
                return Err(Problem::new(Kind::KeyInactive, detail));
            }
        }
        Ok(Self {
            key_id: record.key_id.clone(),
            key_hash,
            tier: record.tier,
            limits: record.limits(&app.engine().config().baseline),
            record,
        })
    }
}

/// The secret that the request carries.
pub fn presented(headers: &HeaderMap) -> Result<ApiKey, Problem> {
    let secret = secret(headers).ok_or_else(|| {
        unauthorized("send your API key as X-API-Key or as Authorization: Bearer")
    })?;
    ApiKey::parse(secret).ok_or_else(|| unauthorized("the API key is not known"))
}

fn secret(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get("x-api-key") {
        return value.to_str().ok();
    }
    let (scheme, secret) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

fn unauthorized(detail: &str) -> Problem {
    let challenge = HeaderValue::from_static("Bearer realm=\"oscillink\"");
    Problem::new(Kind::Unauthorized, detail).header(header::WWW_AUTHENTICATE, challenge)
}
