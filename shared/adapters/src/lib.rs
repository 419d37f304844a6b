//! Implementations of the ports, each behind a cargo feature: `embedded` keeps everything in one
//! folder of the local machine.

#[cfg(feature = "embedded")]
pub mod embedded;
