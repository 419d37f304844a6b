//! Compares answers with what they must say.

use std::cell::OnceCell;

use serde_json::Value;

use super::{Expected, MAX_ROWS, expect};
use crate::problem::Problem;

/// Judges the answers to one problem.
#[derive(Debug)]
pub struct Judge {
    expected: Option<Expected>,
    rows: usize,
    dims: usize,
    bundle: usize,
    /// The first answer's marks; later ones must have the same.
    first: OnceCell<Marks>,
}

/// What must be the same whenever the same is asked.
#[derive(Debug, Clone, PartialEq)]
struct Marks {
    state_sig: String,
    delta_h: f64,
    bundle: Vec<usize>,
}

impl Judge {
    /// Solves the problem if it is small enough.
    #[must_use]
    pub fn new(problem: &Problem) -> Self {
        Self {
            expected: (problem.rows <= MAX_ROWS).then(|| expect(problem)),
            rows: problem.rows,
            dims: problem.dims,
            bundle: problem.bundle.min(problem.rows),
            first: OnceCell::new(),
        }
    }

    /// Says what is wrong with an answer, if anything.
    #[must_use]
    pub fn fault(&self, answer: &Value) -> Option<String> {
        let Some(marks) = Marks::of(answer) else {
            return Some("state_sig, receipt.deltaH_total or bundle is missing".to_owned());
        };
        let size = (&answer["meta"]["N"], &answer["meta"]["D"]);
        if size != (&Value::from(self.rows), &Value::from(self.dims)) {
            return Some(format!("is about {} x {} vectors", size.0, size.1));
        }
        if marks.bundle.len() != self.bundle {
            return Some(format!("has a bundle of {}", marks.bundle.len()));
        }
        if let Some(fault) = self.expected.as_ref().and_then(|e| marks.differs_from(e)) {
            return Some(fault);
        }
        let first = self.first.get_or_init(|| marks.clone());
        (*first != marks).then(|| "differs from an earlier answer to the same request".to_owned())
    }
}

impl Marks {
    fn of(answer: &Value) -> Option<Self> {
        let id = |row: &Value| row["id"].as_u64().and_then(|id| usize::try_from(id).ok());
        Some(Self {
            state_sig: answer["state_sig"].as_str()?.to_owned(),
            delta_h: answer["receipt"]["deltaH_total"].as_f64()?,
            bundle: answer["bundle"]
                .as_array()?
                .iter()
                .map(id)
                .collect::<Option<_>>()?,
        })
    }

    fn differs_from(&self, expected: &Expected) -> Option<String> {
        if expected
            .state_sig
            .as_ref()
            .is_some_and(|sig| *sig != self.state_sig)
        {
            return Some("state_sig is of another graph or input".to_owned());
        }
        let off = (self.delta_h - expected.delta_h).abs();
        if off.is_nan() || off > expected.delta_h_tolerance {
            let (is, should) = (self.delta_h, expected.delta_h);
            return Some(format!("deltaH_total is {is}, should be {should}"));
        }
        if self.bundle != expected.bundle {
            let (is, should) = (&self.bundle, &expected.bundle);
            return Some(format!("bundle is {is:?}, should be {should:?}"));
        }
        None
    }
}
