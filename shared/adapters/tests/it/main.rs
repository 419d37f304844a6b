//! The embedded adapters, seen from outside.
#![cfg(feature = "embedded")]
// Functions beside the tests state their expectations as the tests do.
#![allow(clippy::unwrap_used)]

mod bus;
mod conformance;
mod crash;
mod data_folder;
mod queue;
mod quota;
mod room;
mod scene;
mod trouble;
