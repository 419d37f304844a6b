//! Load on the service over its public HTTP API: open-loop arrivals measured from the time at which
//! they were meant to be sent, a check that nothing was lost or doubled, disturbances, and reports.
//!
//! Nothing of the service is imported: what is known here about it is what its documentation says.

pub mod arrivals;
pub mod books;
pub mod chaos;
pub mod flows;
pub mod http;
pub mod oracle;
pub mod problem;
pub mod receiver;
pub mod record;
pub mod report;
pub mod requests;
pub mod run;
pub mod scenario;
pub mod scrape;
pub mod server;
pub mod world;
