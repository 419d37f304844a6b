//! The file as it is written; [`super::check`] makes a [`super::Scenario`] of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::parse_duration;

/// A time, read from text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Time(pub Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        parse_duration(&text)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawScenario {
    pub name: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub seed: u64,
    pub duration: Time,
    pub warm_up: Option<Time>,
    #[serde(default)]
    pub bounds: RawBounds,
    #[serde(default)]
    pub server: RawServer,
    #[serde(default)]
    pub checks: RawChecks,
    #[serde(default)]
    pub tenants: Vec<RawTenant>,
    #[serde(default)]
    pub problems: Vec<RawProblem>,
    pub flows: Vec<RawFlow>,
    #[serde(default)]
    pub thresholds: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub chaos: Vec<RawChaos>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawBounds {
    pub connections: usize,
    pub in_flight: usize,
    pub timeout: Time,
    pub drain: Time,
}

impl Default for RawBounds {
    fn default() -> Self {
        Self {
            connections: 128,
            in_flight: 5_000,
            timeout: Time(Duration::from_secs(30)),
            drain: Time(Duration::from_secs(60)),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawServer {
    pub env: BTreeMap<String, String>,
    pub tmpfs_mib: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawChecks {
    pub exclusive_keys: bool,
    pub callbacks_once: bool,
}

impl Default for RawChecks {
    fn default() -> Self {
        Self {
            exclusive_keys: true,
            callbacks_once: true,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTenant {
    pub name: String,
    pub tier: String,
    #[serde(default = "one")]
    pub weight: u32,
}

const fn one() -> u32 {
    1
}

/// How a problem is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyForm {
    /// JSON.
    #[default]
    Json,
    /// The matrix as `numpy.save` writes it, parameters in the query.
    Npy,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProblem {
    pub name: String,
    pub rows: usize,
    pub dims: usize,
    #[serde(default = "sixteen")]
    pub count: usize,
    #[serde(default = "six")]
    pub neighbors: usize,
    #[serde(default = "eight")]
    pub bundle: usize,
    #[serde(default)]
    pub body: BodyForm,
}

const fn sixteen() -> usize {
    16
}
const fn six() -> usize {
    6
}
const fn eight() -> usize {
    8
}

/// What one arrival does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlowKind {
    /// GET of a path.
    Probe,
    /// A synchronous settle.
    Settle,
    /// A job, awaited by long polls.
    Poll,
    /// A job, awaited by its event stream.
    Events,
    /// A job, awaited by its callback.
    Callback,
    /// Several jobs in one request, awaited by long polls.
    Batch,
    /// A signed Stripe event.
    Stripe,
}

/// Regular or random distances between arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Spacing {
    /// Regular.
    #[default]
    Even,
    /// As independent clients come.
    Poisson,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFlow {
    pub name: String,
    pub kind: FlowKind,
    pub tenants: Option<Vec<String>>,
    pub problem: Option<String>,
    pub arrivals: Arrivals,
    #[serde(default)]
    pub spacing: Spacing,
    pub path: Option<String>,
    pub lines: Option<usize>,
    pub copies: Option<usize>,
    #[serde(default)]
    pub diffusion: bool,
    #[serde(default)]
    pub allow: Vec<u16>,
}

/// When arrivals come; rates in arrivals a second.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "shape", rename_all = "lowercase", deny_unknown_fields)]
pub enum Arrivals {
    /// At one rate.
    Constant {
        /// The rate.
        rate: f64,
    },
    /// From one rate to another, linearly over the whole run.
    Ramp {
        /// First rate.
        from: f64,
        /// Last rate.
        to: f64,
    },
    /// Rates one after another, each for an equal part of the run.
    Steps {
        /// The rates.
        rates: Vec<f64>,
    },
    /// A base rate with a peak in it.
    Spike {
        /// The rate around the peak.
        base: f64,
        /// The rate in it.
        peak: f64,
        /// When it begins.
        at: Time,
        /// How long it is.
        length: Time,
    },
    /// A rate held for long, reached and left slowly.
    Soak {
        /// The rate.
        rate: f64,
        /// Length of the way up, and of the way down.
        ramp: Time,
    },
    /// Not by time: so many users, each sending when its last request has been answered.
    Closed {
        /// How many.
        users: usize,
        /// What each waits between requests.
        #[serde(default)]
        pause: Option<Time>,
    },
}

impl Arrivals {
    /// Stretches the points in time that the shape names itself.
    pub(super) fn scale_time(&mut self, factor: f64) {
        match self {
            Self::Spike { at, length, .. } => {
                at.0 = at.0.mul_f64(factor);
                length.0 = length.0.mul_f64(factor);
            }
            Self::Soak { ramp, .. } => ramp.0 = ramp.0.mul_f64(factor),
            _ => {}
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawChaos {
    pub at: Time,
    pub action: String,
    #[serde(rename = "for")]
    pub length: Option<Time>,
    pub process: Option<String>,
    pub hook: Option<String>,
    pub share: Option<f64>,
    pub offset: Option<String>,
}
