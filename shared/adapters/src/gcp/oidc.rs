//! Verifies the tokens that come with task and push requests: signed by Google, for this audience,
//! in the name of the service account that may push.

mod keys;

use std::error::Error as _;
use std::time::Duration;

use google_cloud_auth::credentials::idtoken::verifier::Error;
use google_cloud_auth::errors::CredentialsError;
use serde_json::{Map, Value};

use keys::Keys;

/// Longest token looked at, bytes.
const MAX_TOKEN_LEN: usize = 8 * 1024;

/// Whose tokens are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcConfig {
    /// Audiences, one of which a token must name.
    pub audiences: Vec<String>,
    /// E-mail of the service account.
    pub service_account: String,
    /// Where the keys lie; `None` is Google's own place.
    pub jwks_url: Option<String>,
    /// Time for a check, the fetching of keys included.
    pub timeout: Duration,
}

/// Why a request is not authorised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    /// There is no token, or not in the form `Bearer …`.
    #[error("no bearer token")]
    Missing,
    /// The token is not one of Google's for this audience and service account.
    #[error("the token is not valid: {0}")]
    Invalid(String),
    /// The keys to check it with cannot be had now.
    #[error("the token cannot be checked: {0}")]
    Unavailable(String),
}

impl OidcError {
    /// Whether the same token may be accepted later: answer 503 rather than 401.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// Verifies tokens. Google's keys are fetched when a token names one and kept for an hour.
#[derive(Debug)]
pub struct OidcVerifier {
    keys: Keys,
    service_account: String,
    timeout: Duration,
}

impl OidcVerifier {
    /// A verifier of these tokens. Nothing is fetched before the first one.
    #[must_use]
    pub fn new(config: OidcConfig) -> Self {
        Self {
            keys: Keys::new(config.audiences, config.jwks_url),
            service_account: config.service_account,
            timeout: config.timeout,
        }
    }

    /// Checks the value of a request's `Authorization` header.
    ///
    /// # Errors
    /// The caller may not push, or that cannot be told now.
    pub async fn verify(&self, authorization: Option<&str>) -> Result<(), OidcError> {
        let token = authorization
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .filter(|token| (1..=MAX_TOKEN_LEN).contains(&token.len()))
            .ok_or(OidcError::Missing)?;
        let checked = tokio::time::timeout(self.timeout, self.keys.verify(token)).await;
        let unanswered = |_| OidcError::Unavailable(format!("no keys within {:?}", self.timeout));
        let claims = checked.map_err(unanswered)??;
        self.check_account(&claims)
    }

    // Not left to Google's verifier, which panics when a token has no e-mail: anyone with an
    // account of Google's can have one made.
    fn check_account(&self, claims: &Map<String, Value>) -> Result<(), OidcError> {
        if claims.get("email_verified") != Some(&Value::Bool(true)) {
            return Err(OidcError::Invalid("its e-mail is not verified".to_owned()));
        }
        match claims.get("email").and_then(Value::as_str) {
            Some(email) if email == self.service_account => Ok(()),
            Some(email) => Err(OidcError::Invalid(format!("it is of {email}"))),
            None => Err(OidcError::Invalid("it has no e-mail".to_owned())),
        }
    }
}

/// What Google's verifier says, as the caller should take it.
fn error_of(error: &Error) -> OidcError {
    let passing = error
        .source()
        .and_then(|source| source.downcast_ref::<CredentialsError>())
        .is_some_and(CredentialsError::is_transient);
    if passing {
        OidcError::Unavailable(error.to_string())
    } else {
        OidcError::Invalid(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn verifier() -> OidcVerifier {
        OidcVerifier::new(OidcConfig {
            audiences: vec!["https://worker".to_owned()],
            service_account: "tasks@p.iam.gserviceaccount.com".to_owned(),
            jwks_url: Some("http://127.0.0.1:9/jwks".to_owned()),
            timeout: Duration::from_secs(5),
        })
    }

    #[test]
    fn only_the_service_account_may_push() {
        let check = |claims: Value| {
            let claims = claims.as_object().cloned().unwrap_or_default();
            verifier().check_account(&claims)
        };
        let ours = "tasks@p.iam.gserviceaccount.com";
        assert_eq!(
            check(json!({"email": ours, "email_verified": true})),
            Ok(())
        );
        for other in [
            json!({}),
            json!({"email": ours}),
            json!({"email": ours, "email_verified": false}),
            json!({"email": ours, "email_verified": "true"}),
            json!({"email_verified": true}),
            json!({"email": "other@p.iam.gserviceaccount.com", "email_verified": true}),
        ] {
            assert!(
                matches!(check(other.clone()), Err(OidcError::Invalid(_))),
                "{other}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_no_token_is_told_without_fetching_keys() {
        for missing in [
            None,
            Some(""),
            Some("Bearer "),
            Some("Basic dTpw"),
            Some("token"),
        ] {
            let told = verifier().verify(missing).await;
            assert_eq!(told, Err(OidcError::Missing), "{missing:?}");
        }
        for invalid in ["Bearer x", "Bearer a.b.c", "bearer e30.e30.", "Bearer ..."] {
            let told = verifier().verify(Some(invalid)).await;
            assert!(
                matches!(told, Err(OidcError::Invalid(_))),
                "{invalid}: {told:?}"
            );
        }
    }
}
