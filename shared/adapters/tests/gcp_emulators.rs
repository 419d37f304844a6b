//! The Google Cloud adapters against the emulators: Google's own of Firestore and Pub/Sub, that of
//! Cloud Tasks driven by Google's client, and a local object store.
//!
//! Where an emulator is not installed its tests are reported as ignored, with the reason; with
//! `OSCILLINK_REQUIRE_EMULATORS=1` they fail.

// Functions beside the tests state their expectations as the tests do.
#![allow(clippy::unwrap_used)]

mod gcp_support;

use std::process::ExitCode;

use libtest_mimic::Arguments;

use gcp_support::Bench;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let bench = Bench::new();
    let mut trials = gcp_support::infra::trials();
    trials.extend(gcp_support::store::trials(&bench));
    trials.extend(gcp_support::quota::trials(&bench));
    trials.extend(gcp_support::queue::trials(&bench));
    trials.extend(gcp_support::oidc::trials(&bench));
    trials.extend(gcp_support::bus::trials(&bench));
    trials.extend(gcp_support::blobs::trials(&bench));
    let conclusion = libtest_mimic::run(&arguments, trials);
    // The emulators end with the bench.
    drop(bench);
    conclusion.exit_code()
}
