//! Numeric arrays of a JSON body, read straight into flat memory.

use ndarray::Array2;

use super::reader::Reader;
use crate::error::{Counted, WireError};
use crate::limits::SizeLimits;

/// Reads `Y`: a list of rows of equal length, or null. `body_bytes` bounds how many numbers there
/// can be.
pub(crate) fn matrix(
    reader: &mut Reader<'_>,
    limits: &SizeLimits,
    body_bytes: usize,
) -> Result<Option<Array2<f32>>, WireError> {
    if reader.take_null() {
        return Ok(None);
    }
    // Numbers written in full take about 20 bytes, rounded ones 8; a wrong guess costs a copy.
    let most = limits.max_nodes.saturating_mul(limits.max_dim);
    let mut flat = Vec::with_capacity(most.min(body_bytes / 8));
    let (mut rows, mut columns) = (0, None);
    reader.list(
        || "Y".to_owned(),
        "a list of rows",
        |reader, row| {
            if row >= limits.max_nodes {
                return Err(WireError::too_large("Y", Counted::Rows, limits.max_nodes));
            }
            let start = flat.len();
            read_row(reader, row, limits, &mut flat)?;
            let length = flat.len() - start;
            let expected = *columns.get_or_insert(length);
            if length != expected {
                let detail = format!("has {length} entries, row 0 has {expected}");
                return Err(WireError::field(format!("Y[{row}]"), detail));
            }
            rows = row + 1;
            Ok(())
        },
    )?;
    flat.shrink_to_fit();
    Array2::from_shape_vec((rows, columns.unwrap_or(0)), flat)
        .map(Some)
        .map_err(|error| WireError::field("Y", error.to_string()))
}

fn read_row(
    reader: &mut Reader<'_>,
    row: usize,
    limits: &SizeLimits,
    flat: &mut Vec<f32>,
) -> Result<(), WireError> {
    reader.list(
        || format!("Y[{row}]"),
        "a list of numbers",
        |reader, column| {
            let value = reader.float32(|| format!("Y[{row}][{column}]"))?;
            if column >= limits.max_dim {
                return Err(WireError::too_large("Y", Counted::Columns, limits.max_dim));
            }
            if !is_usable(value) {
                return Err(WireError::field(
                    format!("Y[{row}][{column}]"),
                    complaint(value),
                ));
            }
            flat.push(value);
            Ok(())
        },
    )
}

/// Reads a list of numbers, or null.
pub(crate) fn vector(
    reader: &mut Reader<'_>,
    field: &str,
    (counted, limit): (Counted, usize),
    check: fn(f32) -> Result<f32, &'static str>,
) -> Result<Option<Vec<f32>>, WireError> {
    if reader.take_null() {
        return Ok(None);
    }
    let mut out = Vec::new();
    reader.list(
        || field.to_owned(),
        "a list of numbers",
        |reader, at| {
            let path = || format!("{field}[{at}]");
            let value = reader.float32(path)?;
            if at >= limit {
                return Err(WireError::too_large(field, counted, limit));
            }
            out.push(check(value).map_err(|detail| WireError::field(path(), detail))?);
            Ok(())
        },
    )?;
    Ok(Some(out))
}

/// Reads a list of row indices, or null.
pub(crate) fn indices(
    reader: &mut Reader<'_>,
    field: &str,
    limit: usize,
) -> Result<Option<Vec<usize>>, WireError> {
    if reader.take_null() {
        return Ok(None);
    }
    let mut out = Vec::new();
    reader.list(
        || field.to_owned(),
        "a list of row indices",
        |reader, at| {
            let path = format!("{field}[{at}]");
            let value = reader.value(&path)?;
            if at >= limit {
                return Err(WireError::too_large(field, Counted::ChainNodes, limit));
            }
            let index = value
                .float()
                .and_then(|value| index(value).map_err(str::to_owned));
            out.push(index.map_err(|detail| WireError::field(path, detail))?);
            Ok(())
        },
    )?;
    Ok(Some(out))
}

/// A coordinate: finite, and so is its square in float32.
pub(crate) fn coordinate(value: f32) -> Result<f32, &'static str> {
    if is_usable(value) {
        Ok(value)
    } else {
        Err(complaint(value))
    }
}

/// A gate or weight: finite and not negative.
pub(crate) fn weight(value: f32) -> Result<f32, &'static str> {
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
#[inline]
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
