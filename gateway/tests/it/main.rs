//! The API over adapters in memory: what goes in, what comes out, and how it says no.

#![allow(
    clippy::unwrap_used,
    reason = "tests state their expectations with unwrap"
)]

mod admin;
mod admin_input;
mod bodies;
mod callbacks;
mod harness;
mod jobs;
mod limits;
mod openapi;
mod problems;
mod replay;
mod serving;
mod settle;
