//! The data of the table's rows.

use std::path::Path;

use ndarray::{Array2, s};

/// One row of the table.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) rows: fn() -> Array2<f32>,
    /// Whether to time the product to compare with.
    pub(crate) sgemm: bool,
    pub(crate) rounds: usize,
}

/// The rows asked for by the environment.
pub(crate) fn cases() -> Vec<Case> {
    let case = |name, rows| Case {
        name,
        rows,
        sgemm: true,
        rounds: usize::MAX,
    };
    let mut cases = vec![
        case("1000x128 noise", || noise(1000, 128)),
        case("5000x128 noise", || noise(5000, 128)),
        case("5000x384 embeddings", embeddings),
        case("20000x128 noise", || noise(20_000, 128)),
    ];
    if set("OSCILLINK_BENCH_LARGE") {
        cases.push(Case {
            sgemm: false,
            rounds: 2,
            ..case("100000x128 noise", || noise(100_000, 128))
        });
    }
    if set("OSCILLINK_BENCH_FLOODS") {
        let flood = |name, rows| Case {
            sgemm: false,
            ..case(name, rows)
        };
        cases.extend([
            flood("5000x384 noise", || noise(5000, 384)),
            flood("5000x384 identical", || around(5000, 384, 1, 0.0)),
            flood("5000x384 within 1e-6", || around(5000, 384, 1, 1e-6)),
            flood("5000x384 within 1e-4", || around(5000, 384, 1, 1e-4)),
            flood("5000x384 within 1e-3", || around(5000, 384, 1, 1e-3)),
            flood("5000x384 within 1e-2", || around(5000, 384, 1, 1e-2)),
            flood("5000x384 100 centres 1e-3", || around(5000, 384, 100, 1e-3)),
            flood("5000x384 one-hot", || one_hot(5000, 384)),
            flood("5000x5000 one-hot", || one_hot(5000, 5000)),
            flood("20000x128 within 1e-6", || around(20_000, 128, 1, 1e-6)),
        ]);
    }
    cases
}

/// Whether a variable asks for something.
pub(crate) fn set(name: &str) -> bool {
    std::env::var(name).is_ok_and(|value| !value.is_empty() && value != "0")
}

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
pub(crate) fn noise(n: usize, d: usize) -> Array2<f32> {
    let mut numbers = Numbers(7);
    Array2::from_shape_fn((n, d), |_| numbers.normal())
}

/// Normal rows of length about 1 around `centres` others, off by `spread` of that.
pub(crate) fn around(n: usize, d: usize, centres: usize, spread: f32) -> Array2<f32> {
    let mut numbers = Numbers(11);
    let length = (d as f32).sqrt();
    let middle = Array2::from_shape_fn((centres, d), |_| numbers.normal() / length);
    Array2::from_shape_fn((n, d), |(i, j)| {
        middle[[i % centres, j]] + spread * numbers.normal() / length
    })
}

/// Each row along one axis.
fn one_hot(n: usize, d: usize) -> Array2<f32> {
    Array2::from_shape_fn(
        (n, d),
        |(i, j)| {
            if i % d == j { 1.0 + i as f32 } else { 0.0 }
        },
    )
}

/// 5000 x 384 from the named file, or clustered rows in their place.
fn embeddings() -> Array2<f32> {
    match std::env::var("OSCILLINK_BENCH_NPY") {
        Ok(path) => read_npy(Path::new(&path)),
        Err(_) => around(5000, 384, 250, 0.8),
    }
}

/// Reads a row-major float32 `.npy` file, its first 5000 rows.
fn read_npy(path: &Path) -> Array2<f32> {
    let bytes = std::fs::read(path).expect("the file named by OSCILLINK_BENCH_NPY can be read");
    let length = usize::from(bytes[8]) + 256 * usize::from(bytes[9]);
    let header = String::from_utf8_lossy(&bytes[10..10 + length]);
    assert!(header.contains("<f4") && header.contains("'fortran_order': False"));
    let shape = header
        .split('(')
        .nth(1)
        .and_then(|rest| rest.split(')').next());
    let sizes: Vec<usize> = shape
        .unwrap_or_default()
        .split(',')
        .filter_map(|size| size.trim().parse().ok())
        .collect();
    let values = bytes[10 + length..]
        .as_chunks::<4>()
        .0
        .iter()
        .map(|value| f32::from_le_bytes(*value))
        .collect();
    let all =
        Array2::from_shape_vec((sizes[0], sizes[1]), values).expect("the shape fits the data");
    all.slice(s![..sizes[0].min(5000), ..]).to_owned()
}
