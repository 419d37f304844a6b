//! Reading a body: bounded in size, memory and time.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use oscillink_domain::Limits;
use oscillink_wire::{Counted, SizeLimits, WireError};
use tokio::time::timeout;

use super::inbound::ReadBody;
use crate::budget::Share;
use crate::config::Config;
use crate::error::{Kind, Problem};

/// Longest pause between two pieces of a body.
const IDLE: Duration = Duration::from_secs(15);

/// Where work goes that is too large to be answered at once.
const JOB_ROUTES: &str = "/v1/jobs/settle, /v1/jobs/diffusion or /v1/jobs/chain, or is sent with \
                          Prefer: respond-async";
/// What makes a body of the same numbers smaller.
const SMALLEST: &str = "float32 .npy bodies are the smallest";

/// What a body may hold.
#[derive(Clone, Debug)]
pub struct ReadLimits {
    /// Most bytes, before and after decompression.
    pub max_bytes: usize,
    /// Most rows and columns.
    pub size: SizeLimits,
    advice: Advice,
}

/// What the client can do about a request that is too large.
#[derive(Clone, Debug)]
enum Advice {
    /// Jobs are another way, within their own limits.
    Jobs(SizeLimits),
    /// This was a job, whose limits these are.
    Smaller(SizeLimits),
    /// Lines can be spread.
    SeveralBatches,
}

impl ReadLimits {
    /// Limits of a synchronous request.
    #[must_use]
    pub fn sync(config: &Config, limits: &Limits) -> Self {
        let size = size(config.max_sync_body_bytes, limits.max_nodes, limits.max_dim);
        Self::new(size, Advice::Jobs(job_size(config, limits)))
    }

    /// Limits of a job.
    #[must_use]
    pub fn job(config: &Config, limits: &Limits) -> Self {
        let size = job_size(config, limits);
        Self::new(size, Advice::Smaller(size))
    }

    /// Limits of a synchronous request that may become a job.
    #[must_use]
    pub fn either(config: &Config, limits: &Limits) -> Self {
        let job = job_size(config, limits);
        let (nodes, dim) = (limits.max_nodes, limits.max_dim);
        let sync = size(config.max_sync_body_bytes, nodes, dim);
        let bytes = job.max_decompressed_bytes.max(sync.max_decompressed_bytes);
        let either = SizeLimits {
            max_nodes: job.max_nodes.max(nodes),
            max_dim: job.max_dim.max(dim),
            max_decompressed_bytes: bytes,
        };
        Self::new(either, Advice::Smaller(job))
    }

    /// Limits of a batch as a whole.
    #[must_use]
    pub fn batch(config: &Config) -> Self {
        let size = SizeLimits {
            max_decompressed_bytes: config.max_body_bytes,
            ..SizeLimits::NONE
        };
        Self::new(size, Advice::SeveralBatches)
    }

    /// Whether a job may have so many rows and columns. What was read within the limits of a request
    /// that may become a job need not.
    pub fn check_job(config: &Config, limits: &Limits, n: usize, d: usize) -> Result<(), Problem> {
        let job = job_size(config, limits);
        if n <= job.max_nodes && d <= job.max_dim {
            return Ok(());
        }
        Err(Problem::new(Kind::TooLarge, most(&job)))
    }

    fn new(size: SizeLimits, advice: Advice) -> Self {
        Self {
            max_bytes: size.max_decompressed_bytes,
            size,
            advice,
        }
    }

    /// Adds what to do about a request that is too large.
    pub fn explain(&self, error: WireError) -> Problem {
        let WireError::TooLarge { counted, .. } = &error else {
            return error.into();
        };
        self.refuse(error.to_string(), *counted)
    }

    /// A body with more than the limit.
    pub fn too_large(&self) -> Problem {
        let detail = format!("the body has more than {} bytes", self.max_bytes);
        self.refuse(detail, Counted::Bytes)
    }

    /// Work within the limits that is still too much to be computed while the client waits.
    pub fn too_large_for_now(&self, body: &ReadBody) -> Problem {
        let request = &body.parsed.request;
        let detail = "the work is too large for a synchronous request";
        let advice = match &self.advice {
            Advice::Jobs(job)
                if request.n() <= job.max_nodes
                    && request.d() <= job.max_dim
                    && body.length <= job.max_decompressed_bytes =>
            {
                format!("larger work goes to {JOB_ROUTES}")
            }
            Advice::Jobs(job) | Advice::Smaller(job) => most(job),
            Advice::SeveralBatches => String::new(),
        };
        Problem::new(Kind::TooLarge, joined(detail, &advice))
    }

