//! What handlers take from a request: who calls, the body, queries and preferences.

mod accept;
mod admin;
mod body;
mod caller;
mod fault;
mod inbound;
mod lines;
mod multipart;
mod prefer;
mod query;

pub use accept::{Accepted, prefers};
pub use admin::{Admin, Document, small_body};
pub use body::ReadLimits;
pub use caller::{Caller, presented};
pub use inbound::{DIRECT_BYTES, DIRECT_VALUES, Inbound, ReadBody, idempotency_key, traceparent};
pub use lines::{Batch, Line, Lines};
pub use prefer::{Preferences, seconds as wait_seconds};
pub use query::{JobPath, Queried, no_such_job};
