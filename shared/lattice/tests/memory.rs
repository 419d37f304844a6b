//! The memory estimate against what runs really allocate. A test binary of its own: it counts every
//! allocation of the process.

#![allow(
    clippy::unwrap_used,
    reason = "tests state their expectations with unwrap"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use ndarray::Array2;
use oscillink_lattice::{
    DiffusionParams, Lambdas, Params, Plan, Problem, ReceiptOptions, Unobserved,
    estimated_memory_bytes, solve,
};
use rayon::ThreadPoolBuilder;

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system allocator unchanged.
#[allow(unsafe_code, reason = "counting allocations needs a global allocator")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(live, Relaxed);
        // SAFETY: the caller keeps the contract of this method, which is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the pointer came from the system allocator through `alloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Peak bytes over the input of a run with everything in it.
fn peak(n: usize, d: usize, kneighbors: usize, copies: usize, threads: usize) -> u64 {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 23) as f32
    };
    // All values are positive, so every pair of rows is similar and as many edges exist as can.
    let distinct = Array2::from_shape_fn((n.div_ceil(copies), d), |_| next());
    let y = Array2::from_shape_fn((n, d), |(i, j)| distinct[[i % distinct.nrows(), j]]);
    let psi = y.row(0).to_owned();
    let params = Params::new(kneighbors, Lambdas::default()).unwrap();
    let problem = Problem::new(y.view(), Some(psi.view()), None, None, params).unwrap();
    let plan = Plan {
        receipt: Some(ReceiptOptions::default()),
        bundle_k: Some(8),
        diffusion: Some(DiffusionParams::default().with_kneighbors(Some(4)).unwrap()),
        ..Plan::default()
    };
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    pool.install(|| {
        let before = LIVE.load(Relaxed);
        PEAK.store(before, Relaxed);
        let solution = solve(&problem, &plan, &Unobserved).unwrap();
        assert_eq!(solution.u.dim(), (n, d));
        (PEAK.load(Relaxed) - before) as u64
    })
}

#[test]
fn runs_stay_within_the_estimate_and_the_estimate_is_not_wild() {
    for (n, d, kneighbors, copies, threads) in [
        (80, 32, 6, 1, 1),
        (1000, 128, 8, 1, 2),
        (3000, 384, 8, 1, 2),
        (2000, 200, 8, 2000, 2),
        (2000, 5, 6, 1, 4),
        (1500, 30, 1499, 1, 2),
        (4000, 768, 20, 40, 1),
    ] {
        let peak = peak(n, d, kneighbors, copies, threads);
        let estimate = estimated_memory_bytes(n, d, kneighbors, threads);
        println!("{n} x {d}, k {kneighbors}: peak {peak}, estimate {estimate}");
        assert!(
            peak <= estimate,
            "{n} x {d}: {peak} bytes, estimated {estimate}"
        );
        assert!(
            estimate <= 3 * peak + (8 << 20),
            "{n} x {d}: {peak} bytes, estimated {estimate}"
        );
    }
    // The largest problems must not overflow the estimate.
    assert_eq!(
        estimated_memory_bytes(usize::MAX, usize::MAX, usize::MAX, 1),
        u64::MAX
    );
}
