//! The secrets that sign a key's callbacks. They are derived from a secret of the service, the key's
//! id and a generation: nothing of them is stored, and every instance makes the same ones.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use oscillink_domain::id::base62;
use oscillink_domain::idempotency::StoredAnswer;
use oscillink_domain::{KeyId, KeyRecord, Timestamp};
use oscillink_ports::PortError;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::Engine;
use crate::error::KeyError;
use crate::replay::{Begun, ReplayError};
use crate::rotate::RotateError;
use crate::submit::Idempotency;

/// How long a rotation may take.
const HOLD_MS: i64 = 30_000;
/// Separates what is derived here from whatever else may use the service's secret.
const CONTEXT: &[u8] = b"oscillink callback secret";

/// A secret that signs callbacks. Does not print itself.
#[derive(Clone, Debug)]
pub struct CallbackSecret(SecretString);

impl CallbackSecret {
    fn derive(service: &SecretString, key_id: &KeyId, generation: u32) -> Self {
        let mut mac = mac(service.expose_secret().as_bytes());
        mac.update(CONTEXT);
        mac.update(&[0]);
        mac.update(key_id.as_str().as_bytes());
        mac.update(&[0]);
        mac.update(&generation.to_be_bytes());
        let secret = STANDARD.encode(mac.finalize().into_bytes());
        Self(SecretString::from(secret))
    }

    /// The secret as its owner gets it: `whsec_` and base64.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("whsec_{}", self.0.expose_secret())
    }

    pub(super) fn sign(&self, parts: &[&[u8]]) -> String {
        // It was encoded when it was derived.
        let bytes = STANDARD.decode(self.0.expose_secret()).unwrap_or_default();
        let mut mac = mac(&bytes);
        for part in parts {
            mac.update(part);
        }
        STANDARD.encode(mac.finalize().into_bytes())
    }
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::unwrap_used, reason = "HMAC takes keys of any length")]
    Hmac::new_from_slice(key).unwrap()
}

/// A key's callback secret after it was rotated.
#[derive(Clone, Debug)]
pub struct SecretRotation {
    /// The new secret.
    pub secret: CallbackSecret,
    /// When the one before it no longer signs.
    pub previous_until: Timestamp,
    /// It had happened before.
    pub replayed: bool,
}

/// What is kept of a rotation, without the secret.
#[derive(Serialize, Deserialize)]
struct Kept {
    generation: u32,
    previous_until: Timestamp,
}

impl Engine {
    /// Whether callbacks can be signed, and so be asked for.
    #[must_use]
    pub fn has_callbacks(&self) -> bool {
        self.config().callback_secret.is_some()
    }

    /// The secret that signs the callbacks of `key`; `None` where there are no callbacks.
    #[must_use]
    pub fn callback_secret(&self, key: &KeyRecord) -> Option<CallbackSecret> {
        self.callback_secrets(key).into_iter().next()
    }

    /// Every secret that signs now, newest first: two during a rotation of the key's secret, and
    /// those again during a rotation of the service's.
    pub(super) fn callback_secrets(&self, key: &KeyRecord) -> Vec<CallbackSecret> {
        let config = self.config();
        let services = [&config.callback_secret, &config.callback_secret_old];
        let generations = key.callback_secrets.in_force(self.now());
        let services = services.into_iter().flatten();
        services
            .flat_map(|service| {
                let derive = |generation| CallbackSecret::derive(service, &key.key_id, generation);
                generations.iter().copied().map(derive).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Gives the key a new callback secret; the present one signs beside it for `overlap_ms`.
    /// `None`: there are no callbacks.
    ///
    /// # Errors
    /// The key or the idempotency key cannot be used, or the store failed.
    pub async fn rotate_callback_secret(
        &self,
        key_id: &KeyId,
        overlap_ms: i64,
        idempotency: Option<&Idempotency>,
    ) -> Result<Option<SecretRotation>, RotateError> {
        let Some(service) = self.config().callback_secret.clone() else {
            return Ok(None);
        };
        let rotation = |kept: &Kept, replayed| SecretRotation {
            secret: CallbackSecret::derive(&service, key_id, kept.generation),
            previous_until: kept.previous_until,
            replayed,
        };
        let Some(idempotency) = idempotency else {
            let effect_id = base62(&self.inner.ports.entropy.id_bytes());
            let kept = self.rotate_generation(key_id, overlap_ms, effect_id);
            return Ok(Some(rotation(&kept.await?, false)));
        };
        match self.begin_answer(key_id, idempotency, HOLD_MS).await? {
            Begun::Go(ticket) => {
                let effect_id = ticket.effect_id.clone();
                let kept = match self.rotate_generation(key_id, overlap_ms, effect_id).await {
                    Ok(kept) => kept,
                    Err(error) => {
                        if let Err(error) = self.release_answer(&ticket).await {
                            tracing::warn!(%error, "an idempotency key stays taken until its hold runs out");
                        }
                        return Err(error.into());
                    }
                };
                let answer = StoredAnswer {
                    status: 200,
                    content_type: "application/json".to_owned(),
                    body: serde_json::to_string(&kept).map_err(|e| port(PortError::corrupt(e)))?,
                };
                // Should this fail, a repeat finds the rotation by its effect's id.
                self.finish_answer(&ticket, answer).await.map_err(port)?;
                Ok(Some(rotation(&kept, false)))
            }
            Begun::Answered(answer) => {
                let kept: Kept =
                    serde_json::from_str(&answer.body).map_err(|e| port(PortError::corrupt(e)))?;
                Ok(Some(rotation(&kept, true)))
            }
            Begun::Job(_) => Err(ReplayError::Mismatch.into()),
        }
    }

    async fn rotate_generation(
        &self,
        key_id: &KeyId,
        overlap_ms: i64,
        effect_id: String,
    ) -> Result<Kept, KeyError> {
        let previous_until = self.now().plus_millis(overlap_ms.max(0));
        let record = self
            .change_key(key_id, move |record| {
                record.callback_secrets =
                    record.callback_secrets.rotated(&effect_id, previous_until);
            })
            .await?;
        let secrets = record.callback_secrets;
        Ok(Kept {
            generation: secrets.generation,
            previous_until: secrets.previous_until.unwrap_or(previous_until),
        })
    }
}

fn port(error: PortError) -> RotateError {
    RotateError::Key(KeyError::Port(error))
}
