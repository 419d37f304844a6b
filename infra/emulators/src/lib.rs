//! Google's services on this machine, for tests and for the rehearsal of a deployment.

#[cfg(feature = "rehearsal")]
pub mod chaos;
pub mod emulator;
#[cfg(feature = "rehearsal")]
pub mod object_server;
#[cfg(feature = "rehearsal")]
pub mod rehearsal;
#[cfg(feature = "rehearsal")]
pub mod tasks;

pub use emulator::Emulator;
