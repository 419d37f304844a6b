//! Adapters in memory. They keep the ports' contracts and fail when [`Faults`](crate::Faults) say so.

mod blobs;
mod bus;
mod queue;
mod store;

pub use blobs::MemoryBlobs;
pub use bus::MemoryBus;
pub use queue::MemoryQueue;
pub use store::MemoryStore;
