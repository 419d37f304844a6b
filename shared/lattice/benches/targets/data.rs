//! The data of the table's rows.

use ndarray::{Array2, s};
use oscillink_lattice::bench::{around, from_npy, noise, one_hot};

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

/// 5000 x 384 from the named file, or clustered rows in their place.
fn embeddings() -> Array2<f32> {
    match std::env::var("OSCILLINK_BENCH_NPY") {
        Ok(path) => {
            let file = std::fs::read(path).expect("the file can be read");
            let all = from_npy(&file).expect("the file holds a float32 matrix");
            all.slice(s![..all.nrows().min(5000), ..]).to_owned()
        }
        Err(_) => around(5000, 384, 250, 0.8),
    }
}
