//! The choice of instructions changes no bit: whole runs in processes that are told what to use.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::process::Command;

use oscillink_lattice::{Plan, ReceiptOptions};

use crate::data::{duplicated, gaussian, near_ties, params, solve_with};
use crate::determinism::{everything, fingerprint};

/// What a child process writes before its digest.
const MARK: &str = "digest of all answers: ";

/// Answers for data of many kinds, as one digest.
fn digest() -> u64 {
    let mut digest = DefaultHasher::new();
    for (y, kneighbors) in [
        (gaussian(700, 37, 1), 6),
        (gaussian(260, 1, 2), 3),
        (near_ties(600, 20, 1e-6, 3), 8),
        (near_ties(500, 33, 0.01, 4), 20),
        (duplicated(600, 17, 90, 5), 6),
        (&gaussian(300, 50, 6) * 1e-30, 5),
        (&gaussian(300, 50, 7) * 1e18, 5),
        (gaussian(64, 1100, 8), 63),
    ] {
        let plan = Plan {
            chain_receipt: None,
            receipt: Some(ReceiptOptions::default()),
            ..everything()
        };
        fingerprint(solve_with(&y, params(kneighbors), &plan)).hash(&mut digest);
    }
    digest.finish()
}

#[test]
#[ignore = "run by the test below, in processes of its own"]
fn digest_with_the_instructions_asked_for() {
    println!("{MARK}{}", digest());
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let own = digest().to_string();
    for name in ["portable", "avx2", "avx512", "avx512vnni", "neon"] {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "instruction_sets::digest_with_the_instructions_asked_for",
            ])
            .args(["--ignored", "--nocapture"])
            .env("OSCILLINK_SIMD", name)
            .output()
            .unwrap();
        let text = String::from_utf8(child.stdout).unwrap();
        let (_, after) = text.split_once(MARK).expect("the child writes its digest");
        assert_eq!(after.lines().next(), Some(own.as_str()), "{name}");
    }
}
