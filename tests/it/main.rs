//! End-to-end stories: the real binary, driven as a user and as a client would.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests state expectations as tests do"
)]
#![allow(clippy::print_stdout, reason = "a test may tell its figures")]

mod anywhere;
mod api_batch;
mod api_callbacks;
mod api_events;
mod api_serving;
mod architecture;
mod bad_input;
mod billing;
mod billing_export;
#[cfg(feature = "stripe")]
mod billing_stripe;
mod cli;
mod crash;
mod demo;
mod documents;
mod first_minute;
mod golden;
mod http;
mod logs;
mod metrics;
mod receiver;
mod restart;
mod secrets;
mod snapshots;
mod support;
#[cfg(feature = "otlp")]
mod traces;
