//! The report as data. Times are in seconds unless a name says otherwise.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::books::{Kind, Totals, Violations};
use crate::scrape::Points;

/// Version of this form.
pub const FORMAT: u32 = 1;

/// A run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// Name of the scenario.
    pub scenario: String,
    /// What it is for.
    pub description: String,
    /// When the run began.
    pub started: String,
    /// Base address of the service.
    pub target: String,
    /// Planned length of the run.
    pub duration_s: f64,
    /// Its first part, which does not count.
    pub warm_up_s: f64,
    /// Stopped before its end.
    pub interrupted: bool,
    /// Everything held.
    pub passed: bool,
    /// Thresholds.
    pub verdicts: Vec<Verdict>,
    /// All flows together.
    pub all: Load,
    /// By flow.
    pub flows: Vec<Load>,
    /// Single requests, from when they were sent.
    pub requests: BTreeMap<String, Quantiles>,
    /// Length of the parts of [`Load::series`].
    pub part_s: f64,
    /// The service's gauges over time.
    pub gauges: BTreeMap<String, Points>,
    /// Disturbances.
    pub chaos: Vec<Chaos>,
    /// What was lost or doubled.
    pub correctness: Correctness,
    /// The harness itself.
    pub harness: Harness,
    /// Where it ran.
    pub environment: Environment,
}

impl Report {
    /// Adds a fault of correctness that was found afterwards.
    pub(crate) fn incorrect(&mut self, kind: Kind, detail: String) {
        self.correctness.violations.add(kind, detail);
        self.correctness.passed = false;
        self.passed = false;
    }
}

/// A threshold and what became of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Verdict {
    /// Flow, or `all`.
    pub flow: String,
    /// The condition.
    pub condition: String,
    /// What was measured, in words.
    pub measured: String,
    /// Did it hold?
    pub passed: bool,
}

/// Measurements of one flow, or of all.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Load {
    /// Name.
    pub name: String,
    /// What an arrival does.
    pub kind: String,
    /// `open` or `closed`; a closed loop hides pauses.
    pub arrivals: String,
    /// Numbers.
    pub summary: Summary,
    /// Outcomes by name.
    pub outcomes: BTreeMap<String, u64>,
    /// Over time.
    pub series: Vec<Point>,
    /// Latency at shares from 0 to 99.999 %.
    pub distribution: Vec<(f64, f64)>,
}

/// Numbers of one flow, warm-up left out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Summary {
    /// Arrivals.
    pub arrivals: u64,
    /// Successes.
    pub ok: u64,
    /// Errors.
    pub errors: u64,
    /// Never sent.
    pub unsent: u64,
    /// Share of errors and unsent ones.
    pub error_rate: f64,
    /// Successes a second.
    pub throughput: f64,
    /// Latency from the intended time.
    pub latency: Quantiles,
}

/// Latencies.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many.
    pub count: u64,
    /// Mean.
    pub mean_s: f64,
    /// Median.
    pub p50_s: f64,
    /// 90th percentile.
    pub p90_s: f64,
    /// 95th percentile.
    pub p95_s: f64,
    /// 99th percentile.
    pub p99_s: f64,
    /// 99.9th percentile.
    pub p999_s: f64,
    /// Largest.
    pub max_s: f64,
}

/// A part of the run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Point {
    /// Its start.
    pub at_s: f64,
    /// Successes.
    pub ok: u64,
    /// Errors.
    pub errors: u64,
    /// Never sent.
    pub unsent: u64,
    /// Median.
    pub p50_s: Option<f64>,
    /// 95th percentile.
    pub p95_s: Option<f64>,
    /// 99th percentile.
    pub p99_s: Option<f64>,
    /// Largest.
    pub max_s: Option<f64>,
}

/// A disturbance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Chaos {
    /// What.
    pub label: String,
    /// When it began.
    pub began_s: f64,
    /// When it was over.
    pub ended_s: f64,
    /// Was it noticed at all?
    pub noticed: bool,
    /// How long after its beginning arrivals were answered well again; none when not seen.
    pub recovered_after_s: Option<f64>,
    /// Why it could not be carried out.
    pub error: Option<String>,
}

/// What was sent against what the service says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Correctness {
    /// Nothing lost, doubled or wrong.
    pub passed: bool,
    /// Sums.
    pub totals: Totals,
    /// Faults.
    pub violations: Violations,
    /// What could not be checked, and why.
    pub unchecked: Vec<String>,
}

/// The harness itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Harness {
    /// Its version.
    pub version: String,
    /// How much later than meant it sent.
    pub lateness: Quantiles,
    /// Connections made.
    pub connections: u64,
    /// Processor time that it used.
    pub cpu_s: f64,
    /// From the first arrival to the last check.
    pub total_s: f64,
}

/// Where it ran.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Environment {
    /// Processors.
    pub processors: usize,
    /// Their name.
    pub processor: String,
    /// The system.
    pub system: String,
}

impl Environment {
    /// This machine.
    #[must_use]
    pub fn here() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        let name = name.map(|name| name.trim_start_matches([' ', '\t', ':']).to_owned());
        let system = rustix::system::uname();
        Self {
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            processor: name.unwrap_or_default(),
            system: format!(
                "{} {}",
                system.sysname().to_string_lossy(),
                system.release().to_string_lossy()
            ),
        }
    }
}
