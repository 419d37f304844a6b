//! What was sent and what came back, so that afterwards it can be told whether the service lost or
//! doubled anything.

mod entries;
mod fetch;
mod reconcile;
mod violation;

pub use entries::{Books, Entry, Fate, Ticket, Work};
pub use fetch::{Before, JobRow, LedgerRow, Statement, before, statement};
pub use reconcile::{Totals, reconcile};
pub use violation::{Kind, Violations};
