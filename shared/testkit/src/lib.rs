//! Deterministic adapters with faults, a fake clock, seeded randomness and a step scheduler.
//!
//! Everything runs on one thread. Each adapter call gives way to the scheduler before and after its
//! effect, so that a test can interleave, or drop (crash), actors between any two effects. All
//! choices come from one seed, so that a run can be repeated exactly.

mod clock;
mod faults;
mod memory;
mod random;
mod schedule;
#[cfg(feature = "stripe")]
pub mod stripe;

pub use clock::ManualClock;
pub use faults::{FaultCounts, FaultRates, Faults};
pub use memory::{MemoryBlobs, MemoryBus, MemoryQueue, MemoryStore};
pub use random::{SeededEntropy, SplitMix64};
pub use schedule::{Scheduler, give_way, run};
