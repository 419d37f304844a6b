//! Runs a request: what to compute for an operation, and the answer from what came out.

use std::collections::BTreeMap;

use oscillink_lattice::signature::{sign_extended, sign_minimal};
use oscillink_lattice::{
    ChainReceiptOptions, Checkpoint, Observer, Plan, ReceiptOptions, Solution, SolveError,
    estimated_memory_bytes, solve_from,
};
use secrecy::{ExposeSecret, SecretString};

use crate::answer::{Answer, NumberArray, Signature};
use crate::error::{FieldError, WireError};
use crate::request::{ArrayName, Operation, SignatureMode, SolveRequest};

/// Rows of a bundle when the request does not say.
pub(crate) const DEFAULT_BUNDLE_K: usize = 5;

/// What a run needs besides the request.
#[derive(Clone, Debug, Default)]
pub struct RunContext {
    /// Signs receipts. The caller leaves it out for tiers without signed receipts.
    pub receipt_secret: Option<SecretString>,
    /// Most null points in a receipt (`OSCILLINK_RECEIPT_NULL_CAP`).
    pub null_cap: Option<usize>,
}

/// What a run gave: the answer without arrays, and the arrays asked for.
#[derive(Clone, Debug)]
pub struct RunOutput {
    /// The answer.
    pub answer: Answer,
    /// The arrays asked for.
    pub arrays: BTreeMap<ArrayName, NumberArray>,
    /// Time of computation, ms.
    pub duration_ms: f64,
}

impl RunOutput {
    /// The answer with the arrays in it.
    #[must_use]
    pub fn into_answer_with_arrays(mut self) -> Answer {
        self.answer.arrays = self.arrays;
        self.answer
    }
}

/// Why a run gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The request has no usable answer.
    #[error(transparent)]
    Invalid(#[from] FieldError),
    /// The observer asked to stop.
    #[error("the computation was cancelled")]
    Cancelled,
}

impl From<SolveError> for RunError {
    fn from(error: SolveError) -> Self {
        match error {
            SolveError::Invalid(field) => Self::Invalid(field.into()),
            SolveError::Cancelled => Self::Cancelled,
        }
    }
}

impl SolveRequest {
    /// Upper estimate of the memory that running this request takes, request included, bytes.
    #[must_use]
    pub fn estimated_memory_bytes(&self, threads: usize) -> u64 {
        let (n, d) = (self.n(), self.d());
        let own = self
            .diffusion()
            .and_then(|diffusion| diffusion.kneighbors());
        let k = self.params().kneighbors().max(own.unwrap_or(0));
        let matrix = 4 * n as u64 * d as u64;
        estimated_memory_bytes(n, d, k, threads).saturating_add(matrix)
    }
}

/// Computes what `operation` asks of `request`, on the current rayon pool.
///
/// # Errors
/// The observer asked to stop, or the request has no answer in float32.
pub fn run(
    request: &SolveRequest,
    operation: Operation,
    context: &RunContext,
    observer: &dyn Observer,
) -> Result<RunOutput, RunError> {
    run_from(None, request, operation, context, observer)
}

/// The same, going on from what an earlier run of the request has left. The answer is the same.
///
/// # Errors
/// As [`run`].
pub fn run_from(
    checkpoint: Option<&Checkpoint>,
    request: &SolveRequest,
    operation: Operation,
    context: &RunContext,
    observer: &dyn Observer,
) -> Result<RunOutput, RunError> {
    if let Err(WireError::BadRequest { errors }) = request.check_for(operation)
        && let Some(error) = errors.into_iter().next()
    {
        return Err(error.into());
    }
    let problem = request.problem().map_err(FieldError::from)?;
    let plan = plan(request, operation, context);
    let mut solution = solve_from(checkpoint, &problem, &plan, observer)?;
    if !is_finite(&solution) {
        return Err(not_finite());
    }
    let mut answer = Answer::new(request, &solution);
    if let (Some(receipt), Some(block)) = (&mut answer.receipt, sign(request, &solution, context)) {
        receipt.meta.signature = Some(block);
    }
    let duration_ms = solution.timings.total_ms;
    let arrays = arrays(request, &mut solution);
    if !arrays
        .values()
        .flat_map(NumberArray::iter)
        .all(f32::is_finite)
    {
        return Err(not_finite());
    }
    Ok(RunOutput {
        answer,
        arrays,
        duration_ms,
    })
}

