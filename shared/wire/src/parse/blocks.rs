//! The parameter blocks of a request: names, types and defaults. Ranges are checked later, with the
//! arrays at hand.

use std::collections::BTreeSet;

use oscillink_lattice::{DiffusionParams, Lambdas, Params, ReceiptDetail, SettleOptions};

use super::value::Value;
use crate::error::FieldError;
use crate::limits::{MAX_ITERS, MAX_NEIGHBORS};
use crate::request::{AnswerOptions, ArrayName, SignatureMode};

/// A named group of parameters.
pub(crate) trait Block {
    /// Its path in the request.
    const PATH: &'static str;
    /// Its fields.
    const NAMES: &'static [&'static str];

    /// Sets a field that is one of `NAMES` to a value other than null.
    fn set(&mut self, name: &str, value: &Value<'_>) -> Result<(), String>;

    /// Sets a field that is one of `NAMES`; null is how clients with a value for every field say that
    /// it is left out.
    fn put(&mut self, name: &str, value: &Value<'_>) -> Result<(), String> {
        value.optional(|value| self.set(name, value)).map(|_| ())
    }
}

/// `params`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ParamsBlock {
    pub(crate) kneighbors: usize,
    pub(crate) lambdas: Lambdas,
    pub(crate) deterministic_k: bool,
    pub(crate) neighbor_seed: Option<i64>,
}

impl Default for ParamsBlock {
    fn default() -> Self {
        (&Params::default()).into()
    }
}

impl From<&Params> for ParamsBlock {
    fn from(params: &Params) -> Self {
        Self {
            kneighbors: params.kneighbors(),
            lambdas: params.lambdas(),
            deterministic_k: params.deterministic_k(),
            neighbor_seed: params.neighbor_seed(),
        }
    }
}

impl Block for ParamsBlock {
    const PATH: &'static str = "params";
    const NAMES: &'static [&'static str] = &[
        "kneighbors",
        "lamG",
        "lamC",
        "lamQ",
        "lamP",
        "deterministic_k",
        "neighbor_seed",
    ];

    fn set(&mut self, name: &str, value: &Value<'_>) -> Result<(), String> {
        match name {
            "kneighbors" => self.kneighbors = value.count()?,
            "lamG" => self.lambdas.g = value.float()?,
            "lamC" => self.lambdas.c = value.float()?,
            "lamQ" => self.lambdas.q = value.float()?,
            "lamP" => self.lambdas.p = value.float()?,
            "deterministic_k" => self.deterministic_k = value.flag()?,
            _ => self.neighbor_seed = Some(value.integer()?),
        }
        Ok(())
    }
}

impl ParamsBlock {
    pub(crate) fn check(&self) -> Result<Params, FieldError> {
        check_neighbors(Self::PATH, self.kneighbors)?;
        let params = Params::new(self.kneighbors, self.lambdas)?;
        Ok(params
            .with_deterministic_k(self.deterministic_k)
            .with_neighbor_seed(self.neighbor_seed))
    }
}

/// `options`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OptionsBlock {
    pub(crate) dt: f64,
    pub(crate) max_iters: usize,
    pub(crate) tol: f64,
    pub(crate) answer: AnswerOptions,
}

impl Default for OptionsBlock {
    fn default() -> Self {
        Self::new(&SettleOptions::default(), AnswerOptions::default())
    }
}

impl Block for OptionsBlock {
    const PATH: &'static str = "options";
    const NAMES: &'static [&'static str] = &[
        "dt",
        "max_iters",
        "tol",
        "bundle_k",
        "include_receipt",
        "receipt_detail",
        "signature_mode",
        "array",
    ];

    fn set(&mut self, name: &str, value: &Value<'_>) -> Result<(), String> {
        match name {
            "dt" => self.dt = value.float()?,
            "max_iters" => self.max_iters = value.count()?,
            "tol" => self.tol = value.float()?,
            // Zero is how callers of the library say "no bundle".
            "bundle_k" => {
                self.answer.bundle_k = Some(value.count()?).filter(|k| *k > 0);
            }
            "include_receipt" => self.answer.include_receipt = value.flag()?,
            "receipt_detail" => self.answer.receipt_detail = receipt_detail(value)?,
            "signature_mode" => self.answer.signature_mode = signature_mode(value)?,
            _ => self.answer.arrays = arrays(value)?,
        }
        Ok(())
    }
}

