//! Pairing: a command line or a browser starts a checkout and fetches the key when it is paid.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::billing::BillingId;
use crate::hash::Sha256Hex;
use crate::id::{KeyId, base62};
use crate::tier::Tier;
use crate::time::Timestamp;

/// The secret that fetches the key of one checkout. Stored as its digest only; `Debug` hides it.
#[derive(Clone, Debug)]
pub struct PairingCode(SecretString);

impl PairingCode {
    /// A new code from 32 random bytes: `pair_` and 43 base62 digits.
    #[must_use]
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(SecretString::from(format!("pair_{}", base62(&bytes))))
    }

    /// A code as a client sent it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("pair_")?;
        let valid = digits.len() == 43 && digits.bytes().all(|b| b.is_ascii_alphanumeric());
        valid.then(|| Self(SecretString::from(text.to_owned())))
    }

    /// The code itself, for its owner.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }

    /// Document id of the pairing.
    #[must_use]
    pub fn pairing_id(&self) -> String {
        pairing_id(&Sha256Hex::of(self.reveal().as_bytes()))
    }
}

/// Document id of the pairing whose code has this digest.
#[must_use]
pub fn pairing_id(digest: &Sha256Hex) -> String {
    format!("pairing.{digest}")
}

/// Document id of the pointer from a checkout session to its pairing.
#[must_use]
pub fn session_pointer_id(session: &str) -> String {
    format!("checkout.{}", Sha256Hex::of(session.as_bytes()))
}

/// A checkout that was started, until it is forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pairing {
    /// Document id.
    pub id: String,
    /// The key that is paid for: a new one, or the caller's own.
    pub key_id: KeyId,
    /// The key existed before: nothing is to be shown.
    pub existing: bool,
    /// A command line waits for the key.
    pub for_cli: bool,
    /// What is bought.
    pub tier: Tier,
    /// The checkout session, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<BillingId>,
    /// When it was started.
    pub created_at: Timestamp,
    /// When it is forgotten.
    pub expires_at: Timestamp,
    /// When the key was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_at: Option<Timestamp>,
}
