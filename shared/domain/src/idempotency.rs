//! Idempotency records: the first answer to a request that named an `Idempotency-Key`.

use serde::{Deserialize, Serialize};

use crate::hash::Sha256Hex;
use crate::id::{JobId, KeyId};
use crate::time::Timestamp;

/// How long an answer is replayed, ms.
pub const REPLAY_MS: i64 = 24 * 3_600 * 1_000;
/// Longest `Idempotency-Key`, bytes.
pub const MAX_KEY_LEN: usize = 255;

/// One key's memory of one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyRecord {
    /// The caller.
    pub key_id: KeyId,
    /// Hash of route and body: the same key with another body is refused.
    pub request_hash: Sha256Hex,
    /// The job that the first request made.
    pub job_id: JobId,
    /// When it may be forgotten.
    pub expires_at: Timestamp,
}

/// Document id: the caller and the header's value, hashed, so that callers cannot meet.
#[must_use]
pub fn record_id(key_id: &KeyId, idempotency_key: &str) -> String {
    let digest = Sha256Hex::of_parts([key_id.as_str().as_bytes(), idempotency_key.as_bytes()]);
    digest.as_str().to_owned()
}
