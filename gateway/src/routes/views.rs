//! Inner records as the API shows them. Times are RFC 3339.

use oscillink_domain::callback::{Callback, CallbackStatus};
use oscillink_domain::job::{Failure, Progress};
use oscillink_domain::{Job, KeyRecord, Limits, Tier, Timestamp, Units};
use oscillink_engine::{PeriodUsage, UsageView};
use serde::Serialize;
use serde_json::value::RawValue;

/// A job.
#[derive(Serialize)]
pub struct JobView<'a> {
    job_id: &'a str,
    kind: &'a str,
    status: &'a str,
    created: String,
    started: Option<String>,
    completed: Option<String>,
    attempts: u32,
    progress: Option<Progress>,
    units: Units,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Failure>,
    expires: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback: Option<CallbackView<'a>>,
}

/// How far the report of a job's end is.
#[derive(Serialize)]
struct CallbackView<'a> {
    status: CallbackStatus,
    attempts: u32,
    last_attempt: Option<String>,
    last_status: Option<u16>,
    last_error: Option<&'a str>,
    delivered: Option<String>,
}

impl<'a> CallbackView<'a> {
    fn of(callback: &'a Callback) -> Self {
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
        Self {
            status: callback.status,
            attempts: callback.attempts,
            last_attempt: time(callback.last_attempt_at),
            last_status: callback.last_status,
            last_error: callback.last_error.as_deref(),
            delivered: time(callback.delivered_at),
        }
    }
}

impl<'a> JobView<'a> {
    /// A job, with its result if it is at hand.
    pub fn of(job: &'a Job, result: Option<&'a RawValue>) -> Self {
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
        Self {
            job_id: job.id.as_str(),
            kind: job.kind.as_str(),
            status: job.status.as_str(),
            created: job.created_at.to_string(),
            started: time(job.started_at),
            completed: time(job.completed_at),
            attempts: job.attempts,
            progress: job.progress,
            units: job.units,
            result,
            error: job.error.as_ref(),
            expires: job.expires_at.to_string(),
            custom_id: job.custom_id.as_deref(),
            callback: job.callback.as_ref().map(CallbackView::of),
        }
    }
}

/// A page of a list.
#[derive(Serialize)]
pub struct ListView<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins; null at the end.
    pub next_cursor: Option<String>,
}

/// One period of a key's quota.
#[derive(Serialize)]
struct PeriodView {
    limit: Option<Units>,
    used: Units,
    reserved: Units,
    remaining: Option<Units>,
    resets: String,
}

impl From<&PeriodUsage> for PeriodView {
    fn from(usage: &PeriodUsage) -> Self {
        Self {
            limit: usage.limit,
            used: usage.tally.used,
            reserved: usage.tally.reserved,
            remaining: usage.remaining(),
            resets: usage.resets_at.to_string(),
        }
    }
}

/// A key's usage.
#[derive(Serialize)]
pub struct UsageAnswer {
    key_id: String,
    tier: &'static str,
    window: PeriodView,
    month: PeriodView,
    period: String,
    live_jobs: u64,
}

impl UsageAnswer {
    /// The usage of `key`.
    pub fn of(key: &KeyRecord, usage: &UsageView) -> Self {
        Self {
            key_id: key.key_id.as_str().to_owned(),
            tier: key.tier.as_str(),
            window: (&usage.window).into(),
            month: (&usage.month).into(),
            period: usage.period.clone(),
            live_jobs: usage.live_jobs,
        }
    }
}

/// A key, without its secrets.
#[derive(Serialize)]
pub struct KeyView<'a> {
    key_id: &'a str,
    name: &'a str,
    tier: &'a str,
    status: oscillink_domain::KeyStatus,
    features: Features,
    limits: LimitsView,
    created: String,
    secrets: Vec<SecretView>,
}

#[derive(Serialize)]
struct Features {
    diffusion: bool,
    signed_receipts: bool,
    signed_usage: bool,
    priority: bool,
}

#[derive(Serialize)]
struct LimitsView {
    max_nodes: usize,
    max_dim: usize,
    max_job_nodes: usize,
    max_job_dim: usize,
    window_units: Option<Units>,
    monthly_units: Option<Units>,
    result_ttl_s: i64,
}

impl From<&Limits> for Features {
    fn from(limits: &Limits) -> Self {
        Self {
            diffusion: limits.diffusion,
            signed_receipts: limits.signed_receipts,
            signed_usage: limits.signed_usage,
            priority: limits.priority,
        }
    }
}

impl From<&Limits> for LimitsView {
    fn from(limits: &Limits) -> Self {
        Self {
            max_nodes: limits.max_nodes,
            max_dim: limits.max_dim,
            max_job_nodes: limits.max_job_nodes,
            max_job_dim: limits.max_job_dim,
            window_units: limits.window_units,
            monthly_units: limits.monthly_units,
            result_ttl_s: limits.result_ttl_ms / 1_000,
        }
    }
}

/// A row of the table of tiers.
#[derive(Serialize)]
pub struct TierView {
    tier: Tier,
    features: Features,
    limits: LimitsView,
}

impl TierView {
    /// What `tier` gives.
    pub fn of(tier: Tier, limits: &Limits) -> Self {
        Self {
            tier,
            features: limits.into(),
            limits: limits.into(),
        }
    }
}

#[derive(Serialize)]
struct SecretView {
    hash_prefix: String,
    expires: Option<String>,
}

impl<'a> KeyView<'a> {
    /// What a key's owner sees of it.
    pub fn of(key: &'a KeyRecord, limits: &Limits) -> Self {
        let secrets = key.secrets.iter().map(|secret| SecretView {
            hash_prefix: secret.hash.prefix().to_owned(),
            expires: secret.expires_at.map(|at| at.to_string()),
        });
        Self {
            key_id: key.key_id.as_str(),
            name: &key.name,
            tier: key.tier.as_str(),
            status: key.status,
            features: limits.into(),
            limits: limits.into(),
            created: key.created_at.to_string(),
            secrets: secrets.collect(),
        }
    }
}
