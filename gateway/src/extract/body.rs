//! Reading a body: bounded in size, memory and time.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use oscillink_domain::Limits;
use oscillink_wire::{SizeLimits, WireError};
use tokio::time::timeout;

use crate::budget::Share;
use crate::config::Config;
use crate::error::{Kind, Problem};

/// Longest pause between two pieces of a body.
const IDLE: Duration = Duration::from_secs(15);

/// What a body may hold.
#[derive(Clone, Debug)]
pub struct ReadLimits {
    /// Most bytes, before and after decompression.
    pub max_bytes: usize,
    /// Most rows and columns.
    pub size: SizeLimits,
    /// What the client can do about a body that is too large.
    pub advice: String,
}

impl ReadLimits {
    /// Limits of a synchronous request.
    #[must_use]
    pub fn sync(config: &Config, limits: &Limits) -> Self {
        Self::new(
            config.max_sync_body_bytes,
            limits.max_nodes,
            limits.max_dim,
            format!(
                "larger work goes to /v1/jobs/settle, /v1/jobs/diffusion or /v1/jobs/chain, or is \
                 sent with Prefer: respond-async; this key's jobs have at most {} rows",
                limits.max_job_nodes
            ),
        )
    }

    /// Limits of a job.
    #[must_use]
    pub fn job(config: &Config, limits: &Limits) -> Self {
        Self::new(
            config.max_body_bytes,
            limits.max_job_nodes,
            limits.max_dim,
            "this key's plan allows no more; float32 .npy bodies are the smallest".to_owned(),
        )
    }

    /// Limits of a synchronous request that may become a job.
    #[must_use]
    pub fn either(config: &Config, limits: &Limits) -> Self {
        let mut either = Self::job(config, limits);
        either.max_bytes = either.max_bytes.max(config.max_sync_body_bytes);
        either.size.max_nodes = either.size.max_nodes.max(limits.max_nodes);
        either
    }

    /// Limits of a batch as a whole.
    #[must_use]
    pub fn batch(config: &Config) -> Self {
        Self {
            max_bytes: config.max_body_bytes,
            size: SizeLimits {
                max_decompressed_bytes: config.max_body_bytes,
                ..SizeLimits::NONE
            },
            advice: "send several batches".to_owned(),
        }
    }

    fn new(max_bytes: usize, nodes: usize, dim: usize, advice: String) -> Self {
        // A number of JSON takes up to about 24 bytes; what is longer cannot be within the limits.
        let sensible = nodes
            .saturating_mul(dim)
            .saturating_mul(24)
            .saturating_add(1 << 20);
        let max_bytes = max_bytes.min(sensible);
        Self {
            max_bytes,
            size: SizeLimits {
                max_nodes: nodes,
                max_dim: dim,
                max_decompressed_bytes: max_bytes,
            },
            advice,
        }
    }

    /// Adds what to do about a request that is too large.
    pub fn explain(&self, error: WireError) -> Problem {
        match &error {
            WireError::TooLarge { .. } => {
                Problem::new(Kind::TooLarge, format!("{error}; {}", self.advice))
            }
            WireError::BadRequest { .. } => error.into(),
        }
    }

    /// A body with more than the limit.
    pub fn too_large(&self) -> Problem {
        let detail = format!(
            "the body has more than {} bytes; {}",
            self.max_bytes, self.advice
        );
        Problem::new(Kind::TooLarge, detail)
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
