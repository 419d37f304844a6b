//! Who calls: the secrets that a request carries.

use axum::http::{HeaderMap, header};
use oscillink_domain::{ApiKey, KeyRecord, KeyStatus};

use crate::error::Problem;
use crate::state::Billing;

/// What a request shows in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown<'a> {
    /// The header is not there.
    Nothing,
    /// It is there and can be no secret.
    Unusable,
    /// The secret.
    Secret(&'a str),
}

/// The secret in the header `own`, or behind `Authorization: Bearer`. A header that is there and
/// cannot be used is not as good as none: whoever sent it meant to be known.
pub fn shown<'a>(headers: &'a HeaderMap, own: &str) -> Shown<'a> {
    let secret = if let Some(value) = headers.get(own) {
        value.to_str().ok()
    } else if let Some(value) = headers.get(header::AUTHORIZATION) {
        // Schemes have no case (RFC 9110, 11.1).
        let parts = value.to_str().ok().and_then(|text| text.split_once(' '));
        parts
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, secret)| secret)
    } else {
        return Shown::Nothing;
    };
    secret.map_or(Shown::Unusable, |secret| Shown::Secret(secret.trim()))
}

/// The caller's key, if one was sent.
///
/// # Errors
/// One was sent and opens nothing.
pub async fn caller(billing: &Billing, headers: &HeaderMap) -> Result<Option<KeyRecord>, Problem> {
    let text = match shown(headers, "x-api-key") {
        Shown::Nothing => return Ok(None),
        Shown::Unusable => return Err(Problem::Unauthorized),
        Shown::Secret(text) => text,
    };
    let key = ApiKey::parse(text).ok_or(Problem::Unauthorized)?;
    let found = billing.engine().find_key(&key.hash()).await?;
    let opened = found.filter(|record| record.status != KeyStatus::Revoked);
    opened.map(Some).ok_or(Problem::Unauthorized)
}
