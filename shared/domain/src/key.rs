//! API keys: the secret that a client sends, and the record that is stored about it.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::callback::CallbackSecrets;
use crate::hash::Sha256Hex;
use crate::id::{KeyId, base62};
use crate::tier::{Baseline, Limits, Overrides, Tier};
use crate::time::Timestamp;

/// Longest key accepted from a client, bytes.
pub const MAX_KEY_LEN: usize = 200;

/// A client's secret. Never stored, never logged: `Debug` hides it.
#[derive(Clone, Debug)]
pub struct ApiKey(SecretString);

impl ApiKey {
    /// A new key from 32 random bytes: `ok_` and 43 base62 digits.
    #[must_use]
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(SecretString::from(format!("ok_{}", base62(&bytes))))
    }

    /// A key as a client sent it or configuration gave it: 8 to 200 visible ASCII characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let valid =
            (8..=MAX_KEY_LEN).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        valid.then(|| Self(SecretString::from(text.to_owned())))
    }

    /// What is stored in its place.
    #[must_use]
    pub fn hash(&self) -> Sha256Hex {
        Sha256Hex::of(self.0.expose_secret().as_bytes())
    }

    /// The secret itself, for the one time that it is shown.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Whether a key works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyStatus {
    /// Works.
    Active,
    /// Waits for an operator to activate it (enterprise).
    Pending,
    /// Stopped for the time being.
    Suspended,
    /// Ended for good.
    Revoked,
}

/// One secret of a key; two are valid during the overlap of a rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySecret {
    /// SHA-256 of the secret.
    pub hash: Sha256Hex,
    /// When it stops working; `None` is open-ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// What is stored about a key. Jobs, quota and ledger belong to `key_id`, which survives rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// The stable identity.
    pub key_id: KeyId,
    /// A name for people.
    pub name: String,
    /// The plan.
    pub tier: Tier,
    /// Whether it works.
    pub status: KeyStatus,
    /// Deviations from the tier's limits.
    #[serde(default)]
    pub overrides: Overrides,
    /// Hashes of the secrets that open it, newest first.
    pub secrets: Vec<KeySecret>,
    /// Which secrets sign its callbacks.
    #[serde(default, skip_serializing_if = "CallbackSecrets::is_first")]
    pub callback_secrets: CallbackSecrets,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Place of the last event about it, see [`KeyRecord::next_event_tag`].
    #[serde(default)]
    pub event_tag: u64,
}

impl KeyRecord {
    /// What this key may do.
    #[must_use]
    pub fn limits(&self, base: &Baseline) -> Limits {
        Limits::of(self.tier, base, &self.overrides)
    }

    /// The place of the next event about the key among all events: the time, but always behind the
    /// one before. Whoever announces something about a key takes its place from here, in the
    /// transaction that writes the key, so that events go out in the order of the transactions even
    /// within one millisecond and between processes whose clocks differ.
    pub fn next_event_tag(&mut self, now: Timestamp) -> u64 {
        let time = u64::try_from(now.as_millis()).unwrap_or(0);
        self.event_tag = time.max(self.event_tag.saturating_add(1));
        self.event_tag
    }

    /// Whether the secret with this hash opens the key at `now`.
    #[must_use]
    pub fn accepts(&self, hash: &Sha256Hex, now: Timestamp) -> bool {
        self.secrets
            .iter()
            .any(|s| &s.hash == hash && s.expires_at.is_none_or(|end| now < end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_form_and_hides_in_debug() {
        let key = ApiKey::from_random([1; 32]);
        assert_eq!(key.reveal().len(), 46);
        assert!(!format!("{key:?}").contains(key.reveal()));
        assert_eq!(ApiKey::parse(key.reveal()).unwrap().hash(), key.hash());
        assert!(ApiKey::parse("short").is_none());
        assert!(ApiKey::parse("has a space").is_none());
    }
}
