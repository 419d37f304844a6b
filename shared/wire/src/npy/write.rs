//! Writing arrays of answers.

use crate::answer::NumberArray;

/// The array as npy version 1, little-endian float32.
#[must_use]
pub fn write(array: &NumberArray) -> Vec<u8> {
    let shape = match array {
        NumberArray::Vector(v) => format!("({},)", v.len()),
        NumberArray::Matrix(m) => format!("({}, {})", m.nrows(), m.ncols()),
    };
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    // The data starts at a multiple of 64, and the header ends with a line break.
    let padding = 63 - (10 + header.len()) % 64;
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');

    let mut out = Vec::with_capacity(10 + header.len() + 4 * array.len());
    out.extend_from_slice(super::MAGIC);
    out.extend_from_slice(&[1, 0]);
    out.extend_from_slice(&(header.len() as u16).to_le_bytes());
    out.extend_from_slice(header.as_bytes());
    for value in array.iter() {
        out.extend_from_slice(&value.to_le_bytes());
    }
    out
}
