//! The job record as it is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::callback::Callback;
use crate::hash::Sha256Hex;
use crate::id::{JobId, KeyId};
use crate::quota::Reservation;
use crate::tier::{Baseline, Limits, Overrides, Tier};
use crate::time::Timestamp;
use crate::units::Units;

macro_rules! name_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in the API, in storage and in metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|v| v.as_str() == text)
                    .ok_or_else(|| format!("{text:?} is not one of {}", [$($text),+].join(", ")))
            }
        }
    };
}

name_enum!(
    /// What a job computes.
    JobKind {
        /// Settle, with receipt and bundle.
        Settle = "settle",
        /// Settle behind diffusion gates.
        Diffusion = "diffusion",
        /// Chain receipt.
        Chain = "chain",
    }
);

name_enum!(
    /// Where a job stands.
    JobStatus {
        /// Accepted, waiting for a worker.
        Queued = "queued",
        /// A worker holds its lease.
        Running = "running",
        /// Finished with a result.
        Done = "done",
        /// Failed for good.
        Error = "error",
        /// Stopped at the client's request.
        Cancelled = "cancelled",
        /// Waited longer than a job may.
        Expired = "expired",
    }
);

impl JobStatus {
    /// Whether the state is final.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

name_enum!(
    /// The task queues, each with its own worker pool.
    QueueName {
        /// Settle and chain jobs.
        Settle = "settle",
        /// Diffusion jobs.
        Diffusion = "diffusion",
        /// Jobs of tiers with priority.
        Priority = "priority",
        /// Completion callbacks.
        Callback = "callback",
    }
);

name_enum!(
    /// The stage of computation that progress speaks of.
    Stage {
        /// Reading the payload.
        Load = "load",
        /// Diffusion gates.
        Diffusion = "diffusion",
        /// Neighbour graph.
        Graph = "graph",
        /// Implicit Euler step.
        Settle = "settle",
        /// Stationary solve.
        Stationary = "stationary",
        /// Receipt.
        Receipt = "receipt",
        /// Bundle.
        Bundle = "bundle",
        /// Writing the result.
        Store = "store",
    }
);

/// How far a running job is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The stage at work.
    pub stage: Stage,
    /// Fraction of that stage, 0 to 1.
    pub fraction: f32,
}

/// A payload or result kept outside the job record (claim check).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentRef {
    /// Its name in the content store.
    pub name: String,
    /// SHA-256 of the content.
    pub sha256: Sha256Hex,
    /// Length in bytes.
    pub len: u64,
    /// Small content lives in a document beside the job, written in its transaction; the rest in the blob store.
    pub inline: bool,
}

/// What a finished job produced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultRef {
    /// The answer as JSON.
    pub answer: ContentRef,
    /// Arrays by name (`u`, `ustar`, `gates`) as npy.
    #[serde(default)]
    pub arrays: BTreeMap<String, ContentRef>,
    /// Arrays that are computed again from the payload when asked for: of a small job, that costs
    /// less than to keep them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub derived: BTreeSet<String>,
}

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureClass {
    /// The input or the tier is at fault: final at once.
    Permanent,
    /// A dependency or the machine is at fault: tried again with backoff.
    Transient,
}

/// Why an attempt, or the job, failed. Shown to the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Stable, machine-readable: `invalid_input`, `payload_missing`, `worker_lost`, `internal`, …
    pub code: String,
    /// For people.
    pub detail: String,
    /// The field at fault, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// A failed attempt, kept as history for the dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptFailure {
    /// When.
    pub at: Timestamp,
    /// The attempt, from 1.
    pub attempt: u32,
    /// Which worker.
    pub worker: String,
    /// Why.
    pub failure: Failure,
}

/// What of a job's outcome is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signs {
    /// Its receipts.
    pub receipts: bool,
    /// Its ledger row.
    pub usage: bool,
}

impl From<&Limits> for Signs {
    fn from(limits: &Limits) -> Self {
        Self {
            receipts: limits.signed_receipts,
            usage: limits.signed_usage,
        }
    }
}

/// The job record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Identity.
    pub id: JobId,
    /// The key that owns it.
    pub key_id: KeyId,
    /// Hash of the secret it was submitted with, for the ledger.
    pub key_hash: Sha256Hex,
    /// The key's tier at submission.
    pub tier: Tier,
    /// What it computes.
    pub kind: JobKind,
    /// Where it stands.
    pub status: JobStatus,
    /// Not yet terminal. Kept beside `status` so that one index serves the sweeper.
    pub live: bool,
    /// The queue it is dispatched on.
    pub queue: QueueName,
    /// Rows.
    pub n: usize,
    /// Columns.
    pub d: usize,
    /// N·D.
    pub units: Units,
    /// Estimated peak memory of computing it, bytes: what a worker sets aside before it begins.
    pub memory_bytes: u64,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its present or last attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it became terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// When record and result may be removed. Set at submission to bound a job that never ends.
    pub expires_at: Timestamp,
    /// When it expires if no worker has finished it.
    pub deadline_at: Timestamp,
    /// When the sweeper should look at it again: the lease's end while running, the time by which a
    /// worker should have claimed it while queued.
    pub due_at: Timestamp,
    /// Attempts begun.
    pub attempts: u32,
    /// Raised by every claim and every return to the queue.
    pub generation: u64,
    /// Number of the newest dispatch; the task's name is made of it.
    pub dispatch: u32,
    /// End of the lease while running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_until: Option<Timestamp>,
    /// The holder of the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// How far the holder is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// The client asked for it to stop while it was running.
    #[serde(default)]
    pub cancel_requested: bool,
    /// The checked request.
    pub payload: ContentRef,
    /// The result once done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ResultRef>,
    /// How long its result is kept, ms.
    pub result_ttl_ms: i64,
    /// What of its outcome is signed, as its key's limits said at submission. Jobs from before this
    /// was kept have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signs: Option<Signs>,
    /// Why it failed for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Failed attempts so far.
    #[serde(default)]
    pub history: Vec<AttemptFailure>,
    /// Failed for good after attempts; listed for operators.
    #[serde(default)]
    pub dead_letter: bool,
    /// What it holds of the quota until it ends.
    pub reservation: Reservation,
    /// Its place in the fair order.
    pub tag: u64,
    /// The meter whose lane counts it.
    pub lane_shard: u32,
    /// The request that submitted it.
    pub request_id: String,
    /// W3C trace context of that request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The caller's own name for it (batch).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_id: Option<String>,
    /// Where to report its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_url: Option<String>,
    /// How far that report is, once the job has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<Callback>,
}

impl Job {
    /// What of its outcome is signed: what the key's limits said at submission, or, of jobs that do
    /// not remember, what their tier says.
    #[must_use]
    pub fn signs(&self, baseline: &Baseline) -> Signs {
        self.signs
            .unwrap_or_else(|| (&Limits::of(self.tier, baseline, &Overrides::default())).into())
    }
}
