//! The answer as it goes out. Field names and their order are the API's.

mod meta;
mod receipt;

use std::collections::BTreeMap;

use ndarray::{Array1, Array2};
use oscillink_lattice::{BundleItem, ChainReceipt, Solution};
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

pub use meta::{Diffused, Lam, Meta, Monthly, Quota, Usage};
pub use receipt::{NullPointCounts, NullPointEntry, Receipt, ReceiptContext, Signature};

use crate::request::{ArrayName, SolveRequest};

/// An answer.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// Signature of inputs and graph.
    pub state_sig: String,
    /// Account of the energy removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    /// Rows that are relevant and differ from each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Vec<BundleEntry>>,
    /// Verdict on the chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain_receipt: Option<ChainVerdict>,
    /// Arrays asked for, when they are part of the answer itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub arrays: BTreeMap<ArrayName, NumberArray>,
    /// Milliseconds per stage that ran.
    pub timings_ms: BTreeMap<&'static str, f64>,
    /// Context.
    pub meta: Meta,
}

impl Answer {
    /// What `solution` says, without arrays and signature.
    pub(crate) fn new(request: &SolveRequest, solution: &Solution) -> Self {
        Self {
            state_sig: solution.state_sig.clone(),
            receipt: solution.receipt.as_ref().map(Receipt::from),
            bundle: solution
                .bundle
                .as_ref()
                .map(|items| items.iter().map(BundleEntry::from).collect()),
            chain_receipt: solution.chain_receipt.as_ref().map(ChainVerdict::from),
            arrays: BTreeMap::new(),
            timings_ms: timings(solution),
            meta: Meta::new(request, solution),
        }
    }

    /// The answer as JSON.
    ///
    /// # Errors
    /// None in practice: every field has a JSON form.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }
}

/// One row of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BundleEntry {
    /// Row.
    pub id: usize,
    /// Relevance.
    pub score: f64,
    /// Cosine with the query.
    pub align: f64,
}

impl From<&BundleItem> for BundleEntry {
    fn from(item: &BundleItem) -> Self {
        Self {
            id: item.id,
            score: item.score,
            align: item.align,
        }
    }
}

/// Verdict on a chain.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChainVerdict {
    /// Whether no step stands out.
    pub verdict: bool,
    /// The step that stands out most.
    pub weakest_link: WeakestStep,
    /// Coherence gained along the chain.
    pub coherence_gain: f64,
    /// Every step.
    pub edges: Vec<ChainStep>,
}

/// The step that stands out most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WeakestStep {
    /// Position in the chain.
    pub k: usize,
    /// Its rows.
    pub edge: [usize; 2],
    /// The larger of its z-scores.
    pub zscore: f64,
}

/// One step of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ChainStep {
    /// Position in the chain.
    pub k: usize,
    /// Its rows.
    pub edge: [usize; 2],
    /// z-score over the lattice graph.
    pub z_struct: f64,
    /// z-score over the path.
    pub z_path: f64,
    /// Residual over the lattice graph.
    pub r_struct: f64,
    /// Residual over the path.
    pub r_path: f64,
}

impl From<&ChainReceipt> for ChainVerdict {
    fn from(receipt: &ChainReceipt) -> Self {
        let weakest = receipt.weakest_link;
        let edges = receipt.edges.iter().map(|edge| ChainStep {
            k: edge.k,
            edge: edge.edge,
            z_struct: edge.z_struct,
            z_path: edge.z_path,
            r_struct: edge.r_struct,
            r_path: edge.r_path,
        });
        Self {
            verdict: receipt.verdict,
            weakest_link: WeakestStep {
                k: weakest.k,
                edge: weakest.edge,
                zscore: weakest.zscore,
            },
            coherence_gain: receipt.coherence_gain,
            edges: edges.collect(),
        }
    }
}

/// An array of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum NumberArray {
    /// One number per row.
    Vector(Array1<f32>),
    /// N×D.
    Matrix(Array2<f32>),
}

impl NumberArray {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Vector(v) => v.len(),
            Self::Matrix(m) => m.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements, row after row.
    pub fn iter(&self) -> impl Iterator<Item = f32> + '_ {
        let (vector, matrix) = match self {
            Self::Vector(v) => (Some(v), None),
            Self::Matrix(m) => (None, Some(m)),
        };
        let vector = vector.into_iter().flatten();
        vector.chain(matrix.into_iter().flatten()).copied()
    }
}

impl Serialize for NumberArray {
    /// As nested lists, like `numpy.ndarray.tolist`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Vector(v) => serializer.collect_seq(v),
            Self::Matrix(m) => {
                let mut rows = serializer.serialize_seq(Some(m.nrows()))?;
                for row in m.outer_iter() {
                    rows.serialize_element(&Row(row.to_slice().unwrap_or_default()))?;
                }
                rows.end()
            }
        }
    }
}

/// A row of a matrix in standard layout, which the numeric core's states are in.
struct Row<'a>(&'a [f32]);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0)
    }
}

/// Stages that did not run are left out.
fn timings(solution: &Solution) -> BTreeMap<&'static str, f64> {
    let timings = &solution.timings;
    let stages = [
        ("bundle_ms", solution.bundle.is_some(), timings.bundle_ms),
        (
            "chain_receipt_ms",
            solution.chain_receipt.is_some(),
            timings.chain_receipt_ms,
        ),
        (
            "diffusion_gate_ms",
            solution.diffusion.is_some(),
            timings.diffusion_gate_ms,
        ),
        ("graph_build_ms", true, timings.graph_build_ms),
        ("receipt_ms", solution.receipt.is_some(), timings.receipt_ms),
        ("settle_ms", true, timings.settle_ms),
        ("total_settle_ms", true, timings.total_ms),
        (
            "ustar_solve_ms",
            solution.stationary.is_some(),
            timings.ustar_solve_ms,
        ),
    ];
    let ran = stages.into_iter().filter(|(_, ran, _)| *ran);
    ran.map(|(name, _, ms)| (name, ms)).collect()
}
