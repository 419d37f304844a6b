//! A checked problem: anchors, query, gates, chain and parameters that fit together.

use std::borrow::Cow;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};

use crate::chain::Chain;
use crate::error::FieldError;
use crate::params::Params;

/// Inputs of a run. Everything in section 9 of the contract has been checked.
#[derive(Debug, Clone)]
pub struct Problem<'a> {
    /// Row after row.
    anchors: Cow<'a, [f32]>,
    rows: usize,
    columns: usize,
    psi: Array1<f32>,
    gates: Option<Array1<f32>>,
    chain: Option<Chain>,
    params: Params,
}

impl<'a> Problem<'a> {
    /// `y` is N x D, one anchor per row; `psi` has length D (absent means zeros); `gates` has
    /// length N (absent means ones).
    ///
    /// A matrix that is not in standard row-major layout is copied once.
    ///
    /// # Errors
    /// Names `Y`, `psi`, `gates`, `chain` or `chain_weights`.
    pub fn new(
        y: ArrayView2<'a, f32>,
        psi: Option<ArrayView1<'_, f32>>,
        gates: Option<ArrayView1<'_, f32>>,
        chain: Option<&Chain>,
        params: Params,
    ) -> Result<Self, FieldError> {
        let (n, d) = y.dim();
        check_matrix(&y)?;
        let psi = match psi {
            None => Array1::zeros(d),
            Some(psi) => {
                check_length("psi", psi.len(), d, "columns")?;
                check_values("psi", psi.iter().copied())?;
                psi.to_owned()
            }
        };
        let gates = match gates {
            None => None,
            Some(gates) => {
                check_length("gates", gates.len(), n, "rows")?;
                check_gates(&gates)?;
                Some(gates.to_owned())
            }
        };
        if let Some(chain) = chain {
            chain.check_rows(n)?;
        }
        let anchors = match y.to_slice() {
            Some(anchors) => Cow::Borrowed(anchors),
            None => Cow::Owned(y.iter().copied().collect()),
        };
        Ok(Self {
            anchors,
            rows: n,
            columns: d,
            psi,
            gates,
            chain: chain.cloned(),
            params,
        })
    }

    /// Rows, N.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns, D.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The anchors.
    pub fn y(&self) -> ArrayView2<'_, f32> {
        ArrayView2::from_shape((self.rows, self.columns), &self.anchors)
            .expect("the constructor keeps rows x columns values")
    }

    /// The query, length D.
    pub fn psi(&self) -> ArrayView1<'_, f32> {
        self.psi.view()
    }

    /// Gates as given.
    pub fn gates(&self) -> Option<ArrayView1<'_, f32>> {
        self.gates.as_ref().map(|gates| gates.view())
    }

    /// The chain in force.
    pub fn chain(&self) -> Option<&Chain> {
        self.chain.as_ref()
    }

    /// Graph and energy parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// `kneighbors` clamped to `1..=N-1` (1 when there is a single row).
    pub fn k_effective(&self) -> usize {
        clamp_k(self.params.kneighbors(), self.rows())
    }

    /// All anchors, row after row.
    pub(crate) fn anchors(&self) -> &[f32] {
        &self.anchors
    }

    pub(crate) fn query(&self) -> &[f32] {
        self.psi.as_slice().expect("an owned vector is contiguous")
    }
}

/// Copies rows given one by one into a matrix.
///
/// # Errors
/// Names `Y` when there are no rows or their lengths differ.
pub fn matrix_from_rows(rows: &[Vec<f32>]) -> Result<Array2<f32>, FieldError> {
    let columns = rows.first().map_or(0, Vec::len);
    if let Some((i, row)) = rows
        .iter()
        .enumerate()
        .find(|(_, row)| row.len() != columns)
    {
        return Err(FieldError::new(
            "Y",
            format!("row {i} has {} entries, row 0 has {columns}", row.len()),
        ));
    }
    let mut flat = Vec::with_capacity(rows.len() * columns);
    for row in rows {
        flat.extend_from_slice(row);
    }
    Array2::from_shape_vec((rows.len(), columns), flat)
        .map_err(|error| FieldError::new("Y", error.to_string()))
}

pub(crate) fn clamp_k(kneighbors: usize, rows: usize) -> usize {
    kneighbors.clamp(1, rows.saturating_sub(1).max(1))
}

fn check_matrix(y: &ArrayView2<'_, f32>) -> Result<(), FieldError> {
    let (n, d) = y.dim();
    if n == 0 || d == 0 {
        return Err(FieldError::new(
            "Y",
            format!("must not be empty, got {n} x {d}"),
        ));
    }
    if u32::try_from(n).is_err() {
        return Err(FieldError::new(
            "Y",
            format!("has {n} rows, more than can be indexed"),
        ));
    }
    for (i, row) in y.outer_iter().enumerate() {
        // One branch per row: this loop sees every byte of the largest inputs.
        if row.iter().fold(true, |usable, v| usable & is_usable(*v)) {
            continue;
        }
        let (column, value) = row
            .iter()
            .copied()
            .enumerate()
            .find(|(_, v)| !is_usable(*v))
            .expect("the row has an unusable value");
        return Err(FieldError::new(
            "Y",
            format!("row {i}, column {column} {}", complaint(value)),
        ));
    }
    Ok(())
}

fn check_values(field: &str, values: impl Iterator<Item = f32>) -> Result<(), FieldError> {
    match values.enumerate().find(|(_, v)| !is_usable(*v)) {
        Some((k, value)) => Err(FieldError::new(
            field,
            format!("entry {k} {}", complaint(value)),
        )),
        None => Ok(()),
    }
}

fn check_gates(gates: &ArrayView1<'_, f32>) -> Result<(), FieldError> {
    match gates.iter().position(|v| !v.is_finite() || *v < 0.0) {
        Some(k) => Err(FieldError::new(
            "gates",
            format!(
                "entry {k} must be finite and not negative, got {}",
                gates[k]
            ),
        )),
        None => Ok(()),
    }
}

fn check_length(field: &str, got: usize, want: usize, of: &str) -> Result<(), FieldError> {
    if got != want {
        return Err(FieldError::new(
            field,
            format!("has {got} entries, Y has {want} {of}"),
        ));
    }
    Ok(())
}

/// Whether the square is a finite float32; false for NaN and infinities too.
fn is_usable(value: f32) -> bool {
    value * value <= f32::MAX
}

fn complaint(value: f32) -> &'static str {
    if value.is_finite() {
        "is so large that its square overflows float32"
    } else {
        "is not finite"
    }
}
