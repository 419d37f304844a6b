//! What answers of a gRPC service mean.

use gcloud_sdk::tonic::{Code, Status};
use oscillink_ports::PortError;

/// Whether a call that changes nothing may be made again after this answer.
pub(super) fn is_transient(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Cancelled
            | Code::Internal
            | Code::ResourceExhausted
            | Code::Unknown
    )
}

/// The answer in the port's terms.
pub(super) fn port_error(what: &str, status: &Status) -> PortError {
    let detail = format!(
        "Firestore {what}: {:?}: {}",
        status.code(),
        status.message()
    );
    match status.code() {
        Code::NotFound => PortError::NotFound { detail },
        Code::AlreadyExists => PortError::AlreadyExists { detail },
        Code::ResourceExhausted => PortError::Exhausted { detail },
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            PortError::Refused { detail }
        }
        Code::DataLoss => PortError::Corrupt { detail },
        // Rights can be granted while the program runs, so that trying again can succeed.
        _ => PortError::Unavailable { detail },
    }
}
