//! Tests of the numeric core through its public interface.

#![allow(
    clippy::unwrap_used,
    reason = "tests state their expectations with unwrap"
)]

mod against_reference;
mod cancellation;
mod canonical;
mod checkpoints;
mod data;
mod determinism;
mod edge_cases;
mod golden;
mod instruction_sets;
mod json;
mod reference;
mod signatures;
mod stopping;
mod ties;
