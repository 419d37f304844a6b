//! Why the cloud's backends cannot be used.

use oscillink_ports::PortError;

/// The cloud's backends cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GcpError {
    /// A service cannot be reached, or there are no credentials for it.
    #[error("cannot connect to {what}: {detail}")]
    Connect {
        /// The service.
        what: &'static str,
        /// Why.
        detail: String,
    },
    /// Something the program needs could not be set up.
    #[error("cannot set up {what}: {source}")]
    SetUp {
        /// A queue, a topic, a subscription.
        what: String,
        /// Why.
        source: PortError,
    },
    /// The build lacks what the configuration asks for.
    #[error("{variable}: {detail}")]
    NotBuilt {
        /// The variable that asks for it.
        variable: &'static str,
        /// What is missing.
        detail: &'static str,
    },
}

/// For `map_err` when a client is built.
pub(super) fn connect_error<E: std::fmt::Display>(
    what: &'static str,
) -> impl FnOnce(E) -> GcpError {
    move |error| GcpError::Connect {
        what,
        detail: error.to_string(),
    }
}
