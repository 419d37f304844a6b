//! Whole runs by size and kind of data: `cargo bench -p oscillink-lattice`.
//!
//! The neighbour search is the part that grows with N squared; a run that only settles shows it
//! almost alone, a run with everything shows what the rest adds.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ndarray::{Array1, Array2};
use oscillink_lattice::{
    DiffusionParams, Lambdas, Params, Plan, Problem, ReceiptOptions, SettleOptions, Unobserved,
    solve,
};

/// Uniform noise around `centres` common directions; a spread of zero repeats them exactly.
fn rows(n: usize, d: usize, centres: usize, spread: f32) -> Array2<f32> {
    let mut state = 7_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    let middle = Array2::from_shape_fn((centres, d), |_| next());
    Array2::from_shape_fn((n, d), |(i, j)| middle[[i % centres, j]] + spread * next())
}

fn everything() -> Plan {
    Plan {
        receipt: Some(ReceiptOptions::default()),
        bundle_k: Some(8),
        diffusion: Some(DiffusionParams::default()),
        ..Plan::default()
    }
}

/// One iteration of the settle step: the neighbour search and little else.
fn search_mostly() -> Plan {
    let settle = SettleOptions::new(1.0, 1, 1.0).expect("the options are in range");
    Plan {
        settle,
        ..Plan::default()
    }
}

fn run(y: &Array2<f32>, psi: &Array1<f32>, plan: &Plan) {
    let params = Params::new(8, Lambdas::default()).expect("the parameters are in range");
    let problem =
        Problem::new(y.view(), Some(psi.view()), None, None, params).expect("the rows are finite");
    black_box(solve(&problem, plan, &Unobserved).expect("nothing cancels the run"));
}

fn stages(criterion: &mut Criterion) {
    for (plan_name, plan) in [("search", search_mostly()), ("everything", everything())] {
        let mut group = criterion.benchmark_group(plan_name);
        group.sample_size(10);
        for (kind, n, d, centres, spread) in [
            ("noise", 80, 32, 1, 100.0),
            ("noise", 1000, 128, 1, 100.0),
            ("noise", 5000, 128, 1, 100.0),
            ("noise", 5000, 384, 1, 100.0),
            ("clusters", 5000, 384, 50, 0.2),
            ("near ties", 2000, 128, 1, 1e-5),
            ("identical", 2000, 128, 1, 0.0),
        ] {
            let y = rows(n, d, centres, spread);
            let psi = y.row(0).to_owned();
            let id = BenchmarkId::new(kind, format!("{n}x{d}"));
            group.bench_function(id, |bencher| bencher.iter(|| run(&y, &psi, &plan)));
        }
        group.finish();
    }
}

criterion_group!(benches, stages);
criterion_main!(benches);
