//! What a callback says, and its signature (Standard Webhooks).

use bytes::Bytes;
use oscillink_domain::{Job, Timestamp};
use serde_json::json;

use super::secret::CallbackSecret;
use crate::finish::completion_id;

/// A callback ready to be sent.
#[derive(Clone, Debug)]
pub struct PendingCallback {
    /// Where to.
    pub url: String,
    /// `webhook-id`: the id of the job's completion event.
    pub id: String,
    /// The body, the same at every attempt.
    pub body: Bytes,
    /// W3C trace context of the request that submitted the job.
    pub traceparent: Option<String>,
    /// Those that sign it; none when it cannot be signed any more.
    secrets: Vec<CallbackSecret>,
}

impl PendingCallback {
    /// Whether there is a secret to sign it with.
    #[must_use]
    pub fn can_be_signed(&self) -> bool {
        !self.secrets.is_empty()
    }

    /// `webhook-timestamp` and `webhook-signature` of an attempt at `now`: one signature a secret in
    /// force, newest first, separated by spaces.
    #[must_use]
    pub fn signature(&self, now: Timestamp) -> (i64, String) {
        let seconds = now.as_millis().div_euclid(1_000);
        let head = format!("{}.{seconds}.", self.id);
        let signatures = self.secrets.iter().map(|secret| {
            let signature = secret.sign(&[head.as_bytes(), &self.body]);
            format!("v1,{signature}")
        });
        (seconds, signatures.collect::<Vec<_>>().join(" "))
    }
}

/// The callback of a job that has ended.
pub(super) fn pending(job: &Job, secrets: Vec<CallbackSecret>) -> Option<PendingCallback> {
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let body = json!({
        "type": format!("job.{}", job.status),
        "timestamp": time(job.completed_at),
        "data": {
            "job_id": job.id,
            "kind": job.kind,
            "status": job.status,
            "created": job.created_at.to_string(),
            "started": time(job.started_at),
            "completed": time(job.completed_at),
            "attempts": job.attempts,
            "units": job.units,
            "error": job.error,
            "expires": job.expires_at.to_string(),
            "custom_id": job.custom_id,
        },
    });
    Some(PendingCallback {
        url: job.callback_url.clone()?,
        id: completion_id(job).as_str().to_owned(),
        body: Bytes::from(body.to_string()),
        traceparent: job.traceparent.clone(),
        secrets,
    })
}
