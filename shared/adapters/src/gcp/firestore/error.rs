//! What the API's answers mean to the port.

use firestore::gcloud_sdk::tonic::{Code, Status};
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

/// Whether a commit that got this answer has certainly not happened and may be tried with fresh
/// reads: it lost against another, or its transaction is gone (expired, or the server restarted).
pub(super) fn is_conflict(status: &Status) -> bool {
    let expired =
        status.code() == Code::InvalidArgument && status.message().contains("transaction");
    status.code() == Code::Aborted || expired
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
