//! The npy format: reading matrices and vectors as float32, writing answers.

mod element;
mod header;
mod write;

use std::io::{Cursor, Read};

use ndarray::{Array2, ShapeBuilder};

use element::{DType, Kind};
use header::Header;
pub use write::write;

use crate::error::{Counted, WireError};
use crate::limits::{MAX_CHAIN_NODES, SizeLimits};
use crate::parse::{complaint, index, is_usable};

/// The first bytes of a file.
pub(crate) const MAGIC: &[u8] = b"\x93NUMPY";

/// Elements converted at a time.
const CHUNK: usize = 16 * 1024;

/// Reads a two-dimensional array of floats.
pub(crate) fn read_matrix(
    bytes: &[u8],
    field: &str,
    limits: &SizeLimits,
) -> Result<Array2<f32>, WireError> {
    Source::new(Cursor::new(bytes), field, bytes.len())?.matrix(limits)
}

/// An array whose header has been read.
pub(crate) struct Source<'f, R> {
    header: Header,
    field: &'f str,
    reader: R,
    /// How many bytes there are at the most: no more memory than that is taken in advance.
    size_hint: usize,
}

impl<'f, R: Read> Source<'f, R> {
    /// Reads the header of `field`'s array.
    pub(crate) fn new(mut reader: R, field: &'f str, size_hint: usize) -> Result<Self, WireError> {
        let header = Header::read(&mut reader).map_err(|detail| WireError::field(field, detail))?;
        Ok(Self {
            header,
            field,
            reader,
            size_hint,
        })
    }

    /// The array as `Y`.
    pub(crate) fn matrix(mut self, limits: &SizeLimits) -> Result<Array2<f32>, WireError> {
        let &[rows, columns] = self.header.shape.as_slice() else {
            return Err(self.refuse(format!(
                "has {} dimensions, expected 2",
                self.header.shape.len()
            )));
        };
        self.float_type()?;
        if rows == 0 || columns == 0 {
            return Err(self.refuse(format!("must not be empty, got {rows} x {columns}")));
        }
        let rows = self.within(rows, Counted::Rows, limits.max_nodes)?;
        let columns = self.within(columns, Counted::Columns, limits.max_dim)?;
        let fortran = self.header.fortran_order;
        let field = self.field;
        let count = rows
            .checked_mul(columns)
            .ok_or_else(|| self.refuse("is larger than memory".to_owned()))?;
        let flat = self.elements(count, |dtype, bytes, out| dtype.floats(bytes, out))?;
        // Without a branch per element: this loop sees every byte of the largest inputs.
        if !flat
            .iter()
            .fold(true, |usable, value| usable & is_usable(*value))
        {
            let unusable = flat
                .iter()
                .position(|value| !is_usable(*value))
                .unwrap_or(0);
            let (row, column) = if fortran {
                (unusable % rows, unusable / rows)
            } else {
                (unusable / columns, unusable % columns)
            };
            let detail = complaint(flat[unusable]);
            return Err(WireError::field(
                format!("{field}[{row}][{column}]"),
                detail,
            ));
        }
        let shape = (rows, columns).set_f(fortran);
        let array = Array2::from_shape_vec(shape, flat)
            .map_err(|error| WireError::field(field, error.to_string()))?;
        Ok(if fortran {
            array.as_standard_layout().into_owned()
        } else {
            array
        })
    }

    /// The array as a vector of numbers that pass `check`.
    pub(crate) fn vector(
        mut self,
        (counted, limit): (Counted, usize),
        check: fn(f32) -> Result<f32, &'static str>,
    ) -> Result<Vec<f32>, WireError> {
        self.float_type()?;
        let count = self.length(counted, limit)?;
        let values = self.elements(count, |dtype, bytes, out| dtype.floats(bytes, out))?;
        let checked = values.into_iter().enumerate().map(|(k, value)| {
            check(value).map_err(|detail| WireError::field(format!("{}[{k}]", self.field), detail))
        });
        checked.collect()
    }

    /// The array as row indices.
    pub(crate) fn indices(mut self) -> Result<Vec<usize>, WireError> {
        if !matches!(self.header.dtype.kind, Kind::Signed | Kind::Unsigned) {
            let detail = format!("has dtype {}, expected integers", self.header.dtype);
            return Err(self.refuse(detail));
        }
        let count = self.length(Counted::ChainNodes, MAX_CHAIN_NODES)?;
        let values = self.elements(count, |dtype, bytes, out| dtype.integers(bytes, out))?;
        let checked = values.into_iter().enumerate().map(|(k, value)| {
            index(value).map_err(|detail| WireError::field(format!("{}[{k}]", self.field), detail))
        });
        checked.collect()
    }

    fn float_type(&self) -> Result<(), WireError> {
        if self.header.dtype.kind == Kind::Float {
            return Ok(());
        }
        Err(self.refuse(format!(
            "has dtype {}, expected float16, float32 or float64",
            self.header.dtype
        )))
    }

    fn length(&self, counted: Counted, limit: usize) -> Result<usize, WireError> {
        match self.header.shape.as_slice() {
            &[length] => self.within(length, counted, limit),
            shape => Err(self.refuse(format!("has {} dimensions, expected 1", shape.len()))),
        }
    }

    fn within(&self, length: u64, counted: Counted, limit: usize) -> Result<usize, WireError> {
        match usize::try_from(length) {
            Ok(length) if length <= limit => Ok(length),
            _ => Err(WireError::too_large(self.field, counted, limit)),
        }
    }

    /// Reads exactly `count` elements, the rest of the source.
    fn elements<T>(
        &mut self,
        count: usize,
        convert: impl Fn(DType, &[u8], &mut Vec<T>),
    ) -> Result<Vec<T>, WireError> {
        let dtype = self.header.dtype;
        let mut out = Vec::with_capacity(count.min(self.size_hint / dtype.size));
        let mut buffer = vec![0; CHUNK.min(count.max(1)) * dtype.size];
        while out.len() < count {
            let wanted = (count - out.len()).min(CHUNK) * dtype.size;
            let chunk = &mut buffer[..wanted];
            self.reader.read_exact(chunk).map_err(|_| {
                self.refuse(format!(
                    "is cut short: its header promises {count} elements"
                ))
            })?;
            convert(dtype, chunk, &mut out);
        }
        match self.reader.read(&mut [0]) {
            Ok(0) => Ok(out),
            _ => Err(self.refuse("has bytes behind its last element".to_owned())),
        }
    }

    fn refuse(&self, detail: String) -> WireError {
        WireError::field(self.field, detail)
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.kind.letter(), self.size)
    }
}
