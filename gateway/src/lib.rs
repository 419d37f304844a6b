//! The gateway: the HTTP API of Oscillink Cloud.
//!
//! [`Gateway`] holds what requests share, [`router`] maps them to handlers, [`serve`] runs the
//! router on a listener. Small problems are computed here, large ones become jobs. Every error
//! leaves as a problem document ([`error`]).

mod budget;
pub mod callback;
mod compute;
mod config;
pub mod error;
mod extract;
mod keys;
mod layers;
mod quota_headers;
mod rate;
mod request_id;
mod router;
mod routes;
mod serve;
mod state;

pub use config::{Config, Origins, RequestLimit};
pub use keys::Keys;
pub use router::router;
pub use serve::{ServeOptions, serve};
pub use state::Gateway;
