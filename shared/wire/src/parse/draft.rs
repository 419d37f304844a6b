//! A request as it was sent, complete or not, and the check that makes it a [`SolveRequest`].

use ndarray::{Array1, Array2};
use oscillink_lattice::Chain;

use super::blocks::{DiffusionBlock, OptionsBlock, ParamsBlock};
use crate::error::{FieldError, WireError};
use crate::request::SolveRequest;

/// Longest `custom_id`, bytes.
pub(crate) const MAX_CUSTOM_ID_BYTES: usize = 200;
/// Longest `callback_url`, bytes.
pub(crate) const MAX_CALLBACK_URL_BYTES: usize = 2_048;

/// A parsed and checked body: the request, and what a job wants besides.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    /// The request.
    pub request: SolveRequest,
    /// Where to report the end of the job. Not checked beyond its length.
    pub callback_url: Option<String>,
    /// The caller's own name for the job.
    pub custom_id: Option<String>,
}

/// What has been read so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    pub(crate) y: Option<Array2<f32>>,
    pub(crate) psi: Option<Vec<f32>>,
    pub(crate) psi_row: Option<usize>,
    pub(crate) gates: Option<Vec<f32>>,
    pub(crate) chain: Option<Vec<usize>>,
    pub(crate) chain_weights: Option<Vec<f32>>,
    pub(crate) params: ParamsBlock,
    pub(crate) options: OptionsBlock,
    pub(crate) diffusion: Option<DiffusionBlock>,
    pub(crate) callback_url: Option<String>,
    pub(crate) custom_id: Option<String>,
}

impl Draft {
    /// Checks that everything is there and fits together. Reports every field at fault that can be
    /// told apart from the others.
    pub(crate) fn check(mut self) -> Result<Body, WireError> {
        let mut errors = Vec::new();
        let y = self.y.take();
        if y.is_none() {
            errors.push(FieldError::new("Y", "is required"));
        }
        let params = keep(&mut errors, self.params.check());
        let settle = keep(&mut errors, self.options.check());
        let diffusion = self
            .diffusion
            .as_ref()
            .map_or(Ok(None), DiffusionBlock::check);
        let diffusion = keep(&mut errors, diffusion);
        let chain = keep(
            &mut errors,
            chain(self.chain.take(), self.chain_weights.take()),
        );
        let psi = y.as_ref().and_then(|y| keep(&mut errors, self.query(y)));
        let custom = check_length("custom_id", self.custom_id.as_deref(), MAX_CUSTOM_ID_BYTES);
        keep(&mut errors, custom);
        let callback = self.callback_url.as_deref();
        keep(
            &mut errors,
            check_length("callback_url", callback, MAX_CALLBACK_URL_BYTES),
        );
        if matches!(diffusion, Some(Some(_))) && self.gates.is_some() {
            let detail = "cannot be combined with diffusion, which computes them";
            errors.push(FieldError::new("gates", detail));
        }
        if let (Some(y), Some(params), Some(settle), Some(diffusion), Some(chain), Some(psi)) =
            (y, params, settle, diffusion, chain, psi)
        {
            let request = SolveRequest {
                y,
                psi,
                gates: self.gates.map(Array1::from_vec),
                chain,
                params,
                settle,
                answer: self.options.answer,
                diffusion,
            };
            keep(
                &mut errors,
                request.problem().map(drop).map_err(FieldError::from),
            );
            if errors.is_empty() {
                return Ok(Body {
                    request,
                    callback_url: self.callback_url,
                    custom_id: self.custom_id,
                });
            }
        }
        Err(WireError::BadRequest { errors })
    }

    fn query(&mut self, y: &Array2<f32>) -> Result<Option<Array1<f32>>, FieldError> {
        match (self.psi.take(), self.psi_row) {
            (Some(_), Some(_)) => Err(FieldError::new("psi_row", "cannot be combined with psi")),
            (psi, None) => Ok(psi.map(Array1::from_vec)),
            (None, Some(row)) if row < y.nrows() => Ok(Some(y.row(row).to_owned())),
            (None, Some(row)) => {
                let detail = format!("row {row} is out of range for {} rows", y.nrows());
                Err(FieldError::new("psi_row", detail))
            }
        }
    }
}

fn chain(
    nodes: Option<Vec<usize>>,
    weights: Option<Vec<f32>>,
) -> Result<Option<Chain>, FieldError> {
    match (nodes, weights) {
        (None, Some(_)) => Err(FieldError::new("chain_weights", "needs a chain")),
        (None, None) => Ok(None),
        (Some(nodes), weights) => Ok(Some(Chain::new(nodes, weights)?)),
    }
}

fn check_length(field: &str, text: Option<&str>, max: usize) -> Result<(), FieldError> {
    match text {
        Some(text) if text.is_empty() || text.len() > max => Err(FieldError::new(
            field,
            format!("must have 1 to {max} bytes"),
        )),
        _ => Ok(()),
    }
}

fn keep<T>(errors: &mut Vec<FieldError>, outcome: Result<T, FieldError>) -> Option<T> {
    outcome.map_err(|error| errors.push(error)).ok()
}
