//! The receipt as the numeric contract (section 3) names its fields.

use std::collections::BTreeMap;

use oscillink_lattice::signature::{self, SignedPayload};
use oscillink_lattice::{NullPoint, NullPointsSummary, ReceiptMeta};
use serde::{Serialize, Serializer};

/// Account of the energy removed.
#[derive(Clone, Debug, Serialize)]
pub struct Receipt {
    /// Version of the numeric core.
    pub version: &'static str,
    /// Energy between settled and stationary state.
    #[serde(rename = "deltaH_total")]
    pub delta_h_total: f64,
    /// Sum of coherence drops.
    pub coh_drop_sum: f64,
    /// Sum of anchor penalties.
    pub anchor_pen_sum: f64,
    /// Sum of query terms.
    pub query_term_sum: f64,
    /// Iterations of the settle step.
    pub cg_iters: usize,
    /// Residual of the settle step.
    pub residual: f64,
    /// Milliseconds of the settle step.
    pub t_ms: f64,
    /// Rows whose worst edge stands out.
    pub null_points: Vec<NullPointEntry>,
    /// Context.
    pub meta: ReceiptContext,
}

impl From<&oscillink_lattice::Receipt> for Receipt {
    fn from(receipt: &oscillink_lattice::Receipt) -> Self {
        Self {
            version: receipt.version,
            delta_h_total: receipt.delta_h_total,
            coh_drop_sum: receipt.coh_drop_sum,
            anchor_pen_sum: receipt.anchor_pen_sum,
            query_term_sum: receipt.query_term_sum,
            cg_iters: receipt.cg_iters,
            residual: receipt.residual,
            t_ms: receipt.t_ms,
            null_points: receipt.null_points.iter().map(Into::into).collect(),
            meta: (&receipt.meta).into(),
        }
    }
}

/// A row's edge that stands out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NullPointEntry {
    /// Row and neighbour.
    pub edge: [usize; 2],
    /// z-score in its row.
    pub z: f64,
    /// The residual.
    pub residual: f64,
}

impl From<&NullPoint> for NullPointEntry {
    fn from(point: &NullPoint) -> Self {
        Self {
            edge: point.edge,
            z: point.z,
            residual: point.residual,
        }
    }
}

/// Context of a receipt.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the contract's")]
pub struct ReceiptContext {
    pub ustar_converged: bool,
    pub ustar_res: f64,
    pub ustar_iters: usize,
    pub ustar_solve_ms: f64,
    pub graph_build_ms: f64,
    pub last_settle_ms: f64,
    pub avg_degree: f64,
    pub edge_density: f64,
    pub gates_min: f64,
    pub gates_max: f64,
    pub gates_mean: f64,
    pub gates_uniform: bool,
    pub state_sig: String,
    pub receipt_detail: &'static str,
    pub null_points_summary: NullPointCounts,
    /// Present when the receipt is signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

impl From<&ReceiptMeta> for ReceiptContext {
    fn from(meta: &ReceiptMeta) -> Self {
        Self {
            ustar_converged: meta.ustar_converged,
            ustar_res: meta.ustar_res,
            ustar_iters: meta.ustar_iters,
            ustar_solve_ms: meta.ustar_solve_ms,
            graph_build_ms: meta.graph_build_ms,
            last_settle_ms: meta.last_settle_ms,
            avg_degree: meta.avg_degree,
            edge_density: meta.edge_density,
            gates_min: meta.gates_min,
            gates_max: meta.gates_max,
            gates_mean: meta.gates_mean,
            gates_uniform: meta.gates_uniform,
            state_sig: meta.state_sig.clone(),
            receipt_detail: meta.receipt_detail.as_str(),
            null_points_summary: meta.null_points_summary.into(),
            signature: None,
        }
    }
}

/// How many null points there were and are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names are the contract's")]
pub struct NullPointCounts {
    pub total_null_points: usize,
    pub returned_null_points: usize,
    pub null_cap_applied: bool,
}

impl From<NullPointsSummary> for NullPointCounts {
    fn from(summary: NullPointsSummary) -> Self {
        Self {
            total_null_points: summary.total_null_points,
            returned_null_points: summary.returned_null_points,
            null_cap_applied: summary.null_cap_applied,
        }
    }
}

/// A receipt's signature block.
#[derive(Clone, Debug, PartialEq)]
pub struct Signature(pub(crate) SignedPayload);

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Block<'a> {
            algorithm: &'a str,
            payload: Json<'a>,
            signature: &'a str,
        }
        let block = Block {
            algorithm: &self.0.algorithm,
            payload: Json(&self.0.payload),
            signature: &self.0.signature,
        };
        block.serialize(serializer)
    }
}

/// A signed value. Its numbers keep their kind: `1.0` and `1` are different texts to a verifier.
struct Json<'a>(&'a signature::Value);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            signature::Value::Null => serializer.serialize_unit(),
            signature::Value::Bool(value) => serializer.serialize_bool(*value),
            signature::Value::Int(value) => value.serialize(serializer),
            signature::Value::Float(value) => serializer.serialize_f64(*value),
            signature::Value::Text(value) => serializer.serialize_str(value),
            signature::Value::Array(items) => serializer.collect_seq(items.iter().map(Json)),
            signature::Value::Object(members) => {
                let members: BTreeMap<_, _> = members.iter().map(|(k, v)| (k, Json(v))).collect();
                members.serialize(serializer)
            }
        }
    }
}
