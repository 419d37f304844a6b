//! What handlers take from a request: who calls, the body, queries and preferences.

mod body;
mod caller;
mod inbound;
mod multipart;
mod prefer;
mod query;

pub use body::ReadLimits;
pub use caller::Caller;
pub use inbound::{Inbound, ReadBody};
pub use prefer::{Preferences, seconds as wait_seconds};
pub use query::{JobPath, Queried, no_such_job};
