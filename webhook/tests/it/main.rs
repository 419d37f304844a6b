//! The billing service as stories, and a subscription's life in every order.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests state their expectations with unwrap and tell their seeds"
)]

mod events;
mod harness;
mod life;
mod pairing;
#[cfg(feature = "stripe")]
mod stripe;
mod usage;
