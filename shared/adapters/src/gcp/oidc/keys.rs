//! A verifier for each of Google's keys that was seen.
//!
//! Google's verifier fetches all keys when a token names one it does not know, and refuses every
//! other token meanwhile. So each key has a verifier of its own, whose checks take turns, and what
//! tokens with made-up keys can have fetched is bounded.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use google_cloud_auth::credentials::idtoken::verifier::{Builder, Verifier};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::{Mutex, RwLock, Semaphore};

use super::{OidcError, error_of};

/// Keys kept; Google has two or three at a time.
const MAX_KEYS: usize = 8;
/// Unknown keys fetched at once.
const MAX_FETCHES: usize = 4;

/// The verifiers.
#[derive(Debug)]
pub(super) struct Keys {
    audiences: Vec<String>,
    jwks_url: Option<String>,
    known: RwLock<Vec<(String, Arc<Mutex<Verifier>>)>>,
    fetches: Semaphore,
}

#[derive(Deserialize)]
struct Header {
    kid: String,
}

impl Keys {
    pub(super) fn new(audiences: Vec<String>, jwks_url: Option<String>) -> Self {
        Self {
            audiences,
            jwks_url,
            known: RwLock::default(),
            fetches: Semaphore::new(MAX_FETCHES),
        }
    }

    /// The token's claims, if its signature, issuer, audience and times are right.
    pub(super) async fn verify(&self, token: &str) -> Result<Map<String, Value>, OidcError> {
        let key = key_of(token).ok_or_else(|| {
            OidcError::Invalid("it is not a signed token that names its key".to_owned())
        })?;
        if let Some(verifier) = self.find(&key).await {
            let verifier = verifier.lock().await;
            return verifier.verify(token).await.map_err(|e| error_of(&e));
        }
        let fetch = self.fetches.acquire().await;
        let _fetch = fetch.map_err(|closed| OidcError::Unavailable(closed.to_string()))?;
        // It may have become known while this one waited.
        let known = self.find(&key).await;
        let verifier = known.clone().unwrap_or_else(|| self.fresh());
        let checked = verifier.lock().await.verify(token).await;
        let has_key = !matches!(&checked, Err(e) if e.is_load_cert() || e.is_decode());
        if known.is_none() && has_key {
            self.keep(key, verifier).await;
        }
        checked.map_err(|e| error_of(&e))
    }

    async fn find(&self, key: &str) -> Option<Arc<Mutex<Verifier>>> {
        let known = self.known.read().await;
        let found = known.iter().find(|(name, _)| name == key);
        found.map(|(_, verifier)| Arc::clone(verifier))
    }

    async fn keep(&self, key: String, verifier: Arc<Mutex<Verifier>>) {
        let mut known = self.known.write().await;
        if known.iter().any(|(name, _)| *name == key) {
            return;
        }
        if known.len() >= MAX_KEYS {
            known.remove(0);
        }
        known.push((key, verifier));
    }

    fn fresh(&self) -> Arc<Mutex<Verifier>> {
        let mut builder = Builder::new(self.audiences.clone());
        if let Some(url) = &self.jwks_url {
            builder = builder.with_jwks_url(url);
        }
        Arc::new(Mutex::new(builder.build()))
    }
}

/// The key that the token says it is signed with.
fn key_of(token: &str) -> Option<String> {
    let (header, _) = token.split_once('.')?;
    let header = URL_SAFE_NO_PAD.decode(header).ok()?;
    let header: Header = serde_json::from_slice(&header).ok()?;
    Some(header.kid)
}
