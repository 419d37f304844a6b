//! The embedded adapters, seen from outside.
#![cfg(feature = "embedded")]

mod conformance;
