//! The credentials that Google's own clients find, for the object store's client: it would look for
//! fewer kinds by itself.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use google_cloud_auth::credentials::{AccessTokenCredentials, Builder};
use object_store::CredentialProvider;
use object_store::gcp::GcpCredential;

use crate::gcp::error::{GcpError, connect_error};

/// Gives the present access token.
struct Tokens(AccessTokenCredentials);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

/// The environment's credentials.
///
/// # Errors
/// There are none, or they cannot be read.
pub(super) fn default() -> Result<Arc<dyn CredentialProvider<Credential = GcpCredential>>, GcpError>
{
    let credentials = Builder::default()
        .build_access_token_credentials()
        .map_err(connect_error("Cloud Storage"))?;
    Ok(Arc::new(Tokens(credentials)))
}

#[async_trait]
impl CredentialProvider for Tokens {
    type Credential = GcpCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<GcpCredential>> {
        let token = self.0.access_token().await;
        let token = token.map_err(|source| object_store::Error::Generic {
            store: "GCS",
            source: Box::new(source),
        })?;
        Ok(Arc::new(GcpCredential {
            bearer: token.token,
        }))
    }
}
