//! A checked request as bytes: what the gateway stores with a job and the worker reads back.
//!
//! A prelude of 64 bytes, then the parameters as JSON, then the arrays in the order `Y`, `psi`,
//! `gates`, `chain`, `chain_weights`, each at a multiple of 64 bytes, little-endian: float32, and
//! 32-bit row indices for the chain.

use bytes::Bytes;
use serde_json::{Value, json};

mod decoder;

pub use decoder::PayloadDecoder;

use crate::error::WireError;
use crate::parse::{DiffusionBlock, OptionsBlock, ParamsBlock};
use crate::request::SolveRequest;

/// Every part begins at a multiple of this.
pub const PAYLOAD_ALIGN: usize = 64;

const MAGIC: &[u8; 8] = b"OSCLKREQ";
const VERSION: u64 = 1;
const HAS_PSI: u64 = 1;
const HAS_GATES: u64 = 2;
const HAS_WEIGHTS: u64 = 4;

/// Encodes a request.
#[must_use]
pub fn encode(request: &SolveRequest) -> Bytes {
    let header = header(request).to_string();
    let chain = request.chain().map_or(&[][..], |chain| chain.nodes());
    let weights = request.chain().and_then(|chain| chain.weights());
    let psi = request.psi.as_ref().and_then(|psi| psi.as_slice());
    let gates = request.gates.as_ref().and_then(|gates| gates.as_slice());
    let flags = u64::from(psi.is_some()) * HAS_PSI
        + u64::from(gates.is_some()) * HAS_GATES
        + u64::from(weights.is_some()) * HAS_WEIGHTS;
    let prelude = [
        VERSION,
        flags,
        header.len() as u64,
        request.n() as u64,
        request.d() as u64,
        chain.len() as u64,
        0,
    ];
    let mut out = Vec::with_capacity(4 * (request.y.len() + request.n()) + 4_096);
    out.extend_from_slice(MAGIC);
    for number in prelude {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(header.as_bytes());
    put(&mut out, request.y.iter().map(|v| v.to_le_bytes()));
    for array in [psi, gates].into_iter().flatten() {
        put(&mut out, array.iter().map(|v| v.to_le_bytes()));
    }
    // Row indices have been checked against a matrix of at most 2³² rows.
    put(
        &mut out,
        chain.iter().map(|node| (*node as u32).to_le_bytes()),
    );
    if let Some(weights) = weights {
        put(&mut out, weights.iter().map(|v| v.to_le_bytes()));
    }
    Bytes::from(out)
}

/// Decodes a request and checks it again.
///
/// # Errors
/// The bytes are not a whole payload of this version, or what they hold does not pass the checks.
pub fn decode(bytes: &[u8]) -> Result<SolveRequest, WireError> {
    let mut decoder = PayloadDecoder::new(bytes.len());
    decoder.push(bytes);
    decoder.finish()
}

fn header(request: &SolveRequest) -> Value {
    let params = ParamsBlock::from(request.params());
    let options = OptionsBlock::new(request.settle(), request.answer().clone());
    let diffusion = request.diffusion().map(DiffusionBlock::from);
    json!({
        "params": {
            "kneighbors": params.kneighbors,
            "lamG": params.lambdas.g,
            "lamC": params.lambdas.c,
            "lamQ": params.lambdas.q,
            "lamP": params.lambdas.p,
            "deterministic_k": params.deterministic_k,
            "neighbor_seed": params.neighbor_seed,
        },
        "options": {
            "dt": options.dt,
            "max_iters": options.max_iters,
            "tol": options.tol,
            "bundle_k": options.answer.bundle_k,
            "include_receipt": options.answer.include_receipt,
            "receipt_detail": options.answer.receipt_detail.as_str(),
            "signature_mode": options.answer.signature_mode.as_str(),
            "array": options.answer.arrays,
        },
        "diffusion": diffusion.map_or(json!(false), |block| json!({
            "beta": block.beta,
            "gamma": block.gamma,
            "kneighbors": block.kneighbors,
            "deterministic_k": block.deterministic_k,
            "neighbor_seed": block.neighbor_seed,
            "reuse_lattice_graph": block.reuse_lattice_graph,
        })),
    })
}

fn put<const SIZE: usize>(out: &mut Vec<u8>, elements: impl Iterator<Item = [u8; SIZE]>) {
    out.resize(out.len().next_multiple_of(PAYLOAD_ALIGN), 0);
    for element in elements {
        out.extend_from_slice(&element);
    }
}
