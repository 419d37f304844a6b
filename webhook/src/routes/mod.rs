//! Handlers: extract, check, call, map.

pub mod caller;
pub mod pages;
pub mod pairing;
pub mod portal;
pub mod webhook;
