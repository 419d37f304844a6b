//! Context of an answer: sizes, parameters, usage and quota.

use oscillink_domain::Units;
use oscillink_lattice::{DiffusionReport, Lambdas, Solution};
use serde::Serialize;

use crate::request::SolveRequest;

/// Context of an answer.
#[derive(Clone, Debug, Serialize)]
pub struct Meta {
    /// Rows.
    #[serde(rename = "N")]
    pub n: usize,
    /// Columns.
    #[serde(rename = "D")]
    pub d: usize,
    /// Neighbours asked for.
    pub kneighbors_requested: usize,
    /// Neighbours after clamping.
    pub kneighbors_effective: usize,
    /// Energy weights in force.
    pub lam: Lam,
    /// How the gates were diffused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diffusion: Option<Diffused>,
    /// The request that asked for it; `None` offline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What it counts for.
    pub usage: Usage,
    /// The key's quota window after this request; absent when there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
}

impl Meta {
    pub(crate) fn new(request: &SolveRequest, solution: &Solution) -> Self {
        Self {
            n: request.n(),
            d: request.d(),
            kneighbors_requested: request.params().kneighbors(),
            kneighbors_effective: solution.k_effective,
            lam: request.params().lambdas().into(),
            diffusion: solution.diffusion.as_ref().map(Diffused::from),
            request_id: None,
            usage: Usage {
                nodes: request.n(),
                node_dim_units: request.units(),
                monthly: None,
            },
            quota: None,
        }
    }
}

/// Energy weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub struct Lam {
    /// `lamG`.
    pub g: f64,
    /// `lamC`.
    pub c: f64,
    /// `lamQ`.
    pub q: f64,
    /// `lamP`.
    pub p: f64,
}

impl From<Lambdas> for Lam {
    fn from(lambdas: Lambdas) -> Self {
        Self {
            g: lambdas.g,
            c: lambdas.c,
            q: lambdas.q,
            p: lambdas.p,
        }
    }
}

/// How the gates were diffused.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Diffused {
    /// Injection scale.
    pub beta: f64,
    /// Screening.
    pub gamma: f64,
    /// Smallest gate.
    pub gate_min: f64,
    /// Largest gate.
    pub gate_max: f64,
    /// Mean gate.
    pub gate_mean: f64,
    /// Neighbours of the graph used.
    pub graph_k: usize,
    /// `fallback_uniform` when the solve failed and all gates are one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'static str>,
}

impl From<&DiffusionReport> for Diffused {
    fn from(report: &DiffusionReport) -> Self {
        Self {
            beta: report.beta,
            gamma: report.gamma,
            gate_min: report.gate_min,
            gate_max: report.gate_max,
            gate_mean: report.gate_mean,
            graph_k: report.graph_k,
            note: report.note,
        }
    }
}

/// What a request counts for.
#[derive(Clone, Debug, Serialize)]
pub struct Usage {
    /// Rows.
    pub nodes: usize,
    /// N·D.
    pub node_dim_units: Units,
    /// The key's month, when it has a cap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monthly: Option<Monthly>,
}

/// The key's month.
#[derive(Clone, Debug, Serialize)]
pub struct Monthly {
    /// The cap.
    pub limit: Units,
    /// Spent and reserved.
    pub used: Units,
    /// What is left.
    pub remaining: Units,
    /// `YYYY-MM`, UTC.
    pub period: String,
}

/// The key's quota window.
#[derive(Clone, Debug, Serialize)]
pub struct Quota {
    /// Units per window.
    pub limit: Units,
    /// What is left of them.
    pub remaining: Units,
    /// When the window ends, RFC 3339.
    pub reset: String,
}
