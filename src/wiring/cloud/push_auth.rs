//! Joins the worker's question who may push with the answer of the token verifier.

use async_trait::async_trait;
use oscillink_adapters::gcp::{OidcConfig, OidcVerifier};
use oscillink_worker::{NotAuthorised, PushAuth};

/// Accepts requests that carry the queue's OIDC token.
pub struct PushTokens(OidcVerifier);

impl PushTokens {
    /// For tokens as configured.
    pub fn new(config: OidcConfig) -> Self {
        Self(OidcVerifier::new(config))
    }
}

#[async_trait]
impl PushAuth for PushTokens {
    async fn check(&self, authorization: Option<&str>) -> Result<(), NotAuthorised> {
        self.0
            .verify(authorization)
            .await
            .map_err(|error| NotAuthorised {
                detail: error.to_string(),
                transient: error.is_transient(),
            })
    }
}
