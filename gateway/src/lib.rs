//! The gateway: the HTTP API of Oscillink Cloud.
//!
//! [`Gateway`] holds what requests share, [`router`] maps them to handlers, [`serve`] runs the
//! router on a listener. Small problems are computed here, large ones become jobs. Every error
//! leaves as a problem document ([`error`]).

mod budget;
mod cache;
mod compute;
mod config;
pub mod error;
mod estimate;
mod extract;
mod keys;
mod layers;
pub mod openapi;
mod quota_headers;
mod rate;
mod replay;
mod request_id;
mod router;
mod routes;
mod serve;
mod state;
mod table;
mod unread;

pub use config::{Config, Endpoint, EndpointLimits, Origins, RedisUrl, RequestLimit};
pub use keys::Keys;
pub use router::router;
pub use serve::{ServeOptions, serve};
pub use state::Gateway;
