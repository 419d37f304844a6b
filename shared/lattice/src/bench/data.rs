//! Rows to measure with.

use ndarray::Array2;

use crate::error::FieldError;

/// A small generator (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Standard normal, by Box and Muller.
    fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.uniform()).cos()) as f32
    }
}

/// Independent normal values: rows without structure.
pub fn noise(n: usize, d: usize) -> Array2<f32> {
    let mut numbers = Numbers(7);
    Array2::from_shape_fn((n, d), |_| numbers.normal())
}

/// Normal rows of length about 1 around `centres` others, off by `spread` of that.
pub fn around(n: usize, d: usize, centres: usize, spread: f32) -> Array2<f32> {
    let mut numbers = Numbers(11);
    let length = (d as f32).sqrt();
    let middle = Array2::from_shape_fn((centres, d), |_| numbers.normal() / length);
    Array2::from_shape_fn((n, d), |(i, j)| {
        middle[[i % centres, j]] + spread * numbers.normal() / length
    })
}

/// Each row along one axis.
pub fn one_hot(n: usize, d: usize) -> Array2<f32> {
    Array2::from_shape_fn(
        (n, d),
        |(i, j)| {
            if i % d == j { 1.0 + i as f32 } else { 0.0 }
        },
    )
}

/// The matrix in a row-major float32 `.npy` file.
///
/// # Errors
/// Names `Y` when the file holds anything else.
pub fn from_npy(file: &[u8]) -> Result<Array2<f32>, FieldError> {
    let wrong = |what: &str| FieldError::new("Y", format!("is not a float32 .npy matrix: {what}"));
    let length = match file.get(..10) {
        Some([.., low, high]) if file.starts_with(b"\x93NUMPY\x01") => {
            usize::from(u16::from_le_bytes([*low, *high]))
        }
        _ => return Err(wrong("no header of version 1")),
    };
    let header = file.get(10..10 + length).ok_or_else(|| wrong("cut off"))?;
    let header = String::from_utf8_lossy(header);
    if !header.contains("'<f4'") || !header.contains("'fortran_order': False") {
        return Err(wrong("other values or columns first"));
    }
    let shape = header.split('(').nth(1);
    let shape = shape.and_then(|rest| rest.split(')').next());
    let mut sizes = shape.unwrap_or_default().split(',').map(str::trim);
    let size = |text: Option<&str>| text.and_then(|text| text.parse::<usize>().ok());
    let (Some(rows), Some(columns)) = (size(sizes.next()), size(sizes.next())) else {
        return Err(wrong("not two-dimensional"));
    };
    let values = file[10 + length..].as_chunks::<4>().0;
    let values = values.iter().map(|value| f32::from_le_bytes(*value));
    Array2::from_shape_vec((rows, columns), values.collect()).map_err(|_| wrong("cut off"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, values: &[f32]) -> Vec<u8> {
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.as_bytes());
        file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        file
    }

    #[test]
    fn matrices_are_read_and_everything_else_is_refused() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let whole = file(header, &values);
        assert_eq!(from_npy(&whole).unwrap()[[1, 0]], 4.0);
        for length in [0, 5, 10, 30, whole.len() - 4] {
            assert!(from_npy(&whole[..length]).is_err(), "{length} bytes");
        }
        for (old, new) in [("<f4", "<f8"), ("False", "True"), ("(2, 3)", "(6,)")] {
            assert!(from_npy(&file(&header.replace(old, new), &values)).is_err());
        }
    }
}