    fn refuse(&self, detail: String, counted: Counted) -> Problem {
        let advice = match (&self.advice, counted) {
            (Advice::SeveralBatches, _) => "send several batches".to_owned(),
            // The same for all.
            (_, Counted::ChainNodes) => String::new(),
            (Advice::Jobs(job), counted) if has_more(job, &self.size, counted) => {
                let mut advice = format!("larger work goes to {JOB_ROUTES}; {}", most(job));
                if counted == Counted::Bytes {
                    advice = format!("{advice}; {SMALLEST}");
                }
                advice
            }
            (Advice::Jobs(_) | Advice::Smaller(_), Counted::Bytes) => SMALLEST.to_owned(),
            (Advice::Jobs(job) | Advice::Smaller(job), Counted::Rows | Counted::Columns) => {
                most(job)
            }
        };
        Problem::new(Kind::TooLarge, joined(&detail, &advice))
    }
}

fn joined(detail: &str, advice: &str) -> String {
    if advice.is_empty() {
        detail.to_owned()
    } else {
        format!("{detail}; {advice}")
    }
}

/// What jobs of a key hold.
fn most(job: &SizeLimits) -> String {
    let (nodes, dim) = (job.max_nodes, job.max_dim);
    format!("this key's jobs have at most {nodes} rows and {dim} columns")
}

/// Whether a job may hold more of what is counted.
fn has_more(job: &SizeLimits, now: &SizeLimits, counted: Counted) -> bool {
    match counted {
        Counted::Rows => job.max_nodes > now.max_nodes,
        Counted::Columns => job.max_dim > now.max_dim,
        Counted::Bytes => job.max_decompressed_bytes > now.max_decompressed_bytes,
        Counted::ChainNodes => false,
    }
}

fn job_size(config: &Config, limits: &Limits) -> SizeLimits {
    size(
        config.max_body_bytes,
        limits.max_job_nodes,
        limits.max_job_dim,
    )
}

fn size(max_bytes: usize, nodes: usize, dim: usize) -> SizeLimits {
    // A number of JSON takes up to about 24 bytes; what is longer cannot be within the limits.
    let sensible = nodes
        .saturating_mul(dim)
        .saturating_mul(24)
        .saturating_add(1 << 20);
    SizeLimits {
        max_nodes: nodes,
        max_dim: dim,
        max_decompressed_bytes: max_bytes.min(sensible),
    }
}

/// Reads the body into memory that `share` accounts for.
pub async fn read(
    body: Body,
    headers: &HeaderMap,
    limits: &ReadLimits,
    config: &Config,
    share: &mut Share,
) -> Result<Vec<u8>, Problem> {
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: u64| length > limits.max_bytes as u64) {
        return Err(limits.too_large());
    }
    let slow = || {
        let seconds = config.body_timeout.as_secs();
        let detail = format!("the body did not arrive within {seconds} s, or paused too long");
        Problem::new(Kind::RequestTimeout, detail)
    };
    let whole = timeout(config.body_timeout, read_frames(body, limits, share));
    whole
        .await
        .map_err(|_| slow())?
        .map_err(|failure| match failure {
            Failure::Problem(problem) => problem,
            Failure::Slow => slow(),
        })
}

enum Failure {
    Problem(Problem),
    Slow,
}

async fn read_frames(
    mut body: Body,
    limits: &ReadLimits,
    share: &mut Share,
) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    loop {
        let frame = match timeout(IDLE, body.frame()).await {
            Err(_) => return Err(Failure::Slow),
            Ok(None) => return Ok(bytes),
            Ok(Some(Err(_))) => {
                let detail = "the body ended before it was complete";
                return Err(Failure::Problem(Problem::field("body", detail)));
            }
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if data.len() > limits.max_bytes - bytes.len() {
            return Err(Failure::Problem(limits.too_large()));
        }
        // The capacity is what is taken from memory.
        let needed = bytes.len() + data.len();
        if needed > bytes.capacity() {
            let capacity = (bytes.capacity() * 2).clamp(needed, limits.max_bytes.max(needed));
            share.grow_to(capacity).await.map_err(Failure::Problem)?;
            bytes.reserve_exact(capacity - bytes.len());
        }
        bytes.extend_from_slice(&data);
    }
}
