//! Idempotency records: the first answer to a request that named an `Idempotency-Key`.

use serde::{Deserialize, Serialize};

use crate::hash::Sha256Hex;
use crate::id::{JobId, KeyId};
use crate::time::Timestamp;

/// How long an answer is replayed, ms.
pub const REPLAY_MS: i64 = 24 * 3_600 * 1_000;
/// Longest `Idempotency-Key`, bytes.
pub const MAX_KEY_LEN: usize = 255;

/// One key's memory of one request: what came of it is either a job or an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyRecord {
    /// The caller.
    pub key_id: KeyId,
    /// Hash of route and body: the same key with another body is refused.
    pub request_hash: Sha256Hex,
    /// The job that the first request made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// For requests that are answered at once: how far the answer is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<AnswerWork>,
    /// When it may be forgotten.
    pub expires_at: Timestamp,
}

/// A request that is answered at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerWork {
    /// What its effects are named by, random. It stays when the work is begun again after a crash, so
    /// that the effects happen once.
    pub effect_id: String,
    /// Who works on it.
    pub holder: String,
    /// Until then nobody else begins.
    pub held_until: Timestamp,
    /// How often it was begun.
    pub begun: u32,
    /// The answer, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<StoredAnswer>,
}

/// An answer to be given again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAnswer {
    /// HTTP status.
    pub status: u16,
    /// Type of the body.
    pub content_type: String,
    /// The body. Only text is kept; other answers are made again.
    pub body: String,
}

/// Document id: the caller and the header's value, hashed, so that callers cannot meet.
#[must_use]
pub fn record_id(key_id: &KeyId, idempotency_key: &str) -> String {
    let digest = Sha256Hex::of_parts([key_id.as_str().as_bytes(), idempotency_key.as_bytes()]);
    digest.as_str().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_jobs_keep_their_form() {
        let old = format!(
            r#"{{"key_id":"key_{zeros}","request_hash":"{hash}","job_id":"job_{zeros}","expires_at":5}}"#,
            zeros = "0".repeat(22),
            hash = Sha256Hex::zero()
        );
        let record: IdempotencyRecord = serde_json::from_str(&old).unwrap();
        assert!(record.job_id.is_some() && record.work.is_none());
        assert_eq!(serde_json::to_string(&record).unwrap(), old);
    }
}
