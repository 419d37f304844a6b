//! The search on every instruction set against all pairs compared one by one, on hard data.

use ndarray::Array2;

use super::checkpoint::Keeper;
use super::packed::PackedRows;
use super::rows::NormalizedRows;
use super::similarity::Exact;
use super::ties::{Candidate, TieOrder};
use super::tile::{Span, Tile};
use super::{direct, search};
use crate::exec::Exec;
use crate::observer::Unobserved;
use crate::params::Params;
use crate::problem::Problem;
use crate::simd::{LANES, Level};

/// A small generator (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Uniform in `[-1, 1)`.
    fn value(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }
}

/// Rows of some awkward kind.
fn rows(kind: usize, n: usize, d: usize, numbers: &mut Numbers) -> Array2<f32> {
    let noise = Array2::from_shape_fn((n, d), |_| numbers.value());
    let middle: Vec<f32> = (0..d).map(|_| numbers.value()).collect();
    let around =
        |spread: f32| Array2::from_shape_fn((n, d), |(i, j)| middle[j] + spread * noise[[i, j]]);
    match kind {
        0 => noise,
        // Near-identical rows, from beyond the resolution of the packed values to within it.
        1 => around(1e-7),
        2 => around(1e-4),
        3 => around(1e-2),
        // Each row several times, some of it zero.
        4 => Array2::from_shape_fn((n, d), |(i, j)| noise[[i % n.div_ceil(7), j]]),
        5 => Array2::from_shape_fn(
            (n, d),
            |(i, j)| if i % 3 == 0 { 0.0 } else { noise[[i, j]] },
        ),
        // One axis each.
        6 => Array2::from_shape_fn((n, d), |(i, j)| if i % d == j { 2.0 } else { 0.0 }),
        // Lengths from far below one to near overflow, and lengths the norm's increment swallows.
        7 => Array2::from_shape_fn((n, d), |(i, j)| {
            noise[[i, j]] * 10_f32.powi(i as i32 % 36 - 18)
        }),
        8 => noise * 1e-14,
        9 => noise * 1e-41,
        // One large entry each, the rest far below.
        10 => Array2::from_shape_fn((n, d), |(i, j)| {
            if i % d == j {
                1.0
            } else {
                1e-6 * noise[[i, j]]
            }
        }),
        12 => around(1e-3),
        13 => around(1e-6),
        // Nearly alike but for a few.
        14 => Array2::from_shape_fn((n, d), |(i, j)| {
            let spread = if i % 97 == 5 { 1.0 } else { 1e-3 };
            middle[j] + spread * noise[[i, j]]
        }),
        // All similarities zero or below.
        _ => Array2::from_shape_fn((n, d), |(i, j)| match (i, j) {
            (0, 0) => 1.0,
            (1, 0) => -1.0,
            _ if d > 1 && i > 1 && j == 1 + i % (d - 1) => 1.0,
            _ => 0.0,
        }),
    }
}

const KINDS: usize = 15;

/// The best k positive neighbours of a row, by comparing with every other.
fn plain(exact: &Exact<'_>, row: usize, k: usize, order: &TieOrder<'_>) -> Vec<Candidate> {
    let mut all: Vec<Candidate> = (0..exact.rows() as u32)
        .filter(|other| *other as usize != row)
        .map(|other| Candidate {
            similarity: exact.similarity(row, other),
            row: other,
        })
        .filter(|candidate| candidate.similarity > 0.0)
        .collect();
    all.sort_by(|a, b| order.compare(a, b));
    all.truncate(k);
    all
}

