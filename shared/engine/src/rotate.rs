//! Rotating a key with an idempotency key: a repeat gives the same new secret, which is not stored.
//!
//! The new secret is made of the one that the client presents and of the record's random effect id. A
//! repeat presents the old secret again, which works until its overlap ends, and so leads to the same
//! new one. Neither the store alone nor the old secret alone gives it away.

use hmac::{Hmac, KeyInit, Mac};
use oscillink_domain::idempotency::StoredAnswer;
use oscillink_domain::{ApiKey, KeyId, Timestamp};
use oscillink_ports::PortError;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::Engine;
use crate::error::KeyError;
use crate::keys::IssuedKey;
use crate::replay::{Begun, ReplayError, Ticket};
use crate::submit::Idempotency;

/// How long a rotation may take.
const HOLD_MS: i64 = 30_000;

/// A rotation that happened.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The key with its new secret.
    pub issued: IssuedKey,
    /// When the old secrets end.
    pub old_secrets_end: Timestamp,
    /// It had happened before.
    pub replayed: bool,
}

/// Why a rotation was refused.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The key cannot be changed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The idempotency key cannot be used.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

/// What is kept of a rotation.
#[derive(Serialize, Deserialize)]
struct Kept {
    effect_id: String,
    old_secrets_end: Timestamp,
}

impl Engine {
    /// Rotates the key that `presented` opens, once per idempotency key. The request's hash must cover
    /// the presented secret's hash.
    ///
    /// # Errors
    /// The key or the idempotency key cannot be used, or the store failed.
    pub async fn rotate_once(
        &self,
        key_id: &KeyId,
        presented: &ApiKey,
        overlap_ms: i64,
        idempotency: &Idempotency,
    ) -> Result<Rotation, RotateError> {
        match self.begin_answer(key_id, idempotency, HOLD_MS).await? {
            Begun::Go(ticket) => {
                let outcome = self.rotate_as(key_id, presented, overlap_ms, &ticket).await;
                if outcome.is_err()
                    && let Err(error) = self.release_answer(&ticket).await
                {
                    tracing::warn!(%error, "an idempotency key stays taken until its hold runs out");
                }
                Ok(outcome?)
            }
            Begun::Answered(answer) => {
                let kept: Kept = serde_json::from_str(&answer.body)
                    .map_err(|e| key_port(PortError::corrupt(e)))?;
                let record = self.key(key_id).await.map_err(key_port)?;
                let record = record.ok_or(KeyError::NotFound)?;
                let secret = successor(presented, &kept.effect_id);
                Ok(Rotation {
                    issued: IssuedKey { record, secret },
                    old_secrets_end: kept.old_secrets_end,
                    replayed: true,
                })
            }
            Begun::Job(_) => Err(ReplayError::Mismatch.into()),
        }
    }

    async fn rotate_as(
        &self,
        key_id: &KeyId,
        presented: &ApiKey,
        overlap_ms: i64,
        ticket: &Ticket,
    ) -> Result<Rotation, KeyError> {
        let secret = successor(presented, &ticket.effect_id);
        let issued = self.rotate_key_to(key_id, overlap_ms, secret).await?;
        let old_secrets_end = self.now().plus_millis(overlap_ms);
        let kept = Kept {
            effect_id: ticket.effect_id.clone(),
            old_secrets_end,
        };
        let answer = StoredAnswer {
            status: 200,
            content_type: "application/json".to_owned(),
            body: serde_json::to_string(&kept).unwrap_or_default(),
        };
        // Should this fail, a repeat finds the secret in force and keeps the answer then.
        self.finish_answer(ticket, answer).await?;
        Ok(Rotation {
            issued,
            old_secrets_end,
            replayed: false,
        })
    }
}

fn key_port(error: PortError) -> RotateError {
    RotateError::Key(KeyError::Port(error))
}

/// The secret that follows `presented` in the rotation named by `effect_id`.
fn successor(presented: &ApiKey, effect_id: &str) -> ApiKey {
    derived_key(
        presented.reveal().as_bytes(),
        "oscillink rotation ",
        effect_id,
    )
}

/// The key that `secret`, a purpose and an effect's id make: the same every time, and nothing to
/// those who lack one of them.
#[must_use]
pub fn derived_key(secret: &[u8], purpose: &str, effect_id: &str) -> ApiKey {
    #[expect(clippy::unwrap_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(purpose.as_bytes());
    mac.update(effect_id.as_bytes());
    ApiKey::from_random(mac.finalize().into_bytes().into())
}
