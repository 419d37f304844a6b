//! A client of HTTP/1.1 with keep-alive connections and little overhead.

mod call;
mod client;
mod stream;
mod target;

pub use call::{Answer, CallError};
pub use client::Client;
pub use stream::Streaming;
pub use target::{Target, TargetError};
