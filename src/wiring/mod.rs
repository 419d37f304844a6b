//! Where adapters, engine and services are put together: nothing else in the program names an adapter.

mod backend;
mod backlog;
mod billing;
#[cfg(feature = "gcp")]
mod cloud;
mod dev_key;
mod entropy;
mod listen;
mod offline;
mod server;
mod telemetry;
mod traced;

pub use backend::open_backend;
pub use billing::billing;
#[cfg(feature = "gcp")]
pub use cloud::Role;
pub use dev_key::DevKey;
pub use entropy::OsEntropy;
pub use offline::{expect_database, open_offline};
pub use server::Server;
pub use telemetry::{FLUSH_LIMIT, telemetry};