fn plan(request: &SolveRequest, operation: Operation, context: &RunContext) -> Plan {
    let wanted = request.answer();
    let settles = matches!(operation, Operation::Settle | Operation::Diffusion);
    let receipt = operation == Operation::Receipt || (settles && wanted.include_receipt);
    let bundle_k = match operation {
        Operation::Bundle => Some(wanted.bundle_k.unwrap_or(DEFAULT_BUNDLE_K)),
        _ if settles => wanted.bundle_k,
        _ => None,
    };
    let chain = operation == Operation::ChainReceipt || (settles && request.chain().is_some());
    Plan {
        settle: *request.settle(),
        receipt: receipt.then_some(ReceiptOptions {
            detail: wanted.receipt_detail,
            null_cap: context.null_cap,
        }),
        bundle_k,
        chain_receipt: chain.then(ChainReceiptOptions::default),
        diffusion: request.diffusion().cloned(),
        ustar: wanted.arrays.contains(&ArrayName::Ustar),
    }
}

fn sign(request: &SolveRequest, solution: &Solution, context: &RunContext) -> Option<Signature> {
    let receipt = solution.receipt.as_ref()?;
    let secret = context.receipt_secret.as_ref()?.expose_secret().as_bytes();
    let signed = match request.answer().signature_mode {
        SignatureMode::Minimal => sign_minimal(receipt, secret),
        SignatureMode::Extended => {
            sign_extended(receipt, request.params(), solution.k_effective, secret)
        }
    };
    Some(Signature(signed))
}

/// Moves the arrays asked for out of the solution.
fn arrays(request: &SolveRequest, solution: &mut Solution) -> BTreeMap<ArrayName, NumberArray> {
    let wanted = request.answer().arrays.iter();
    let take = |name: &ArrayName| {
        Some(match name {
            ArrayName::U => NumberArray::Matrix(std::mem::take(&mut solution.u)),
            ArrayName::Ustar => NumberArray::Matrix(solution.ustar.take()?),
            ArrayName::Gates => NumberArray::Vector(std::mem::take(&mut solution.gates)),
        })
    };
    let mut take = take;
    wanted
        .filter_map(|name| Some((*name, take(name)?)))
        .collect()
}

/// JSON has no infinities: an answer that has one is no answer.
fn is_finite(solution: &Solution) -> bool {
    let receipt = solution.receipt.iter().flat_map(|receipt| {
        let sums = [
            receipt.coh_drop_sum,
            receipt.anchor_pen_sum,
            receipt.query_term_sum,
        ];
        let solves = [
            receipt.delta_h_total,
            receipt.residual,
            receipt.meta.ustar_res,
        ];
        sums.into_iter().chain(solves)
    });
    let points = solution
        .receipt
        .iter()
        .flat_map(|receipt| &receipt.null_points);
    let points = points.flat_map(|point| [point.z, point.residual]);
    let bundle = solution
        .bundle
        .iter()
        .flatten()
        .flat_map(|item| [item.score, item.align]);
    let chain = solution.chain_receipt.iter().flat_map(|chain| {
        let edges = chain.edges.iter();
        let edges = edges.flat_map(|e| [e.z_struct, e.z_path, e.r_struct, e.r_path]);
        edges.chain([chain.coherence_gain, chain.weakest_link.zscore])
    });
    let mut numbers = receipt.chain(points).chain(bundle).chain(chain);
    numbers.all(f64::is_finite)
}

fn not_finite() -> RunError {
    RunError::Invalid(FieldError::new(
        "Y",
        "and the parameters are so large that the answer is not finite",
    ))
}
