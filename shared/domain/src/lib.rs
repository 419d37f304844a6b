//! The vocabulary of Oscillink Cloud: types and pure transitions, no I/O, no clock, no randomness.
//!
//! Everything that happens to a job, a quota or a ledger is a function here from an old value and
//! an explicit time to a new value. The engine decides when to call it, the adapters store it.

pub mod billing;
pub mod callback;
pub mod event;
pub mod hash;
pub mod id;
pub mod idempotency;
pub mod job;
pub mod key;
pub mod ledger;
pub mod outbox;
pub mod quota;
pub mod settings;
pub mod tier;
pub mod time;
pub mod units;

pub use event::Event;
pub use hash::Sha256Hex;
pub use id::{EventId, JobId, KeyId};
pub use job::{Job, JobKind, JobStatus, QueueName};
pub use key::{ApiKey, KeyRecord, KeyStatus};
pub use ledger::LedgerRow;
pub use tier::{Limits, Tier};
pub use time::Timestamp;
pub use units::Units;
