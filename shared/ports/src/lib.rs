//! The outside world as the engine sees it: a document store, a blob store, task queues, a bus, a
//! clock and a source of randomness.
//!
//! Each trait's documentation is its contract: what is atomic, what is ordered, what may be
//! repeated. The conformance suite (feature `conformance`) holds every adapter to these words.

mod blob;
mod bus;
#[cfg(feature = "conformance")]
pub mod conformance;
mod environment;
mod error;
mod queue;
mod store;

pub use blob::{BlobStore, MAX_BLOB_NAME_LEN, MAX_BLOB_SEGMENT_LEN, valid_blob_name};
pub use bus::{
    Bus, DEAD_LETTER_SUBSCRIPTION, EventHandler, Publication, Received, held_behind_another,
};
pub use environment::{Clock, Entropy, OsClock};
pub use error::PortError;
pub use queue::{
    Delivery, MAX_TASK_BYTES, QueueLimits, QueueStats, Task, TaskQueue, TaskTarget, Verdict,
};
pub use store::{
    Body, Collection, Cursor, Decide, DocKey, Filter, MAX_DOCUMENT_BYTES, MAX_TRANSACTION_WRITES,
    Op, Operand, Query, QueryPage, Snapshot, Store, StoreExt, TxError, Write,
};
