//! The engine against a hostile world, by seed.
//!
//! Clients, relays, sweepers and workers run as actors over faulty adapters in memory. A seeded
//! scheduler interleaves them at every adapter call, delivers tasks twice, late and out of order,
//! loses tasks, crashes processes between any two effects, and moves the clock both ways. Then the
//! faults end, the world runs dry, and the books must balance.
//!
//! `OSCILLINK_SIM_SEED=7 cargo test -p oscillink-engine --test simulation` repeats one seed;
//! `OSCILLINK_SIM_SEEDS=100000` runs more of them.

mod actors;
mod invariants;
mod world;

use world::{Tally, World};

const SEEDS: u64 = 3_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn effects_happen_exactly_once_whatever_fails() {
    if let Some(seed) = number("OSCILLINK_SIM_SEED") {
        let tally = World::run(seed);
        println!("seed {seed}: {tally:#?}");
        return;
    }
    let mut total = Tally::default();
    for seed in 0..number("OSCILLINK_SIM_SEEDS").unwrap_or(SEEDS) {
        let outcome = std::panic::catch_unwind(|| World::run(seed));
        match outcome {
            Ok(tally) => total.add(&tally),
            Err(panic) => {
                eprintln!("seed {seed} failed; repeat it with OSCILLINK_SIM_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{total:#?}");
    total.assert_everything_happened();
}

#[test]
fn a_seed_repeats_exactly() {
    for seed in [1, 2, 3] {
        assert_eq!(World::run(seed), World::run(seed));
    }
}
