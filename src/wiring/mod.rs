//! Where adapters, engine and services are put together: nothing else in the program names an adapter.

mod dev_key;
mod entropy;
mod offline;
mod server;

pub use dev_key::DevKey;
pub use entropy::OsEntropy;
pub use offline::open_offline;
pub use server::Server;
