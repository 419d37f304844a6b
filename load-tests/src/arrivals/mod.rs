//! When requests are meant to be sent. The plan does not depend on what the server does, which is
//! what makes a load open: a server that stands still does not hold its clients back.

mod pacer;
mod profile;

pub use pacer::Pacer;
pub use profile::{Plan, Profile};
