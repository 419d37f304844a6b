//! The worker: receives tasks and runs the jobs they name.
//!
//! A delivery is admitted when its memory fits ([`admission`]), claimed from the engine, computed
//! on a bounded pool ([`compute`]) under heartbeats ([`lease`]), and its outcome written. Whatever
//! fails in between is repeated by the queue, by the engine's retries, or by the sweeper.

mod admission;
mod callback;
mod checkpoint;
mod compute;
mod config;
mod control;
mod deliver;
mod http;
mod lease;

pub use callback::CallbackConfig;
pub use config::WorkerConfig;
pub use deliver::Worker;
pub use http::{InProcess, NotAuthorised, PushAuth, router};
