//! Numeric arrays of a JSON body, read straight into flat memory.

use std::fmt;

use ndarray::Array2;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

use super::faults::Faults;
use crate::error::{Counted, WireError};
use crate::limits::SizeLimits;

/// Reads `Y`: a list of rows of equal length, or null.
pub(crate) struct MatrixSeed<'a> {
    pub(crate) faults: &'a Faults,
    pub(crate) limits: &'a SizeLimits,
    /// Length of the body: it bounds how many numbers there can be.
    pub(crate) body_bytes: usize,
}

impl<'de> DeserializeSeed<'de> for MatrixSeed<'_> {
    type Value = Option<Array2<f32>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MatrixSeed<'_> {
    type Value = Option<Array2<f32>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Self::Value, A::Error> {
        // Numbers written in full take about 20 bytes, rounded ones 8; a wrong guess costs a copy.
        let most = self.limits.max_nodes.saturating_mul(self.limits.max_dim);
        let mut flat = Vec::with_capacity(most.min(self.body_bytes / 8));
        let mut row = 0;
        let mut columns = None;
        loop {
            let start = flat.len();
            let seed = RowSeed {
                faults: self.faults,
                limits: self.limits,
                flat: &mut flat,
                row,
            };
            match rows.next_element_seed(seed) {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(error) => {
                    self.faults.note(|| format!("Y[{row}]"), &error);
                    return Err(error);
                }
            }
            let length = flat.len() - start;
            let expected = *columns.get_or_insert(length);
            if length != expected {
                let detail = format!("has {length} entries, row 0 has {expected}");
                return Err(self.faults.refuse(format!("Y[{row}]"), detail));
            }
            row += 1;
        }
        flat.shrink_to_fit();
        Array2::from_shape_vec((row, columns.unwrap_or(0)), flat)
            .map(Some)
            .map_err(|error| self.faults.refuse("Y".to_owned(), error.to_string()))
    }
}

struct RowSeed<'a> {
    faults: &'a Faults,
    limits: &'a SizeLimits,
    flat: &'a mut Vec<f32>,
    row: usize,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        let (row, limits) = (self.row, self.limits);
        if row >= limits.max_nodes {
            let error = WireError::too_large("Y", Counted::Rows, limits.max_nodes);
            return Err(self.faults.stop(error));
        }
        let mut column = 0;
        loop {
            let value = match values.next_element_seed(Number) {
                Ok(Some(value)) => value as f32,
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.faults.note(|| format!("Y[{row}][{column}]"), &error);
                    return Err(error);
                }
            };
            if column >= limits.max_dim {
                let error = WireError::too_large("Y", Counted::Columns, limits.max_dim);
                return Err(self.faults.stop(error));
            }
            if !is_usable(value) {
                return Err(self
                    .faults
                    .refuse(format!("Y[{row}][{column}]"), complaint(value)));
            }
            self.flat.push(value);
            column += 1;
        }
    }
}

/// Reads a list of numbers, or null.
pub(crate) struct VectorSeed<'a, T> {
    pub(crate) faults: &'a Faults,
    pub(crate) field: &'static str,
    pub(crate) counted: Counted,
    pub(crate) limit: usize,
    pub(crate) convert: fn(f64) -> Result<T, &'static str>,
}

impl<'de, T> DeserializeSeed<'de> for VectorSeed<'_, T> {
    type Value = Option<Vec<T>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T> Visitor<'de> for VectorSeed<'_, T> {
    type Value = Option<Vec<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Self::Value, A::Error> {
        let mut out = Vec::new();
        loop {
            let at = out.len();
            let value = match values.next_element_seed(Number) {
                Ok(Some(value)) => value,
                Ok(None) => return Ok(Some(out)),
                Err(error) => {
                    self.faults.note(|| format!("{}[{at}]", self.field), &error);
                    return Err(error);
                }
            };
            if at >= self.limit {
                let error = WireError::too_large(self.field, self.counted, self.limit);
                return Err(self.faults.stop(error));
            }
            match (self.convert)(value) {
                Ok(value) => out.push(value),
                Err(detail) => {
                    return Err(self.faults.refuse(format!("{}[{at}]", self.field), detail));
                }
            }
        }
    }
}

/// One number.
struct Number;

impl<'de> DeserializeSeed<'de> for Number {
    type Value = f64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<f64, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Number {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<f64, E> {
        Ok(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<f64, E> {
        Ok(value as f64)
    }
}

/// A coordinate: finite, and so is its square in float32.
pub(crate) fn coordinate(value: f64) -> Result<f32, &'static str> {
    let value = value as f32;
    if is_usable(value) {
        Ok(value)
    } else {
        Err(complaint(value))
    }
}

/// A gate or weight: finite and not negative.
pub(crate) fn weight(value: f64) -> Result<f32, &'static str> {
    let value = value as f32;
    if !value.is_finite() {
        Err(complaint(value))
    } else if value < 0.0 {
        Err("must not be negative")
    } else {
        Ok(value)
    }
}

/// A row index.
pub(crate) fn index(value: f64) -> Result<usize, &'static str> {
    if value >= 0.0 && value.fract() == 0.0 && value <= f64::from(u32::MAX) {
        Ok(value as usize)
    } else {
        Err("must be a row index: a whole number, 0 or more")
    }
}

/// Whether value and square are finite in float32; false for NaN.
pub(crate) fn is_usable(value: f32) -> bool {
    value * value <= f32::MAX
}

pub(crate) fn complaint(value: f32) -> &'static str {
    if value.is_finite() {
        "is so large that its square overflows float32"
    } else {
        "is not finite as float32"
    }
}