impl OptionsBlock {
    pub(crate) fn new(settle: &SettleOptions, answer: AnswerOptions) -> Self {
        Self {
            dt: settle.dt(),
            max_iters: settle.max_iters(),
            tol: settle.tol(),
            answer,
        }
    }

    pub(crate) fn check(&self) -> Result<SettleOptions, FieldError> {
        if self.max_iters > MAX_ITERS {
            let detail = format!("must be at most {MAX_ITERS}");
            return Err(FieldError::new("options.max_iters", detail));
        }
        Ok(SettleOptions::new(self.dt, self.max_iters, self.tol)?)
    }
}

/// `diffusion`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DiffusionBlock {
    pub(crate) enable: bool,
    pub(crate) beta: f64,
    pub(crate) gamma: f64,
    pub(crate) kneighbors: Option<usize>,
    pub(crate) deterministic_k: bool,
    pub(crate) neighbor_seed: Option<i64>,
    pub(crate) reuse_lattice_graph: bool,
}

impl Default for DiffusionBlock {
    /// A block that is present switches diffusion on unless it says otherwise.
    fn default() -> Self {
        (&DiffusionParams::default()).into()
    }
}

impl From<&DiffusionParams> for DiffusionBlock {
    fn from(params: &DiffusionParams) -> Self {
        Self {
            enable: true,
            beta: params.beta(),
            gamma: params.gamma(),
            kneighbors: params.kneighbors(),
            deterministic_k: params.deterministic_k(),
            neighbor_seed: params.neighbor_seed(),
            reuse_lattice_graph: params.reuse_lattice_graph(),
        }
    }
}

impl Block for DiffusionBlock {
    const PATH: &'static str = "diffusion";
    const NAMES: &'static [&'static str] = &[
        "enable",
        "beta",
        "gamma",
        "kneighbors",
        "deterministic_k",
        "neighbor_seed",
        "reuse_lattice_graph",
    ];

    fn set(&mut self, name: &str, value: &Value<'_>) -> Result<(), String> {
        match name {
            "enable" => self.enable = value.flag()?,
            "beta" => self.beta = value.float()?,
            "gamma" => self.gamma = value.float()?,
            "kneighbors" => self.kneighbors = Some(value.count()?),
            "deterministic_k" => self.deterministic_k = value.flag()?,
            "neighbor_seed" => self.neighbor_seed = Some(value.integer()?),
            _ => self.reuse_lattice_graph = value.flag()?,
        }
        Ok(())
    }
}

impl DiffusionBlock {
    /// The parameters, checked also when they are switched off.
    pub(crate) fn check(&self) -> Result<Option<DiffusionParams>, FieldError> {
        check_neighbors(Self::PATH, self.kneighbors.unwrap_or(1))?;
        let params = DiffusionParams::new(self.beta, self.gamma)?
            .with_kneighbors(self.kneighbors)?
            .with_deterministic_k(self.deterministic_k)
            .with_neighbor_seed(self.neighbor_seed)
            .with_reuse_lattice_graph(self.reuse_lattice_graph);
        Ok(self.enable.then_some(params))
    }
}

fn check_neighbors(path: &str, kneighbors: usize) -> Result<(), FieldError> {
    if kneighbors > MAX_NEIGHBORS {
        let detail = format!("must be at most {MAX_NEIGHBORS}");
        return Err(FieldError::new(format!("{path}.kneighbors"), detail));
    }
    Ok(())
}

fn receipt_detail(value: &Value<'_>) -> Result<ReceiptDetail, String> {
    match value.text()? {
        "full" => Ok(ReceiptDetail::Full),
        "light" => Ok(ReceiptDetail::Light),
        _ => Err("must be full or light".to_owned()),
    }
}

fn signature_mode(value: &Value<'_>) -> Result<SignatureMode, String> {
    match value.text()? {
        "minimal" => Ok(SignatureMode::Minimal),
        "extended" => Ok(SignatureMode::Extended),
        _ => Err("must be minimal or extended".to_owned()),
    }
}

fn arrays(value: &Value<'_>) -> Result<BTreeSet<ArrayName>, String> {
    match value {
        Value::List(items) => items.iter().map(|item| item.text()?.parse()).collect(),
        _ => Ok(BTreeSet::from([value.text()?.parse()?])),
    }
}
