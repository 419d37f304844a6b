//! A checked request: once built, everything in it fits together.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use oscillink_domain::{JobKind, Units};
use oscillink_lattice::{
    Chain, DiffusionParams, FieldError as LatticeError, Params, Problem, ReceiptDetail,
    SettleOptions,
};
use serde::{Deserialize, Serialize};

use crate::error::WireError;
use crate::run::DEFAULT_BUNDLE_K;

/// Rows up to which a request is quickly repeated.
const QUICK_ROWS: usize = 256;
/// Units up to which it is.
const QUICK_UNITS: usize = 16_384;

/// What is asked for: the endpoint, or the kind of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Settle, with receipt, bundle and chain receipt as the request says.
    Settle,
    /// Receipt only.
    Receipt,
    /// Bundle only.
    Bundle,
    /// Chain receipt only.
    ChainReceipt,
    /// As settle, behind diffusion gates unless the request leaves them out.
    Diffusion,
}

impl Operation {
    /// The name in ledger rows and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settle => "settle",
            Self::Receipt => "receipt",
            Self::Bundle => "bundle",
            Self::ChainReceipt => "chain",
            Self::Diffusion => "diffusion",
        }
    }
}

impl From<JobKind> for Operation {
    fn from(kind: JobKind) -> Self {
        match kind {
            JobKind::Settle => Self::Settle,
            JobKind::Diffusion => Self::Diffusion,
            JobKind::Chain => Self::ChainReceipt,
        }
    }
}

/// An array of the answer that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArrayName {
    /// The settled state, N×D.
    U,
    /// The stationary state, N×D.
    Ustar,
    /// The gates in force, N.
    Gates,
}

impl ArrayName {
    /// Every array.
    pub const ALL: [Self; 3] = [Self::U, Self::Ustar, Self::Gates];

    /// The name in requests and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::U => "u",
            Self::Ustar => "ustar",
            Self::Gates => "gates",
        }
    }
}

impl fmt::Display for ArrayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ArrayName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|name| name.as_str() == text)
            .ok_or_else(|| "must be ustar, u or gates".to_owned())
    }
}

/// How much of the run a receipt's signature covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignatureMode {
    /// State signature and energy drop.
    #[default]
    Minimal,
    /// Also the stationary solve, the parameters and the graph's.
    Extended,
}

impl SignatureMode {
    /// The name in requests and signatures.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Extended => "extended",
        }
    }
}

/// What the answer should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerOptions {
    /// Rows of the bundle; `None` leaves it out of a settle answer.
    pub bundle_k: Option<usize>,
    /// Whether a settle answer has a receipt.
    pub include_receipt: bool,
    /// Full or light.
    pub receipt_detail: ReceiptDetail,
    /// Minimal or extended.
    pub signature_mode: SignatureMode,
    /// Arrays to return.
    pub arrays: BTreeSet<ArrayName>,
}

impl Default for AnswerOptions {
    fn default() -> Self {
        Self {
            bundle_k: None,
            include_receipt: true,
            receipt_detail: ReceiptDetail::Full,
            signature_mode: SignatureMode::Minimal,
            arrays: BTreeSet::new(),
        }
    }
}

/// A checked request. Only parsing and decoding build one.
#[derive(Clone, Debug, PartialEq)]
pub struct SolveRequest {
    pub(crate) y: Array2<f32>,
    pub(crate) psi: Option<Array1<f32>>,
    pub(crate) gates: Option<Array1<f32>>,
    pub(crate) chain: Option<Chain>,
    pub(crate) params: Params,
    pub(crate) settle: SettleOptions,
    pub(crate) answer: AnswerOptions,
    pub(crate) diffusion: Option<DiffusionParams>,
}

impl SolveRequest {
    /// Rows, N.
    #[must_use]
    pub fn n(&self) -> usize {
        self.y.nrows()
    }

    /// Columns, D.
    #[must_use]
    pub fn d(&self) -> usize {
        self.y.ncols()
    }

    /// N·D.
    #[must_use]
    pub fn units(&self) -> Units {
        Units::of(self.n(), self.d())
    }

    /// The anchors.
    #[must_use]
    pub fn y(&self) -> ArrayView2<'_, f32> {
        self.y.view()
    }

    /// The query, if given.
    #[must_use]
    pub fn psi(&self) -> Option<ArrayView1<'_, f32>> {
        self.psi.as_ref().map(|psi| psi.view())
    }

    /// The gates, if given.
    #[must_use]
    pub fn gates(&self) -> Option<ArrayView1<'_, f32>> {
        self.gates.as_ref().map(|gates| gates.view())
    }

    /// The chain, if given.
    #[must_use]
    pub fn chain(&self) -> Option<&Chain> {
        self.chain.as_ref()
    }

    /// Graph and energy parameters.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The implicit step.
    #[must_use]
    pub fn settle(&self) -> &SettleOptions {
        &self.settle
    }

    /// This request with every array in its answer, unless it names those that it wants: a job's
    /// result may be asked for any array later.
    #[must_use]
    pub fn or_all_arrays(mut self) -> Self {
        if self.answer.arrays.is_empty() {
            self.answer.arrays = ArrayName::ALL.into_iter().collect();
        }
        self
    }

    /// This request as a job's, whose answer has what the operation answers with: a receipt alone, a
    /// bundle alone, or everything asked for. A chain's receipt is in it wherever a chain is given.
    #[must_use]
    pub fn with_parts_of(mut self, operation: Operation) -> Self {
        let answer = &mut self.answer;
        match operation {
            Operation::Receipt => {
                answer.include_receipt = true;
                answer.bundle_k = None;
            }
            Operation::Bundle => {
                answer.include_receipt = false;
                answer.bundle_k.get_or_insert(DEFAULT_BUNDLE_K);
            }
            Operation::Settle | Operation::Diffusion | Operation::ChainReceipt => {}
        }
        self
    }

    /// Whether computing it once more costs less than keeping its arrays: a fraction of a
    /// millisecond against tens of kilobytes written to disk.
    #[must_use]
    pub fn is_quickly_repeated(&self) -> bool {
        self.n() <= QUICK_ROWS && self.n() * self.d() <= QUICK_UNITS
    }

    /// What the answer should hold.
    #[must_use]
    pub fn answer(&self) -> &AnswerOptions {
        &self.answer
    }

    /// Diffusion gates; `None` when left out or switched off.
    #[must_use]
    pub fn diffusion(&self) -> Option<&DiffusionParams> {
        self.diffusion.as_ref()
    }

    /// Whether the work includes diffusion gates, which not every tier has.
    #[must_use]
    pub fn wants_diffusion(&self) -> bool {
        self.diffusion.is_some()
    }

    /// Whether `operation` can be done with this request.
    ///
    /// # Errors
    /// A chain receipt needs a chain.
    pub fn check_for(&self, operation: Operation) -> Result<(), WireError> {
        if operation == Operation::ChainReceipt && self.chain.is_none() {
            return Err(WireError::field("chain", "is required for a chain receipt"));
        }
        Ok(())
    }

    /// The problem as the numeric core takes it.
    pub(crate) fn problem(&self) -> Result<Problem<'_>, LatticeError> {
        Problem::new(
            self.y.view(),
            self.psi(),
            self.gates(),
            self.chain.as_ref(),
            self.params.clone(),
        )
    }
}
