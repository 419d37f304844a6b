//! What a run does: read from TOML, checked once. What leaves this module is valid.

mod chaos;
mod check;
mod duration;
mod raw;
mod threshold;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use chaos::{Action, Disturbance};
pub use duration::{parse_duration, parse_run_length, show_duration};
pub use raw::{Arrivals, BodyForm, FlowKind, Spacing};
pub use threshold::{Comparison, Metric, Threshold};

/// Why a scenario cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("{path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Not TOML, or a field that is not known or of another type.
    #[error(transparent)]
    Syntax(#[from] toml::de::Error),
    /// A field has a value that makes no sense.
    #[error("{field}: {detail}")]
    Field {
        /// The field's path, for example `flows.inline.arrivals.rate`.
        field: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl ScenarioError {
    pub(crate) fn field(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Field {
            field: field.into(),
            detail: detail.into(),
        }
    }
}

/// A checked scenario.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name, for the report.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// How long arrivals come.
    pub duration: Duration,
    /// Its first part, left out of latencies and thresholds.
    pub warm_up: Duration,
    /// Bounds of the harness.
    pub bounds: Bounds,
    /// Variables of the server, when the harness starts it.
    pub server_env: BTreeMap<String, String>,
    /// Size of the memory file system that the server's data folder is put on, bytes.
    pub server_tmpfs_bytes: Option<u64>,
    /// Whose requests are sent.
    pub tenants: Vec<Tenant>,
    /// What is sent.
    pub problems: Vec<ProblemSpec>,
    /// How it is sent.
    pub flows: Vec<Flow>,
    /// What must hold, in the file's order.
    pub thresholds: Vec<Threshold>,
    /// What is disturbed, by time.
    pub chaos: Vec<Disturbance>,
    /// What is checked beside latencies.
    pub checks: Checks,
}

/// Bounds of the harness itself.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections open at once.
    pub connections: usize,
    /// Arrivals under way at once; what arrives above it is reported as unsent.
    pub in_flight: usize,
    /// Longest a request may take.
    pub timeout: Duration,
    /// Longest jobs may take to end after the last arrival.
    pub drain: Duration,
}

/// What is checked beside latencies.
#[derive(Debug, Clone, Copy)]
pub struct Checks {
    /// Nobody else uses the keys: rows and jobs that were not sent are faults.
    pub exclusive_keys: bool,
    /// Each event's callback comes once; otherwise repetitions are only counted.
    pub callbacks_once: bool,
}

/// A key's owner.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its name in the scenario.
    pub name: String,
    /// Its tier.
    pub tier: String,
    /// Its share of a flow's arrivals, relative to the other tenants of the flow.
    pub weight: u32,
}

/// A set of problems of one size.
#[derive(Debug, Clone)]
pub struct ProblemSpec {
    /// Its name in the scenario.
    pub name: String,
    /// N.
    pub rows: usize,
    /// D.
    pub dims: usize,
    /// How many different ones.
    pub count: usize,
    /// `params.kneighbors`.
    pub neighbors: usize,
    /// `options.bundle_k`.
    pub bundle: usize,
    /// How they are written.
    pub body: BodyForm,
}

/// One kind of use, with its arrivals.
#[derive(Debug, Clone)]
pub struct Flow {
    /// Its name.
    pub name: String,
    /// What one arrival does.
    pub kind: FlowKind,
    /// Places in [`Scenario::tenants`].
    pub tenants: Vec<usize>,
    /// Place in [`Scenario::problems`].
    pub problem: Option<usize>,
    /// When they arrive.
    pub arrivals: Arrivals,
    /// Regular or random distances.
    pub spacing: Spacing,
    /// Path of a probe.
    pub path: String,
    /// Lines of a batch.
    pub lines: usize,
    /// How often a Stripe event is sent.
    pub copies: usize,
    /// With diffusion gates.
    pub diffusion: bool,
    /// Statuses beside success that are no error, for example 429 where limits are provoked.
    pub allow: Vec<u16>,
}

impl Scenario {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// The file cannot be read, or a field is at fault.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path).map_err(|cause| ScenarioError::Read {
            path: path.to_owned(),
            cause,
        })?;
        Self::parse(&text)
    }

    /// Checks a scenario's text.
    ///
    /// # Errors
    /// A field is at fault.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        check::checked(toml::from_str(text)?)
    }

    /// Does anything speak to a callback receiver?
    #[must_use]
    pub fn has_callbacks(&self) -> bool {
        self.flows
            .iter()
            .any(|flow| flow.kind == FlowKind::Callback)
    }

    /// The same with another length; chaos, spikes and steps keep their place relative to it.
    #[must_use]
    pub fn scaled_to(mut self, duration: Duration) -> Self {
        let factor = duration.as_secs_f64() / self.duration.as_secs_f64();
        self.duration = duration;
        self.warm_up = self.warm_up.mul_f64(factor);
        for flow in &mut self.flows {
            flow.arrivals.scale_time(factor);
        }
        for disturbance in &mut self.chaos {
            disturbance.at = disturbance.at.mul_f64(factor);
        }
        self
    }
}
