//! Implementations of the ports, each behind a cargo feature: `embedded` keeps everything in one
//! folder of the local machine, `gcp` in Google Cloud.

#[cfg(feature = "embedded")]
pub mod embedded;
#[cfg(feature = "gcp")]
pub mod gcp;
