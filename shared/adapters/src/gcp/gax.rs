//! What Google's clients have in common: bounds of a call, and what their failures mean to the ports.

use std::time::Duration;

use google_cloud_gax::error::Error;
use google_cloud_gax::error::rpc::Code;
use google_cloud_gax::exponential_backoff::{ExponentialBackoff, ExponentialBackoffBuilder};
use google_cloud_gax::options::RequestOptionsBuilder;
use google_cloud_gax::retry_policy::{RetryPolicy, RetryPolicyExt as _};
use google_cloud_gax::retry_result::RetryResult;
use google_cloud_gax::retry_state::RetryState;
use oscillink_ports::PortError;

use super::retry::Tries;

/// Bounds a call that is safe to repeat, and has it repeated after failures that may pass.
pub(super) fn bounded<B: RequestOptionsBuilder>(call: B, tries: Tries, timeout: Duration) -> B {
    call.with_idempotency(true)
        .with_attempt_timeout(timeout)
        .with_retry_policy(retry_policy(tries))
        .with_backoff_policy(backoff(tries))
}

/// When to try a call again.
pub(super) fn retry_policy(tries: Tries) -> impl RetryPolicy {
    TransientFailures
        .with_time_limit(tries.max_total)
        .with_attempt_limit(tries.max_attempts)
}

/// How long to wait before a call is tried again; the client takes a random part of it.
pub(super) fn backoff(tries: Tries) -> ExponentialBackoff {
    ExponentialBackoffBuilder::new()
        .with_initial_delay(tries.min_pause)
        .with_maximum_delay(tries.max_pause)
        .clamp()
}

/// A duration as the APIs have it.
pub(super) fn duration(duration: Duration) -> google_cloud_wkt::Duration {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    let nanos = i32::try_from(duration.subsec_nanos()).unwrap_or(0);
    google_cloud_wkt::Duration::clamp(seconds, nanos)
}

/// Tries again after failures that may pass. For calls that are safe to repeat.
#[derive(Clone, Debug)]
struct TransientFailures;

impl RetryPolicy for TransientFailures {
    fn on_error(&self, _: &RetryState, error: Error) -> RetryResult {
        if is_transient(&error) {
            RetryResult::Continue(error)
        } else {
            RetryResult::Permanent(error)
        }
    }
}

fn is_transient(error: &Error) -> bool {
    if let Some(status) = error.status() {
        return matches!(
            status.code,
            Code::Unavailable
                | Code::DeadlineExceeded
                | Code::Aborted
                | Code::Cancelled
                | Code::Internal
                | Code::ResourceExhausted
                | Code::Unknown
        );
    }
    match error.http_status_code() {
        Some(status) => status == 408 || status == 429 || status >= 500,
        None => error.is_io() || error.is_timeout() || error.is_connect() || error.is_transport(),
    }
}

/// The code of the service's answer, if it gave one.
pub(super) fn code(error: &Error) -> Option<Code> {
    let by_status = match error.http_status_code() {
        Some(404) => Some(Code::NotFound),
        Some(409) => Some(Code::AlreadyExists),
        Some(429) => Some(Code::ResourceExhausted),
        Some(400) => Some(Code::InvalidArgument),
        _ => None,
    };
    error.status().map(|status| status.code).or(by_status)
}

/// A call's failure in the ports' terms.
pub(super) fn port_error(what: &str, error: &Error) -> PortError {
    let detail = format!("{what}: {error}");
    match code(error) {
        Some(Code::NotFound) => PortError::NotFound { detail },
        Some(Code::AlreadyExists) => PortError::AlreadyExists { detail },
        Some(Code::ResourceExhausted) => PortError::Exhausted { detail },
        Some(Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange) => {
            PortError::Refused { detail }
        }
        Some(Code::DataLoss) => PortError::Corrupt { detail },
        // Rights can be granted while the program runs, so that trying again can succeed.
        _ => PortError::Unavailable { detail },
    }
}

#[cfg(test)]
mod tests {
    use google_cloud_gax::error::rpc::Status;

    use super::*;

    #[test]
    fn answers_have_the_ports_meaning() {
        let of = |code: Code| {
            let error = Error::service(Status::default().set_code(code).set_message("because"));
            (is_transient(&error), port_error("publish", &error))
        };
        assert!(matches!(
            of(Code::AlreadyExists),
            (false, PortError::AlreadyExists { .. })
        ));
        assert!(matches!(
            of(Code::NotFound),
            (false, PortError::NotFound { .. })
        ));
        assert!(matches!(
            of(Code::Unavailable),
            (true, PortError::Unavailable { .. })
        ));
        assert!(matches!(
            of(Code::ResourceExhausted),
            (true, PortError::Exhausted { .. })
        ));
        let (transient, refused) = of(Code::InvalidArgument);
        assert!(!transient && refused.to_string().contains("because"));
        let lost = Error::io("connection reset");
        assert!(is_transient(&lost));
        assert!(port_error("publish", &lost).is_transient());
    }
}