fn check(y: &Array2<f32>, k: usize, seed: Option<i64>, context: &str) {
    let problem = Problem::new(y.view(), None, None, None, Params::default()).unwrap();
    let portable = Exec::new(&Unobserved, usize::MAX).at_level(Level::Portable);
    let rows = NormalizedRows::new(&problem, portable).unwrap();
    let order = TieOrder::new(seed, rows.original());
    let exact = Exact::new(&rows, Level::Portable);
    let expected: Vec<_> = (0..rows.len())
        .map(|row| plain(&exact, row, k, &order))
        .collect();
    for level in Level::available() {
        let exec = portable.at_level(level);
        let mut ways = vec![search::by_tiles(&rows, k, &order, &Keeper::new(None), exec).unwrap()];
        if (1..rows.len()).contains(&k) {
            ways.push(direct::nearest(&rows, k, &order, exec).unwrap());
        }
        for (way, found) in ways.iter().enumerate() {
            for (row, expected) in expected.iter().enumerate() {
                assert_eq!(
                    found.row(row),
                    expected,
                    "{context}, row {row}, {}, way {way}",
                    level.name()
                );
            }
        }
    }
}

#[test]
fn every_level_finds_what_all_pairs_give() {
    let mut numbers = Numbers(5);
    let (rounds, most) = if cfg!(miri) {
        (KINDS, 24)
    } else {
        (30 * KINDS, 330)
    };
    for round in 0..rounds {
        let (n, d) = (
            1 + numbers.below(most),
            1 + numbers.below(if cfg!(miri) { 9 } else { 70 }),
        );
        let k = 1 + numbers.below(if round % 5 == 0 { n } else { 12 });
        let seed = (round % 4 == 0).then(|| numbers.next() as i64);
        let y = rows(round % KINDS, n, d, &mut numbers);
        let context = format!("kind {}, {n} x {d}, k {k}, seed {seed:?}", round % KINDS);
        check(&y, k, seed, &context);
    }
}

#[test]
#[cfg_attr(miri, ignore = "too large")]
fn blocks_beyond_the_second_agree_too() {
    let mut numbers = Numbers(6);
    for (kind, n, d, k) in [
        (0, 1100, 24, 8),
        (12, 1100, 24, 8),
        (13, 700, 40, 5),
        (14, 700, 24, 8),
        (1, 900, 20, 8),
        (3, 800, 16, 9),
        (11, 900, 40, 8),
    ] {
        let y = rows(kind, n, d, &mut numbers);
        check(&y, k, None, &format!("kind {kind}, {n} x {d}"));
    }
}

/// The bound that everything rests on, for every pair of a block.
#[test]
fn no_product_strays_further_than_its_margin() {
    let mut numbers = Numbers(7);
    let mut centred = 0;
    for round in 0..if cfg!(miri) { 1 } else { 8 * KINDS } {
        let (n, d) = (2 + numbers.below(60), 1 + numbers.below(90));
        let y = rows(round % KINDS, n, d, &mut numbers);
        let problem = Problem::new(y.view(), None, None, None, Params::default()).unwrap();
        let exec = Exec::new(&Unobserved, usize::MAX).at_level(Level::Portable);
        let rows = NormalizedRows::new(&problem, exec).unwrap();
        let packed = PackedRows::new(&rows, exec).unwrap();
        centred += usize::from(packed.biased());
        let span = Span {
            first: 0,
            count: rows.len(),
        };
        if rows.len() == 0 {
            continue;
        }
        let units = packed.units();
        Tile::default().fill_diagonal(&packed, span, Level::Portable, |row, products| {
            let margin = packed.margin(row);
            for other in (0..rows.len()).filter(|other| *other != row) {
                let values = rows.row(row).iter().zip(rows.row(other));
                let terms = values.map(|(a, b)| f64::from(*a) * f64::from(*b));
                let similarity: f64 = terms.sum();
                let product = f64::from(products[other / LANES].0[other % LANES]);
                let strays = (units.similarity(product) - similarity).abs() * units.square;
                assert!(
                    strays <= f64::from(margin.strays),
                    "kind {}, {n} x {d}: {strays} units, {margin:?}",
                    round % KINDS
                );
                if similarity > 0.0 {
                    assert!(product >= f64::from(margin.positive));
                }
            }
            i32::MAX
        });
    }
    assert!(cfg!(miri) || centred > 8, "only {centred} with a centre");
}
