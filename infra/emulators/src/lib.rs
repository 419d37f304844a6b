//! Google's services on this machine, for tests and for the rehearsal of a deployment.

#[cfg(feature = "rehearsal")]
pub mod chaos;
#[cfg(feature = "collector")]
pub mod collector;
pub mod emulator;
pub mod http;
#[cfg(feature = "servers")]
pub mod object_server;
#[cfg(feature = "rehearsal")]
pub mod rehearsal;
#[cfg(feature = "servers")]
mod serving;
#[cfg(feature = "servers")]
pub mod tasks;
#[cfg(feature = "rehearsal")]
pub mod traces;

pub use emulator::{Emulator, Trouble, required};
#[cfg(feature = "servers")]
pub use object_server::{Fault, ObjectServer};
#[cfg(feature = "servers")]
pub use serving::Serving;
#[cfg(feature = "servers")]
pub use tasks::TasksEmulator;
