//! The examples of the documents run as they stand, and other languages check what we sign.
//!
//! That takes other programs. Where one is missing its tests show as ignored, with the reason;
//! `OSCILLINK_REQUIRE_PYTHON=1`, `…_NODE=1` and `…_PROMETHEUS=1` make its absence a failure.
//! `OSCILLINK_PYTHON` names an interpreter that has the Python client (`make python` makes one).

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests state expectations as tests do"
)]

mod documents;
#[allow(dead_code, reason = "the tests of monitoring use the rest of it")]
mod programs;
mod signatures;
#[allow(dead_code, reason = "the stories use the rest of it")]
#[path = "../it/support.rs"]
mod support;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use programs::{NODE, PYTHON, PYTHON_CLIENT, SHELL, needs};

fn main() -> ExitCode {
    let trials: Vec<Trial> = vec![
        needs(&SHELL, "the_shell_examples_run", documents::shell),
        needs(&PYTHON_CLIENT, "the_python_examples_run", documents::python),
        needs(
            &PYTHON_CLIENT,
            "the_readme_of_the_python_client_runs",
            documents::python_readme,
        ),
        needs(&NODE, "the_javascript_examples_run", documents::javascript),
        needs(
            &PYTHON,
            "python_recomputes_the_signature_of_a_receipt",
            signatures::receipts,
        ),
        needs(
            &PYTHON,
            "python_recomputes_the_chain_of_the_ledger",
            signatures::ledger,
        ),
        needs(
            &PYTHON,
            "figures_of_sizing_and_cost_compute",
            documents::capacity,
        ),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
