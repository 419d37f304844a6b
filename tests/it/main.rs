//! End-to-end stories: the real binary, driven as a user and as a client would.

mod architecture;
mod bad_input;
mod cli;
mod crash;
mod demo;
mod golden;
mod http;
mod python;
mod restart;
mod snapshots;
mod support;
